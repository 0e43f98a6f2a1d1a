import { writeSync } from 'node:fs';
import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import type { Clock } from './sessions/ports.ts';
import { covered, withoutTokens } from './sessions/secrets.ts';
import { iso } from './sessions/time.ts';

const secrets = new Set(['access_token', 'resume_token', 'token', 'apiSecret', 'api_secret', 'authorization']);

/** Covers secrets in what is logged, also one level down. pino's own redaction with wildcards costs as much as the rest of the line. */
function cover(fields: Record<string, unknown>, depth = 1): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in fields) {
    const value = fields[key];
    const isNested = depth > 0 && typeof value === 'object' && value !== null && !(value instanceof Error);
    const safe = secrets.has(key)
      ? covered
      : typeof value === 'string'
        ? withoutTokens(value)
        : isNested
          ? cover(value as Record<string, unknown>, depth - 1)
          : value;
    if (safe !== value) copy = { ...(copy ?? fields), [key]: safe };
  }
  return copy ?? fields;
}

/** Characters that act on a terminal, or on how the rest of a line is read, and that JSON leaves as they are: C1 controls, line separators, those that turn the direction. */
const acting = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Text of somebody else's as it can be shown on a terminal: what would act there is escaped. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const visible = (text: string) => text.replace(/[\u0000-\u001f]/g, escaped).replace(acting, escaped);

/** A line of JSON whose strings, once they are parsed and printed, have nothing in them that acts; line breaks stay. */
export const printable = (line: string) => line.replace(/\\(u[\da-f]{4}|.)/gi, (part) => (/^\\(u|[bfr]$)/.test(part) ? `\\${part}` : part));

/** Lines wait for each other this long, or until there is this much of them. */
const flushMs = 50;
const flushBytes = 8_192;
/** A full pipe is tried again after this; a reader that is gone or a full disk, which rarely change, more rarely. */
const fullMs = 50;
const brokenMs = 1_000;
/** Kept while the descriptor takes nothing; further lines are lost. */
const maxBytes = 8 * 1_024 * 1_024;
/** An exit waits for a slow reader as long as it goes on reading, but no longer than `exitMs`. */
const exitStepMs = 10;
const exitIdleMs = 2_000;
const exitMs = 5_000;
/** The place of a line's level, and how those of the levels begin that are written at once: warn, error, fatal. */
const levelAt = '{"level":"'.length;
const urgent = 'wef';

/**
 * Standard output or standard error, written without ever waiting for whoever reads it, and without an error where nobody does: the
 * service goes on. Lines are written together, but a warning and worse at once, with all before it. Not pino's own destination and not
 * process.stdout: the first tries again synchronously, for ever, and of the second nobody knows what is left at an exit.
 */
export class Output implements DestinationStream {
  readonly #fd: 1 | 2;
  readonly #format: (line: string) => string;
  #text = '';
  /** Begun, and not yet taken. */
  #rest = Buffer.alloc(0);
  #lost = 0;
  #isOpen = false;
  #timer: NodeJS.Timeout | undefined;
  /** Why nothing is taken now. */
  #stuck: string | undefined;

  constructor(fd: 1 | 2, format = (line: string) => line) {
    this.#fd = fd;
    this.#format = format;
  }

  write(line: string): void {
    if (!this.#isOpen) this.#open();
    // once lines are lost, the gap has one place
    if (this.#lost > 0 || this.#text.length + this.#rest.length > maxBytes) {
      this.#lost += 1;
      return;
    }
    this.#text += this.#format(line);
    if (this.#stuck !== undefined) return;
    if (urgent.includes(line.charAt(levelAt)) || this.#text.length >= flushBytes) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), flushMs).unref();
  }

  /** Node's stream makes a pipe, a socket and a terminal (which it opens once more) such that a write never waits. Nothing is written through it. */
  #open(): void {
    this.#isOpen = true;
    const stream = this.#fd === 1 ? process.stdout : process.stderr;
    stream.on('error', () => {});
    // of a terminal it would wait, where somebody pressed Ctrl-S
    (stream as { _handle?: { setBlocking?(wait: boolean): unknown } })._handle?.setBlocking?.(false);
    process.on('exit', () => this.#finish());
  }

  /** Writes what is taken now; the rest is tried again later. */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stuck = undefined;
    try {
      while (this.#next()) this.#rest = this.#rest.subarray(writeSync(this.#fd, this.#rest));
    } catch (error) {
      this.#stuck = (error as NodeJS.ErrnoException).code ?? String(error);
      this.#timer = setTimeout(() => this.#flush(), this.#isFull ? fullMs : brokenMs).unref();
    }
  }

  /** Whether something is left to be written, which is in `#rest` then. */
  #next(): boolean {
    if (this.#rest.length > 0) return true;
    if (this.#text === '' && this.#lost > 0) {
      const fields = { level: 'warn', time: iso(Date.now()), lost: this.#lost };
      this.#text = this.#format(`${JSON.stringify({ ...fields, msg: 'log lines were lost: they could not be written' })}\n`);
      this.#lost = 0;
    }
    this.#rest = Buffer.from(this.#text);
    this.#text = '';
    return this.#rest.length > 0;
  }

  get #isFull(): boolean {
    return this.#stuck === 'EAGAIN';
  }

  /** Somebody who reads gets everything; nobody holds up the exit. */
  #finish(): void {
    const wait = new Int32Array(new SharedArrayBuffer(4));
    const left = () => this.#rest.length + this.#text.length;
    this.#flush();
    for (let total = 0, idle = 0; this.#isFull && total < exitMs && idle < exitIdleMs; total += exitStepMs) {
      Atomics.wait(wait, 0, 0, exitStepMs);
      const before = left();
      this.#flush();
      idle = left() < before ? 0 : idle + exitStepMs;
    }
  }
}

let standardOutput: Output | undefined;

/** The process's logger: level names, ISO times, and no secret. `to` defaults to standard output, which has every line when the process exits. */
export function makeLog(level: string, to?: DestinationStream): Logger {
  if (!to) standardOutput ??= new Output(1);
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${iso(Date.now())}"`,
      formatters: { level: (label) => ({ level: label }), log: (fields) => cover(fields) },
      hooks: { streamWrite: (line) => line.replace(acting, escaped) },
      serializers: { err: (error) => cover(pino.stdSerializers.err(error) as unknown as Record<string, unknown>, 0) },
    },
    to ?? (standardOutput as Output),
  );
}

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
