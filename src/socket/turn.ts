/** What has something to do at the end of a turn of the event loop. */
export interface Flushes {
  flush(): void;
}

/** Lets everything that was said during one turn of the event loop be written at its end: one write a socket, not one a frame. */
export class Turn {
  #waiting: Flushes[] = [];

  /** Calls `flush` once, at the end of this turn. */
  add(one: Flushes): void {
    if (this.#waiting.push(one) === 1) setImmediate(() => this.#end());
  }

  #end(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) one.flush();
  }
}
