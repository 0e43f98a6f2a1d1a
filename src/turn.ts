/** What has something to do at the end of a turn of the event loop. */
export interface Flushes {
  flush(): void;
}

/** What a turn may last for one peer, and for all those who ask for much. */
const turnMs = 5;

/**
 * The turns of the event loop. Everything that was said during one is written at its end: one write a socket, not one a frame. Who asks for
 * much has turns one after the other, each of them short: whoever asks for little comes in between.
 */
export class Turn {
  /** Grows with each turn. */
  number = 0;
  #flushes: Flushes[] = [];
  /** Those who go on in the next turn. */
  #soon: (() => void)[] = [];
  /** Those who wait for a turn of their own, in order. */
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

  /** Whether `one` has had its time in this turn. Asked before it does something. */
  isLongFor(one: object): boolean {
    const now = this.#begin();
    if (this.#last === one) return now - this.#lastSince > turnMs;
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
    return this.#begin() - (this.#startedAt as number) > turnMs;
  }

  /** Waits until the next turn. */
  soon(): Promise<void> {
    return new Promise((done) => {
      this.#soon.push(done);
      this.#willEnd();
    });
  }

  /** Waits for a turn that nobody else waited for longer. */
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
    for (const one of flushes) one.flush();
    // it is only compared, and stays a small number
    this.number = (this.number + 1) & 0x3fffffff;
    this.#startedAt = this.#last = undefined;
    for (const go of soon) go();
    const next = this.#queue.shift();
    // what was read meanwhile comes before the one after this
    if (this.#queue.length > 0) this.#willEnd();
    if (next) this.#begin();
    next?.();
  }
}
