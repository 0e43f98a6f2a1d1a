import { type Backoff, backoff } from './backoff.ts';
import { isPermanent, type Refusal } from './refusal.ts';

/** A connection that lasted this long works, and resets the backoff: a gateway that does not want a peer closes it within its first frames. */
const stableMs = 5_000;
/**
 * After this many established but short-lived connections in a row, back off instead of reconnecting at once. One break can be a node that
 * leaves, a second one its successor; a third is a loop.
 */
const maxImmediateRetries = 2;
/** Give up after this many permanent refusals in a row, some seconds at least: a proxy that starts may answer 404 for a moment. */
const maxRefusals = 5;
/** Where a connection was open before, refusals must also last this long: a deployment can take the address away for some minutes. */
const maxOutageMs = 600_000;
/** Time limits of an attempt grow up to this factor: a gateway to which everybody reconnects is slow, and shorter limits would add to its load. */
const maxTimeoutFactor = 8;

/** Decides when the next attempt to connect is made, from how the ones before it went. */
export class RetrySchedule {
  readonly #options: Backoff | undefined;
  /** Attempts and breaks in a row, without an established or stable connection in between. */
  failures = 0;
  /** The same without the break before them: attempts only. */
  #failedAttempts = 0;
  /** Connections in a row that were established and broke before they were stable. */
  #shortLived = 0;
  #isEstablished = false;
  #wasOpen = false;
  #openedAt = 0;
  /** When the last established connection broke. */
  #brokenAt = 0;
  /** Permanent refusals in a row, and when the first of them was. */
  #refusals = 0;
  #refusedAt = 0;
  /** No attempt is made before this time, as the gateway asked. */
  #notBefore = 0;

  constructor(options: Backoff | undefined) {
    this.#options = options;
  }

  /** Factor for the time limits of the next attempt: doubles with each failed one. */
  get timeoutFactor(): number {
    return Math.min(2 ** this.#failedAttempts, maxTimeoutFactor);
  }

  /** How long the gateway still asked to wait. */
  get retryAfterMs(): number {
    return Math.max(0, this.#notBefore - performance.now());
  }

  /** The gateway asked for no attempt before this; replaces what it asked for earlier. */
  set retryAfterMs(ms: number) {
    this.#notBefore = performance.now() + ms;
  }

  /** The upgrade succeeded. */
  opened(): void {
    this.#openedAt = performance.now();
    this.#refusals = 0;
    this.#wasOpen = true;
  }

  /** The gateway answered on this connection: its end is a new break, not a failed attempt. */
  established(): void {
    this.#isEstablished = true;
  }

  /** An attempt was refused. False: no later attempt would succeed. */
  refused(refusal: Refusal): boolean {
    this.retryAfterMs = refusal.retryAfterMs ?? 0;
    if (!isPermanent(refusal)) this.#refusals = 0;
    else if (++this.#refusals === 1) this.#refusedAt = performance.now();
    const leastMs = this.#wasOpen ? maxOutageMs : 0;
    return this.#refusals < maxRefusals || performance.now() - this.#refusedAt < leastMs;
  }

  /**
   * A connection broke, or an attempt failed.
   * @param maxDelayMs the cap of the delay, from the time since the last established connection broke
   * @returns milliseconds until the next attempt
   */
  broken(how: 'reconnect' | 'back off', wasOpen: boolean, maxDelayMs: (brokenMs: number) => number | undefined): number {
    const now = performance.now();
    const isStable = wasOpen && now - this.#openedAt >= stableMs;
    if (isStable) this.#shortLived = 0;
    else if (this.#isEstablished) this.#shortLived += 1;
    if (isStable || (this.#isEstablished && this.#shortLived <= maxImmediateRetries)) this.failures = 0;
    if (this.#isEstablished) this.#brokenAt = now;
    this.#isEstablished = false;
    // asked to reconnect: the first attempt is immediate
    const step = how === 'reconnect' ? this.failures - 1 : this.failures;
    this.#failedAttempts = step + 1;
    this.failures += 1;
    const delay = step < 0 ? 0 : backoff(step, this.#options, maxDelayMs(now - this.#brokenAt));
    return how === 'back off' ? Math.max(delay, this.retryAfterMs) : delay;
  }
}
