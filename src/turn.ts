/** What has something to do at the end of a turn of the event loop. */
export interface Flushes {
  flush(): void;
}

/** What one peer that asks for little may do in a turn before others go first. */
const littleMs = 2;
/** What all those who ask for much may do in a turn: so long do others wait for them. */
const muchMs = 1;
/** What a write takes that is still to come, at the end of the turn, and each of its bytes. */
const flushMs = 0.004;
const byteMs = 1e-6;

/**
 * The turns of the event loop. Everything that was said during one is written at its end: one write a socket, not one a frame. Who asks for
 * much waits in one queue, of which each turn lets through what is done in a short time: whoever asks for little comes in between.
 */
export class Turn {
  /** Grows with each turn. */
  number = 0;
  #flushes: Flushes[] = [];
  #bytes = 0;
  /** Those who go on in the next turn. */
  #soon: (() => void)[] = [];
  /** Those who wait for a turn that has room, in order. */
  readonly #queue: (() => void)[] = [];
  #isEnding = false;
  #startedAt: number | undefined;
  /** Who was the last to do something in this turn, and since when without another in between. */
  #last: object | undefined;
  #lastSince = 0;

  /** Calls `flush` once, at the end of this turn. */
  add(one: Flushes): void {
    this.#flushes.push(one);
    this.#willEnd();
  }

  /** So many bytes more are written at the end of this turn. */
  willWrite(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Whether `one` has had its time in this turn. Asked before it does something. */
  isLongFor(one: object): boolean {
    const now = this.#begin();
    if (this.#last === one) return now - this.#lastSince > littleMs;
    this.#last = one;
    this.#lastSince = now;
    return false;
  }

  /** Whether who asks for much may do so in this turn still: those who wait for one come first. Asked before that. */
  get hasRoom(): boolean {
    return !this.isLong && this.#queue.length === 0;
  }

  /** Whether this turn has lasted as long as it may for those who ask for much. */
  get isLong(): boolean {
    return this.#begin() - (this.#startedAt as number) + this.#flushes.length * flushMs + this.#bytes * byteMs > muchMs;
  }

  /** Waits until the next turn. */
  soon(): Promise<void> {
    return new Promise((done) => {
      this.#soon.push(done);
      this.#willEnd();
    });
  }

  /** Waits for a turn that has room still, after those who have waited longer. */
  next(): Promise<void> {
    return new Promise((done) => {
      this.#queue.push(done);
      this.#willEnd();
    });
  }

  /** @returns the time */
  #begin(): number {
    const now = performance.now();
    if (this.#startedAt === undefined) {
      this.#startedAt = now;
      this.#willEnd();
    }
    return now;
  }

  #willEnd(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    setImmediate(() => this.#end());
  }

  #end(): void {
    this.#isEnding = false;
    const [flushes, soon] = [this.#flushes, this.#soon];
    [this.#flushes, this.#soon] = [[], []];
    this.#bytes = 0;
    for (const one of flushes) one.flush();
    // it is only compared, and stays a small number
    this.number = (this.number + 1) & 0x3fffffff;
    this.#startedAt = this.#last = undefined;
    for (const go of soon) go();
    if (this.#queue.length === 0) return;
    this.#begin();
    this.#letGo();
  }

  /** Lets those who wait go on, one after the other, as long as the turn has room. What was read meanwhile comes before the rest of them. */
  #letGo(): void {
    this.#queue.shift()?.();
    if (this.#queue.length === 0) return;
    this.#willEnd();
    // behind all that comes of it without waiting for the outside
    queueMicrotask(() => process.nextTick(() => this.isLong || this.#letGo()));
  }
}
