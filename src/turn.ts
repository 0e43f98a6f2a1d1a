/** What has something to do at the end of a turn of the event loop. */
export interface Flushes {
  flush(): void;
}

/** What a turn may last for those who ask for much. */
const turnMs = 5;

/**
 * The turns of the event loop. Everything that was said during one is written at its end: one write a socket, not one a frame. Who asks for
 * much has turns one after the other, each of them short: whoever asks for little comes in between.
 */
export class Turn {
  /** Grows with each turn. */
  number = 0;
  #flushes: Flushes[] = [];
  /** Those who wait for a turn, in order. */
  readonly #queue: (() => void)[] = [];
  #isEnding = false;
  #startedAt: number | undefined;

  /** Calls `flush` once, at the end of this turn. */
  add(one: Flushes): void {
    this.#flushes.push(one);
    this.#willEnd();
  }

  /** Whether what has been done in this turn took as long as it may; asked by whoever does something in it, before. */
  get isLong(): boolean {
    const now = performance.now();
    if (this.#startedAt !== undefined) return now - this.#startedAt > turnMs;
    this.#startedAt = now;
    this.#willEnd();
    return false;
  }

  /** Waits for a turn that nobody else waited for longer. */
  next(): Promise<void> {
    return new Promise((done) => {
      this.#queue.push(done);
      this.#willEnd();
    });
  }

  #willEnd(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    setImmediate(() => this.#end());
  }

  #end(): void {
    this.#isEnding = false;
    const flushes = this.#flushes;
    this.#flushes = [];
    for (const one of flushes) one.flush();
    // it is only compared, and stays a small number
    this.number = (this.number + 1) & 0x3fffffff;
    const next = this.#queue.shift();
    // what was read meanwhile comes before the one after this
    if (this.#queue.length > 0) this.#willEnd();
    this.#startedAt = next && performance.now();
    next?.();
  }
}
