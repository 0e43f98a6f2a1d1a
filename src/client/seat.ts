import type { Assignment, Handler, Leave, Offer, Presence } from './assignment.ts';
import { backoff } from './backoff.ts';
import { within } from './deadline.ts';
import { Emitter } from './emitter.ts';
import { RequestFailed, RequestTimeout } from './errors.ts';

export type Said = { type: string; [field: string]: unknown };

/** How a seat reaches the gateway, and its service. */
export interface Line {
  /** Sends a frame to where the service is registered. False: that is nowhere now, and the frame should go out later. */
  send(frame: Said): boolean;
  /** Says that it is ready, again after each break, until that is answered. @throws RequestFailed, ConnectionClosed, or why the seat ended */
  ready(seat: Seat): Promise<unknown>;
  failed(error: unknown): void;
  /** It is over, and the gateway knows. */
  over(seat: Seat): void;
}

/** As long as the gateway waits for services at a session's end. */
const leaveMs = 3_000;

/** Text that the contract takes. */
export const clip = (text: string, max = 512) => text.replaceAll('\0', '').slice(0, max).toWellFormed();
export const textOf = (error: unknown) => clip(error instanceof Error ? error.message || error.name : String(error));

/** One service's part in one session, from its offer to its end. */
export class Seat {
  readonly id: string;
  readonly sessionId: string;
  readonly join: Assignment & { presence?: Presence };
  isAccepted = false;
  isEnded = false;
  /** What the gateway has not been told, for want of a connection. */
  unsaid: Said | undefined;
  readonly #line: Line;
  readonly #abort = new AbortController();
  readonly #emitter = new Emitter<{ presence: Presence }>();
  /** What the handler returned; nothing where it threw. */
  #handled: Promise<Leave | undefined> = Promise.resolve(undefined);
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(asked: Offer, line: Line) {
    this.id = asked.assignment_id;
    this.sessionId = asked.session_id;
    this.#line = line;
    this.join = {
      ...asked,
      signal: this.#abort.signal,
      progress: (phase, percent, message) => {
        const said = clip(phase, 64);
        // what is refused counts against the whole service
        if (this.isEnded || said === '') return;
        line.send({
          type: 'ServiceProgress',
          assignment_id: this.id,
          phase: said,
          percent: Number.isFinite(percent) ? Math.min(Math.max(percent as number, 0), 100) : undefined,
          message: message === undefined ? undefined : clip(message),
        });
      },
      leave: (error) => (error === undefined ? this.end('it left by itself', 'ServiceLeft') : this.end(textOf(error), 'ServiceFailed')),
      on: (_, handler) => this.#follow(handler),
    };
  }

  /** Serves it: it is ready when the handler is done. */
  begin(handler: Handler): void {
    this.isAccepted = true;
    this.#handled = this.#handle(handler);
    void this.#handled.then(() => this.#sayReady(0));
  }

  presence(presence: Presence): void {
    if (this.isEnded) return;
    this.join.presence = presence;
    this.#emitter.emit('presence', presence);
  }

  #follow(handler: (presence: Presence) => void): () => void {
    const last = this.join.presence;
    let isOn = true;
    const off = this.#emitter.on('presence', handler);
    // not before its function to take it back is there; what came since it was told itself
    if (last) queueMicrotask(() => isOn && !this.isEnded && last === this.join.presence && handler(last));
    return () => {
      isOn = false;
      off();
    };
  }

  /**
   * Stops the handler, undoes what it did, then says so. Of several ends the first counts.
   * @param say absent: the gateway knows
   */
  end(why: string, say?: 'ServiceLeft' | 'ServiceFailed'): void {
    if (this.isEnded) return;
    this.isEnded = true;
    clearTimeout(this.#retry);
    this.#abort.abort(new Error(why));
    void this.#undo().then((clean) => {
      const what = say === 'ServiceFailed' ? { error: why } : { clean };
      const said = say && { type: say, assignment_id: this.id, ...what };
      if (said && !this.#line.send(said)) this.unsaid = said;
      else this.#line.over(this);
    });
  }

  /** Cannot reject. */
  async #handle(handler: Handler): Promise<Leave | undefined> {
    try {
      return (await handler(this.join)) ?? undefined;
    } catch (error) {
      // once told to leave it may end as it likes
      if (!this.isEnded) this.#line.failed(error);
      this.end(textOf(error), 'ServiceFailed');
      return undefined;
    }
  }

  /** @returns whether that went well, and in time */
  async #undo(): Promise<boolean> {
    try {
      // the handler first, so that nothing it does comes after
      const over = this.#handled.then((leave) => leave?.());
      await within(over, { timeoutMs: leaveMs, onTimeout: () => new RequestTimeout(`not left within ${leaveMs} ms`) });
      return true;
    } catch (error) {
      this.#line.failed(error);
      return false;
    }
  }

  /** Cannot reject. */
  async #sayReady(failures: number): Promise<void> {
    if (this.isEnded) return;
    try {
      await this.#line.ready(this);
    } catch (error) {
      if (this.isEnded || !(error instanceof RequestFailed)) return;
      // the session is over, or goes on with another
      if (!error.retryable) return this.end(error.message);
      this.#retry = setTimeout(() => void this.#sayReady(failures + 1), Math.max(backoff(failures), error.retryAfterMs ?? 0));
    }
  }
}
