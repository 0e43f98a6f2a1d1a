import type { Status } from '../../protocol/states.ts';
import { within } from './deadline.ts';
import { RequestTimeout, SessionOver } from './errors.ts';
import type { Follower } from './follower.ts';
import { newId } from './id.ts';
import type { ConnectionState } from './reconnecting-socket.ts';
import type { RequestChannel, RequestOptions } from './request-channel.ts';
import type { SessionEnd } from './session-end.ts';
import type { Join, SessionEvents } from './session-events.ts';
import type { Answered, Asked, Fields } from './wire.ts';

/** The gateway ends a session whose services are not ready in time; this covers ending it and the network. */
const readySlackMs = 15_000;
const defaultJoinTimeoutS = 60;

/** A request's fields without `session_id`, which the session adds. Not by Omit: editors then lose the documentation of the other fields. */
type Own<T extends Asked> = Fields<T> & { session_id?: never };

export interface ReadyOptions {
  /** Default: the services' time limit (join_timeout_s, 60 s) plus 15 s. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A session that this client holds. It outlives its connection for `resume_window_s`. */
export class Session {
  readonly #follower: Follower;
  readonly #channel: RequestChannel;
  readonly #fields: Fields<'NewSessionRequest'>;
  /** The answer it was opened with. */
  readonly opened: Answered<'NewSessionRequest'>;

  /** Created by `client.newSession`. */
  constructor(follower: Follower, channel: RequestChannel, opened: Answered<'NewSessionRequest'>, fields: Fields<'NewSessionRequest'>) {
    this.#follower = follower;
    this.#channel = channel;
    this.opened = opened;
    this.#fields = fields;
  }

  get id(): string {
    return this.#follower.id;
  }

  /** As of the last event. */
  get status(): Status {
    return this.#follower.status;
  }

  /** The connection's state; `open` while this client holds the session. */
  get connection(): ConnectionState {
    return this.#channel.state;
  }

  /** @deprecated since 0.1, removed in 0.2: use `connection` */
  get link(): ConnectionState {
    return this.connection;
  }

  /** The last event's position in the session's log. */
  get seq(): number {
    return this.#follower.seq;
  }

  /** Resolves when the session is over, and never fails. Stays pending while there is no connection. */
  get ended(): Promise<SessionEnd> {
    return this.#follower.ended;
  }

  /**
   * Calls `handler` with each event of this type from now on, once each and in order; 'event': with every event of the log. Returns an
   * unsubscribe function. Handlers added right after `await client.newSession(...)` miss nothing.
   */
  on<K extends keyof SessionEvents>(type: K, handler: (event: SessionEvents[K]) => void): () => void {
    return this.#follower.emitter.on(type, handler);
  }

  /**
   * Waits until the user can join the room, and returns what that takes. Resolves immediately if already ready.
   * @throws SessionOver the session has ended, even if it was ready before
   * @throws RequestTimeout it took too long
   * @throws Error the session has no room
   */
  async ready({ timeoutMs, signal }: ReadyOptions = {}): Promise<Join> {
    if (this.opened.room_name === undefined) throw new Error('the session has no room');
    const { join_timeout_s = defaultJoinTimeoutS } = this.#fields;
    const ms = timeoutMs ?? join_timeout_s * 1_000 + readySlackMs;
    return within(this.#follower.ready, { timeoutMs: ms, onTimeout: () => this.#timeout('not ready', ms), signal });
  }

  /** Adds a message with these fields, as `addMessage`. */
  say(role: string, content: string, options?: RequestOptions): Promise<Answered<'AddMessageRequest'>> {
    return this.addMessage({ role, content }, options);
  }

  /** Adds a message, exactly once: `message_id` is generated if absent. */
  addMessage(fields: Own<'AddMessageRequest'>, options?: RequestOptions): Promise<Answered<'AddMessageRequest'>> {
    return this.#change('AddMessageRequest', { ...fields, message_id: fields.message_id ?? newId() }, options);
  }

  /** One page of the messages, oldest first. */
  messages(fields: Own<'GetMessagesRequest'> = {}, options?: RequestOptions): Promise<Answered<'GetMessagesRequest'>> {
    return this.#channel.request('GetMessagesRequest', { ...fields, session_id: this.id }, options);
  }

  /** The session's current state; for an hour after its end, how it ended. */
  get(options?: RequestOptions): Promise<Answered<'GetSessionRequest'>> {
    return this.#channel.request('GetSessionRequest', { session_id: this.id }, options);
  }

  /** Changes the session's context, metadata or visibility. */
  update(fields: Own<'UpdateSessionRequest'>, options?: RequestOptions): Promise<Answered<'UpdateSessionRequest'>> {
    return this.#change('UpdateSessionRequest', fields, options);
  }

  /** Sets a new end time, counted from now. */
  extend(fields: Own<'ExtendSessionRequest'>, options?: RequestOptions): Promise<Answered<'ExtendSessionRequest'>> {
    return this.#change('ExtendSessionRequest', fields, options);
  }

  /** Grants another user access. */
  share(fields: Own<'ShareSessionRequest'>, options?: RequestOptions): Promise<Answered<'ShareSessionRequest'>> {
    return this.#change('ShareSessionRequest', fields, options);
  }

  /** Revokes another user's access. */
  unshare(fields: Own<'UnshareSessionRequest'>, options?: RequestOptions): Promise<Answered<'UnshareSessionRequest'>> {
    return this.#change('UnshareSessionRequest', fields, options);
  }

  /** Issues a new token for the user; `ready()` returns it from then on. */
  async refreshToken(options?: RequestOptions): Promise<Answered<'RefreshTokenRequest'>> {
    const answer = await this.#change('RefreshTokenRequest', {}, options);
    const { livekit_url, access_token } = answer;
    // has no effect while the user cannot join yet: the room's name is missing
    this.#follower.setJoin({ livekit_url, access_token });
    return answer;
  }

  /**
   * Ends the session and waits until it is over; the client can then open the next. Idempotent.
   * @param timeoutMs default 15,000; services have 3 s to leave, and the end takes 10 s at most
   */
  async end({ timeoutMs = 15_000 }: RequestOptions = {}): Promise<SessionEnd> {
    const asked = this.#change('EndSessionRequest', {}, { timeoutMs }).then(() => this.ended);
    // it can also be ended by somebody else meanwhile
    return within(Promise.race([this.ended, asked]), { timeoutMs, onTimeout: () => this.#timeout('not over', timeoutMs) });
  }

  /** @throws SessionOver it is over for this client, though another one may hold it */
  async #change<T extends Asked>(type: T, fields: Own<T>, options?: RequestOptions): Promise<Answered<T>> {
    if (this.#follower.end) throw new SessionOver(this.#follower.end);
    return this.#channel.request(type, { ...fields, session_id: this.id } as unknown as Fields<T>, options);
  }

  #timeout(what: string, ms: number): RequestTimeout {
    return new RequestTimeout(`the session is ${what} after ${ms} ms; it is ${this.status}, and the connection ${this.connection}`);
  }
}
