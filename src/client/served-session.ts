import { leaveMs } from '../../protocol/times.ts';
import type { Assignment, Handler, Leave, Offer, Presence } from './assignment.ts';
import { backoff } from './backoff.ts';
import { within } from './deadline.ts';
import { Emitter } from './emitter.ts';
import { RequestFailed, RequestTimeout } from './errors.ts';

export type OutgoingFrame = { type: string; [field: string]: unknown };

/** A served session's way to the gateway and to its service. */
export interface GatewayPort {
  /** Sends a frame. False: the service is not registered now, and the frame must be sent later. */
  send(frame: OutgoingFrame): boolean;
  /** Reports that it is ready, again after each break, until the gateway answers. @throws RequestFailed, ConnectionClosed, or why the session ended */
  ready(served: ServedSession): Promise<unknown>;
  /** Reports an error to the service's owner. */
  failed(error: unknown): void;
  /** It is over, and the gateway knows. */
  over(served: ServedSession): void;
}

/** Text as the protocol accepts it: no NUL, well-formed, at most `max` characters. */
export const clip = (text: string, max = 512) => text.replaceAll('\0', '').slice(0, max).toWellFormed();
export const textOf = (error: unknown) => clip(error instanceof Error ? error.message || error.name : String(error));

/** One session that a service serves, from its offer to its end. */
export class ServedSession {
  readonly id: string;
  readonly sessionId: string;
  readonly join: Assignment & { presence?: Presence };
  isAccepted = false;
  isEnded = false;
  /** Its end, if there was no connection to report it on. */
  pendingReport: OutgoingFrame | undefined;
  readonly #port: GatewayPort;
  readonly #abort = new AbortController();
  readonly #emitter = new Emitter<{ presence: Presence }>();
  /** What the handler returned; undefined if it threw. */
  #handled: Promise<Leave | undefined> = Promise.resolve(undefined);
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(offer: Offer, port: GatewayPort) {
    this.id = offer.assignment_id;
    this.sessionId = offer.session_id;
    this.#port = port;
    this.join = {
      ...offer,
      signal: this.#abort.signal,
      progress: (phase, percent, message) => {
        const name = clip(phase, 64);
        // a refused frame counts as a failure of the whole service
        if (this.isEnded || name === '') return;
        port.send({
          type: 'ServiceProgress',
          assignment_id: this.id,
          phase: name,
          percent: Number.isFinite(percent) ? Math.min(Math.max(percent as number, 0), 100) : undefined,
          message: message === undefined ? undefined : clip(message),
        });
      },
      leave: (error) => (error === undefined ? this.end('the handler left', 'ServiceLeft') : this.end(textOf(error), 'ServiceFailed')),
      on: (_, handler) => this.#onPresence(handler),
    };
  }

  /** Runs the handler; the service is ready when it resolves. */
  start(handler: Handler): void {
    this.isAccepted = true;
    this.#handled = this.#handle(handler);
    void this.#handled.then(() => this.#reportReady(0));
  }

  setPresence(presence: Presence): void {
    if (this.isEnded) return;
    this.join.presence = presence;
    this.#emitter.emit('presence', presence);
  }

  #onPresence(handler: (presence: Presence) => void): () => void {
    const last = this.join.presence;
    let isOn = true;
    const off = this.#emitter.on('presence', handler);
    // after the caller has the unsubscribe function; a newer presence is emitted anyway
    if (last) queueMicrotask(() => isOn && !this.isEnded && last === this.join.presence && handler(last));
    return () => {
      isOn = false;
      off();
    };
  }

  /**
   * Aborts the handler, runs what it returned, then reports the end. Only the first call counts.
   * @param report absent: the gateway knows already
   */
  end(why: string, report?: 'ServiceLeft' | 'ServiceFailed'): void {
    if (this.isEnded) return;
    this.isEnded = true;
    clearTimeout(this.#retry);
    this.#abort.abort(new Error(why));
    void this.#leave().then((clean) => {
      const result = report === 'ServiceFailed' ? { error: why } : { clean };
      const frame = report && { type: report, assignment_id: this.id, ...result };
      if (frame && !this.#port.send(frame)) this.pendingReport = frame;
      else this.#port.over(this);
    });
  }

  /** Cannot reject. */
  async #handle(handler: Handler): Promise<Leave | undefined> {
    try {
      return (await handler(this.join)) ?? undefined;
    } catch (error) {
      // after the abort it may throw whatever it likes
      if (!this.isEnded) this.#port.failed(error);
      this.end(textOf(error), 'ServiceFailed');
      return undefined;
    }
  }

  /** @returns whether it succeeded in time */
  async #leave(): Promise<boolean> {
    try {
      // the handler first: nothing it does may come after leaving
      const over = this.#handled.then((leave) => leave?.());
      await within(over, { timeoutMs: leaveMs, onTimeout: () => new RequestTimeout(`not left within ${leaveMs} ms`) });
      return true;
    } catch (error) {
      this.#port.failed(error);
      return false;
    }
  }

  /** Cannot reject. */
  async #reportReady(failures: number): Promise<void> {
    if (this.isEnded) return;
    try {
      await this.#port.ready(this);
    } catch (error) {
      if (this.isEnded || !(error instanceof RequestFailed)) return;
      // the session is over, or goes on with another service
      if (!error.retryable) return this.end(error.message);
      this.#retry = setTimeout(() => void this.#reportReady(failures + 1), Math.max(backoff(failures), error.retryAfterMs ?? 0));
    }
  }
}
