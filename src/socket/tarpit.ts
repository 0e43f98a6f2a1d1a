import { Bucket } from '../level.ts';
import { spreadMs } from '../time.ts';

/** More than clients that misbehave by mistake make together, and few enough that the reconnects of all of them cost nothing. */
const perSecond = 16;
const leastMs = 1_000;

/**
 * Slows floods down. A flooder reconnects at once, and opening a socket costs more than reading what it sends: while many are closed, each
 * further one is held unread for 1 to 5 s first.
 */
export class Tarpit {
  readonly #closed = new Bucket(perSecond);

  /** @returns how long a socket that is to be closed now is held first, ms */
  heldMs(now: number): number {
    return this.#closed.take(now) ? 0 : spreadMs(leastMs);
  }
}
