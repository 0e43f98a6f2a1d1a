import type { LogFn, Logger } from 'pino';
import type { Clock } from '../clock.ts';

const limitMs = 1_000;
const linesInThat = 10;
const limited = ['info', 'warn', 'error'] as const;

/**
 * The logger for lines that somebody else can cause: of each kind ten a second are written, and then one that counts the rest. A kind is
 * a line's level and text, which is a constant. Debug lines are all written: who asks for them asks for all. `close` writes the last counts.
 */
export class LimitedLog {
  readonly log: Logger;
  readonly #to: Logger;
  /** Lines of this second, by level and text. */
  readonly #lines = { info: new Map<string, number>(), warn: new Map<string, number>(), error: new Map<string, number>() };
  readonly #stop: () => void;

  constructor(to: Logger, clock: Clock) {
    this.#to = to;
    this.#stop = clock.every(limitMs, () => this.#count());
    this.log = Object.assign(Object.create(to), Object.fromEntries(limited.map((level) => [level, this.#limit(level)])));
  }

  close(): void {
    this.#stop();
    this.#count();
  }

  #limit(level: (typeof limited)[number]): LogFn {
    const counts = this.#lines[level];
    return (...line: Parameters<LogFn>) => {
      if (!this.#to.isLevelEnabled(level)) return;
      // of what operators do none may be missing
      if (typeof line[0] === 'object' && line[0] !== null && 'audit' in line[0]) return this.#to[level](...line);
      // of a line with values it is the text around them
      const text = String(typeof line[0] === 'string' ? line[0] : line[1]);
      const lines = (counts.get(text) ?? 0) + 1;
      counts.set(text, lines);
      if (lines <= linesInThat) this.#to[level](...line);
    };
  }

  #count(): void {
    for (const level of limited) {
      for (const [text, lines] of this.#lines[level]) {
        const more = lines - linesInThat;
        if (more > 0) this.#to[level]({ more }, `${text.replaceAll(/%[sdifjoO]/g, '...')}: and ${more} more`);
      }
      this.#lines[level].clear();
    }
  }
}
