import { drained } from '../level.ts';
import { spreadMs } from '../time.ts';

/** So many sockets a second are closed at once for what they sent. */
const atOnce = 16;
/** Of each, thousandths are counted. */
const one = 1_000;
const holdMs = 1_000;

/**
 * When sockets are closed for a flood. Whoever floods comes back at once, and to open a socket costs more than to read what it sends: where
 * many are closed, each is held unread for a while first, so that it comes back about once a second.
 */
export class HangUps {
  #level = 0;
  #at = 0;

  /** @returns how long a socket that is to be closed now is held first, ms */
  wait(now: number): number {
    this.#level = drained(this.#level, now - this.#at, atOnce * one);
    this.#at = now;
    if (this.#level > (atOnce - 1) * one) return spreadMs(holdMs);
    this.#level += one;
    return 0;
  }
}
