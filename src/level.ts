/**
 * What is left of a level that goes down by so much each second (a leaky bucket). Whole numbers stay whole, which the engine keeps in place.
 * @param ms below 0 where the clock was set back: then nothing goes down
 */
export const drained = (level: number, ms: number, perSecond: number): number =>
  Math.max(0, level - Math.ceil((Math.max(0, ms) * perSecond) / 1_000));

/** Lets so many through each second, and as many at once (a leaky bucket). */
export class Bucket {
  readonly #perSecond: number;
  /** In thousandths of one, which time gives back without a remainder. */
  #level = 0;
  #at = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond * 1_000;
  }

  /** Whether one more may pass now. */
  take(now: number): boolean {
    this.#level = drained(this.#level, now - this.#at, this.#perSecond);
    this.#at = now;
    if (this.#level + 1_000 > this.#perSecond) return false;
    this.#level += 1_000;
    return true;
  }
}

/** Frames above this cost so much that who sends one, had one for an answer, or says one to many waits until there is room: those who ask for little come in between. */
export const largeBytes = 4_096;

/** Whether somebody asks for much, by the answers of late and by the last one. What there may be at once is as much as in a second. */
export const isMuch = (level: number, lastBytes: number, bytesPerSecond: number): boolean =>
  lastBytes > largeBytes || level > bytesPerSecond / 8;
