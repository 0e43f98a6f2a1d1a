import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { StorageError } from '../errors.ts';

/** A caller may ask for what is slow again and again: the log hears of it at most so often. */
const slowLineMs = 60_000;

/**
 * Whether the storage does its work. An outage starts with a call that fails and ends with a heartbeat that is written: each is one line in
 * the log, however many calls fail in between.
 */
export class StorageHealth {
  readonly #log: Logger;
  readonly #clock: Clock;
  #since: number | undefined;
  #failedCalls = 0;
  #saidSlowAt = Number.NEGATIVE_INFINITY;
  /** Whether the last heartbeat was written: what /ready goes by, since a storage may answer reads and refuse writes. */
  writable = true;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** A call has failed since the last heartbeat that was written. */
  get isDown(): boolean {
    return this.#since !== undefined;
  }

  /** A call of the storage failed. */
  failed(call: string, { refused, slow, notAdmitted, message: reason }: StorageError): void {
    if (slow) return this.#tooSlow(call, reason);
    this.#failedCalls += 1;
    if (this.#since !== undefined) return;
    this.#since = this.#clock.now();
    if (refused) this.#log.error({ call, reason }, 'storage refused a request; until it works, requests get STORAGE_ERROR');
    else if (notAdmitted) this.#log.error({ call, reason }, 'storage refuses the connection; until it works, requests get STORAGE_ERROR');
    else this.#log.error({ call, reason }, 'storage does not answer; until it does, requests get STORAGE_ERROR');
  }

  /** One read took too long, while the storage answers others. */
  #tooSlow(call: string, reason: string): void {
    if (this.#clock.now() - this.#saidSlowAt < slowLineMs) return;
    this.#saidSlowAt = this.#clock.now();
    this.#log.warn({ call, reason }, 'the storage took longer for a request than storage.timeout_s; the request got STORAGE_ERROR');
  }

  /** A heartbeat was written, or was not. */
  beat(isWritten: boolean): void {
    this.writable = isWritten;
    if (!isWritten || this.#since === undefined) return;
    const down_s = (this.#clock.now() - this.#since) / 1_000;
    this.#log.info({ down_s, failed_calls: this.#failedCalls }, 'storage works again');
    this.#since = undefined;
    this.#failedCalls = 0;
  }
}
