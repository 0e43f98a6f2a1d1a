import { makeLog } from '../../src/log/log.ts';

/** A log whose lines are kept. */
export function keptLog(level = 'info') {
  // biome-ignore lint/suspicious/noExplicitAny: a line is what the test says it is
  const lines: { level: string; msg: string; [field: string]: any }[] = [];
  const log = makeLog(level, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines, said: (text: string) => lines.filter(({ msg }) => msg === text) };
}
