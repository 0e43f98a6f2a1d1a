import { writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';
import { iso } from '../time.ts';

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
 * process.stdout: the first tries again synchronously, forever, and of the second nobody knows what is left at an exit.
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
