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
  /** Lines of this second. */
  readonly #kinds = new Map<string, { level: (typeof limited)[number]; text: string; lines: number }>();
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
    return (...line: Parameters<LogFn>) => {
      if (!this.#to.isLevelEnabled(level)) return;
      // of a line with values the text around them is the kind
      const text = String(typeof line[0] === 'string' ? line[0] : line[1]).replaceAll(/%[sdifjoO]/g, '...');
      const key = `${level} ${text}`;
      const kind = this.#kinds.get(key) ?? { level, text, lines: 0 };
      if (++kind.lines === 1) this.#kinds.set(key, kind);
      if (kind.lines <= linesInThat) this.#to[level](...line);
    };
  }

  #count(): void {
    for (const { level, text, lines } of this.#kinds.values()) {
      const more = lines - linesInThat;
      if (more > 0) this.#to[level]({ more }, `${text}: and ${more} more`);
    }
    this.#kinds.clear();
  }
}
