import type { Status } from '../../protocol/states.ts';
import type { Follower } from './follower.ts';
import type { SessionEnd } from './session-end.ts';
import type { WatchEvents } from './session-events.ts';
import type { Answered } from './wire.ts';

/** Follows a session that this client does not hold. It outlives its connection. */
export class Watch {
  readonly #follower: Follower;
  readonly #stop: () => Promise<void>;
  /** The answer it started with; `opened.session` is the session at that time. */
  readonly opened: Answered<'WatchRequest'>;

  /** Created by `client.watch`. */
  constructor(follower: Follower, opened: Answered<'WatchRequest'>, stop: () => Promise<void>) {
    this.#follower = follower;
    this.opened = opened;
    this.#stop = stop;
  }

  get id(): string {
    return this.#follower.id;
  }

  /** As of the last event. */
  get status(): Status {
    return this.#follower.status;
  }

  /** The last event's position in the session's log. */
  get seq(): number {
    return this.#follower.seq;
  }

  /** Resolves when the session or the watch is over, and never fails. */
  get ended(): Promise<SessionEnd> {
    return this.#follower.ended;
  }

  /**
   * Calls `handler` with each event of this type from now on, once each and in order; 'event': with every event of the log. Returns an
   * unsubscribe function. Handlers added right after `await client.watch(...)` miss nothing.
   */
  on<K extends keyof WatchEvents>(type: K, handler: (event: WatchEvents[K]) => void): () => void {
    return this.#follower.emitter.on(type, handler as never);
  }

  /** Stops watching: no event is emitted after the call. Resolves when the gateway knows, or cannot be asked. Idempotent. */
  stop(): Promise<void> {
    return this.#stop();
  }
}
