import type { Status } from '../../protocol/states.ts';
import type { Channel, RequestOptions } from './channel.ts';
import { within } from './deadline.ts';
import { RequestTimeout, SessionOver } from './errors.ts';
import type { Follower, Join, SessionEnd, SessionEvents } from './follower.ts';
import { newId } from './id.ts';
import type { LinkState } from './link.ts';
import type { Answered, Asked, Fields } from './wire.ts';

/** The services have a minute by default; the gateway ends the session when it is over, and this is more than it takes to say so. */
const readySlackMs = 15_000;
const defaultJoinTimeoutS = 60;

/** What a request about a session is made with: whose it is, the session knows. Not by Omit: editors show no texts of the fields that it leaves. */
type Own<T extends Asked> = Fields<T> & { session_id?: never };

export interface ReadyOptions {
  /** Default: as long as the services have (join_timeout_s, 60 s), and 15 s more. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A session that this client holds. It outlives its connection for as long as `resume_window_s` says. */
export class Session {
  readonly #follower: Follower;
  readonly #channel: Channel;
  readonly #fields: Fields<'NewSessionRequest'>;
  /** The answer that it was opened with. */
  readonly opened: Answered<'NewSessionRequest'>;

  /** Made by `client.newSession`. */
  constructor(follower: Follower, channel: Channel, opened: Answered<'NewSessionRequest'>, fields: Fields<'NewSessionRequest'>) {
    this.#follower = follower;
    this.#channel = channel;
    this.opened = opened;
    this.#fields = fields;
  }

  get id(): string {
    return this.#follower.id;
  }

  /** As the last event said. */
  get status(): Status {
    return this.#follower.status;
  }

  /** How the connection is; `open` while the session is held. */
  get link(): LinkState {
    return this.#channel.state;
  }

  /** The place of the last event in the session's log. */
  get seq(): number {
    return this.#follower.seq;
  }

  /** Resolves when the session is over, and never fails. While there is no connection it waits. */
  get ended(): Promise<SessionEnd> {
    return this.#follower.ended;
  }

  /**
   * Calls `handler` with each event of this type from now on, once each and in order; 'event': with every event of the log. The returned
   * function takes it back. Handlers that are added as soon as `newSession` gave the session miss nothing.
   */
  on<K extends keyof SessionEvents>(type: K, handler: (event: SessionEvents[K]) => void): () => void {
    return this.#follower.emitter.on(type, handler);
  }

  /**
   * Waits until the user can join the room, with what is needed for that; at once where that was long ago.
   * @throws SessionOver the session ended, before it or since
   * @throws RequestTimeout it took too long
   * @throws Error the session has no room
   */
  async ready({ timeoutMs, signal }: ReadyOptions = {}): Promise<Join> {
    if (this.opened.room_name === undefined) throw new Error('the session has no room');
    const { join_timeout_s = defaultJoinTimeoutS } = this.#fields;
    const ms = timeoutMs ?? join_timeout_s * 1_000 + readySlackMs;
    return within(this.#follower.ready, { timeoutMs: ms, onTimeout: () => this.#late('not ready', ms), signal });
  }

  /** Says something in the session. As `addMessage`. */
  say(role: string, content: string, options?: RequestOptions): Promise<Answered<'AddMessageRequest'>> {
    return this.addMessage({ role, content }, options);
  }

  /** Says something in the session, once: it has an id of its own, also where none is given. */
  addMessage(fields: Own<'AddMessageRequest'>, options?: RequestOptions): Promise<Answered<'AddMessageRequest'>> {
    return this.#change('AddMessageRequest', { ...fields, message_id: fields.message_id ?? newId() }, options);
  }

  /** What was said, the oldest first, page by page. */
  messages(fields: Own<'GetMessagesRequest'> = {}, options?: RequestOptions): Promise<Answered<'GetMessagesRequest'>> {
    return this.#channel.request('GetMessagesRequest', { ...fields, session_id: this.id }, options);
  }

  /** What the session is now; for an hour after its end, how it ended. */
  get(options?: RequestOptions): Promise<Answered<'GetSessionRequest'>> {
    return this.#channel.request('GetSessionRequest', { session_id: this.id }, options);
  }

  /** Changes what the session holds. */
  update(fields: Own<'UpdateSessionRequest'>, options?: RequestOptions): Promise<Answered<'UpdateSessionRequest'>> {
    return this.#change('UpdateSessionRequest', fields, options);
  }

  /** Gives it more time, counted from now. */
  extend(fields: Own<'ExtendSessionRequest'>, options?: RequestOptions): Promise<Answered<'ExtendSessionRequest'>> {
    return this.#change('ExtendSessionRequest', fields, options);
  }

  /** Lets another user in. */
  share(fields: Own<'ShareSessionRequest'>, options?: RequestOptions): Promise<Answered<'ShareSessionRequest'>> {
    return this.#change('ShareSessionRequest', fields, options);
  }

  /** Lets a user in no longer. */
  unshare(fields: Own<'UnshareSessionRequest'>, options?: RequestOptions): Promise<Answered<'UnshareSessionRequest'>> {
    return this.#change('UnshareSessionRequest', fields, options);
  }

  /** A new token for the user. `ready()` gives that one from then on. */
  async refreshToken(options?: RequestOptions): Promise<Answered<'RefreshTokenRequest'>> {
    const answer = await this.#change('RefreshTokenRequest', {}, options);
    const { livekit_url, access_token } = answer;
    // where the user cannot join yet, the room's name is missing
    this.#follower.setJoin({ livekit_url, access_token });
    return answer;
  }

  /**
   * Ends the session and waits until it is over: then the client can open the next. Idempotent.
   * @param timeoutMs default 15,000: the services have 3 s to leave, the whole end 10
   */
  async end({ timeoutMs = 15_000 }: RequestOptions = {}): Promise<SessionEnd> {
    const asked = this.#change('EndSessionRequest', {}, { timeoutMs }).then(() => this.ended);
    // over is over, whoever ended it
    return within(Promise.race([this.ended, asked]), { timeoutMs, onTimeout: () => this.#late('not over', timeoutMs) });
  }

  /** @throws SessionOver what is over is not changed: who holds the session now is not known */
  async #change<T extends Asked>(type: T, fields: Own<T>, options?: RequestOptions): Promise<Answered<T>> {
    if (this.#follower.end) throw new SessionOver(this.#follower.end);
    return this.#channel.request(type, { ...fields, session_id: this.id } as unknown as Fields<T>, options);
  }

  #late(what: string, ms: number): RequestTimeout {
    return new RequestTimeout(`the session is ${what} after ${ms} ms; it is ${this.status}, and the connection ${this.link}`);
  }
}
