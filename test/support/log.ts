import { makeLog } from '../../src/log/log.ts';
import { watch } from './canary.ts';

/** A log whose lines are kept. */
export function keptLog(level = 'info') {
  // biome-ignore lint/suspicious/noExplicitAny: a line is what the test says it is
  const lines: { level: string; msg: string; [field: string]: any }[] = [];
  const write = (line: string) => {
    watch(line);
    lines.push(JSON.parse(line));
  };
  return { log: makeLog(level, { write }), lines, said: (text: string) => lines.filter(({ msg }) => msg === text) };
}

/** A log that nobody reads but who looks for secrets. TEST_LOG=debug prints it. */
export const quietLog = () => (process.env.TEST_LOG ? makeLog(process.env.TEST_LOG) : makeLog('trace', { write: watch }));
