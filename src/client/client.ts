import { Close } from '../../protocol/close.ts';
import { Emitter } from './emitter.ts';
import { SessionOver } from './errors.ts';
import { Follower, isJoinable } from './follower.ts';
import { newId } from './id.ts';
import type { ConnectionState, Frame } from './reconnecting-socket.ts';
import { type ChannelOptions, RequestChannel, type RequestOptions } from './request-channel.ts';
import { Session } from './session.ts';
import type { SessionEnd } from './session-end.ts';
import { socketUrl } from './url.ts';
import type { Watch } from './watch.ts';
import { Watches } from './watches.ts';
import type { Answered, Asked, Fields, LogEvent } from './wire.ts';

export { ConnectionClosed, QueueFull, RequestFailed, RequestTimeout, SessionOver, TokenError } from './errors.ts';
export type { ConnectionState, LinkState } from './reconnecting-socket.ts';
export type { RequestOptions } from './request-channel.ts';
export type { ReadyOptions, Session } from './session.ts';
export type { EndCause, SessionEnd } from './session-end.ts';
export type { Join, Resumed, SessionEvents, WatchEvents } from './session-events.ts';
export type { Socket, SocketClass } from './socket.ts';
export type { Token } from './token.ts';
export type { Watch } from './watch.ts';
export type { Answered, Asked, Fields } from './wire.ts';

/** The gateway allows 10 s for creating the room; the rest is for the network. */
const newSessionMs = 15_000;
/** Long enough to reload a page or change networks; the services stay reserved meanwhile. */
const resumeWindowS = 60;
/** A break is detected this long before the resume window is over: enough for some attempts and the resume itself. */
const resumeMs = 5_000;
/** Delays are capped so that at least this many attempts are made in the resume window. */
const attemptsInWindow = 10;

export type ClientOptions = ChannelOptions;

/** What a client emits, by type. */
export interface ClientEvents {
  /** The connection's new state. */
  state: ConnectionState;
  /** TokenError: there was no token to connect with, or no new one for one that expires. RequestFailed: the gateway refused the new one. It tries again. */
  error: Error;
  /**
   * An event of a session watched by your own WatchRequest.
   * @deprecated since 0.1, removed in 0.2: use `client.watch`, which outlives a connection
   */
  watched: LogEvent;
}

/**
 * Returns a client immediately; it connects in the background, and reconnects until `close()` or a close code that says stop.
 * @param url ws, wss, http or https; without a path /ws
 * @throws TypeError the URL is none of these
 * @throws TokenError `token` is a string that cannot be sent
 */
export const connect = (url: string, options: ClientOptions = {}): Client => new Client(url, options);

/** One connection to a gateway. It holds at most one session at a time, and can watch others. */
export class Client {
  /** Resolves with the close code when the connection is closed for good. */
  readonly closed: Promise<{ code: number; reason: string }>;

  readonly #channel: RequestChannel;
  readonly #watches: Watches;
  readonly #emitter = new Emitter<ClientEvents>();
  #follower: Follower | undefined;
  #windowMs = 0;
  #isClosing = false;

  constructor(url: string, options: ClientOptions) {
    let onClosed = (_end: { code: number; reason: string }) => {};
    this.closed = new Promise((resolve) => {
      onClosed = resolve;
    });
    this.#channel = new RequestChannel(
      socketUrl(url),
      {
        greeting: () => this.#follower?.resumeRequest,
        greeted: (answer) => this.#resumed(answer),
        frame: (frame) => this.#receive(frame),
        // the gateway may detect the break later than this side: a window that is over here can still be open there
        maxDelayMs: (brokenMs) => (this.#follower?.resumeRequest ? Math.max(this.#windowMs, brokenMs) / attemptsInWindow : undefined),
        failed: (error) => this.#emitter.emit('error', error),
        changed: (state) => this.#changed(state),
        closed: (code, reason) => {
          this.#emitState('closed');
          this.#watches.closed(code);
          this.#finish(this.#whyClosed(code));
          onClosed({ code, reason });
        },
      },
      options,
    );
    this.#watches = new Watches(this.#channel);
  }

  /** The connection's state. */
  get state(): ConnectionState {
    return this.#channel.state;
  }

  /** Human-readable reason why it is not open; undefined while it is, and before the first failure. Browsers do not report why a connection was refused. */
  get reason(): string | undefined {
    return this.#channel.socket.reason;
  }

  /** Calls `handler` with each event of this type from now on. Returns an unsubscribe function. */
  on<K extends keyof ClientEvents>(type: K, handler: (value: ClientEvents[K]) => void): () => void {
    return this.#emitter.on(type, handler);
  }

  /**
   * Opens a session on this connection: exactly one, even if the connection breaks meanwhile.
   * @param fields as in NewSessionRequest; `resume_window_s` defaults to 60, and `idempotency_key` to a generated one
   * @param timeoutMs default 15,000; a session that is created later than that is ended
   * @throws RequestFailed, RequestTimeout, ConnectionClosed, QueueFull as for `request`
   */
  async newSession(fields: Fields<'NewSessionRequest'>, { timeoutMs = newSessionMs }: RequestOptions = {}): Promise<Session> {
    const body = {
      ...fields,
      idempotency_key: fields.idempotency_key ?? newId(),
      resume_window_s: fields.resume_window_s ?? resumeWindowS,
    };
    let follower: Follower | undefined;
    const answer = await this.#channel.request('NewSessionRequest', body, {
      timeoutMs,
      // its first events can follow immediately
      onAnswer: (opened) => {
        follower = this.#follower = new Follower(opened);
        // an early token lets nobody in yet
        if (isJoinable(opened.status)) follower.setJoin(opened);
        this.#windowMs = body.resume_window_s * 1_000;
        if (this.#windowMs > 0) this.#channel.socket.detectBreakWithin(this.#windowMs - resumeMs);
      },
    });
    return new Session(follower as Follower, this.#channel, answer, body);
  }

  /**
   * Sends any request of the protocol and waits for its answer. Waits for a connection if there is none, and is sent again if the connection
   * breaks before the answer. It has one effect in the session that this client holds, and in any session if it adds a message or ends it; a new
   * session's `idempotency_key` and a message's `message_id` are generated if absent. To update, extend, share or unshare a session that this
   * client does not hold may be carried out twice, except an update with `if_version`: the second is refused with VERSION_CONFLICT.
   * @throws RequestFailed the gateway refused it
   * @throws RequestTimeout no answer in time; the gateway may have carried it out anyway
   * @throws ConnectionClosed the connection was closed for good
   * @throws QueueFull too many requests wait for the connection already
   * @throws RangeError larger than 65,536 bytes
   */
  request<T extends Asked>(type: T, fields: Fields<T>, options?: RequestOptions): Promise<Answered<T>> {
    return this.#channel.request(type, marked(type, fields), options);
  }

  /**
   * Watches a session that this client does not hold. The watch outlives a connection: it is requested again on the next one, and `resumed`
   * reports whether events were missed. Returns the same watch while there is one for this session.
   * @param timeoutMs default 10,000
   * @throws RequestFailed SESSION_NOT_FOUND unknown, or no access; ILLEGAL_STATE this client holds it, or watches 32 sessions already
   * @throws RequestTimeout, ConnectionClosed, QueueFull as for `request`
   */
  watch(sessionId: string, options: RequestOptions = {}): Promise<Watch> {
    return this.#watches.start(sessionId, options);
  }

  /** Closes the connection, which ends the session. Resolves when the socket is closed, after 2 s at the latest. */
  close(): Promise<void> {
    this.#isClosing = true;
    return this.#channel.close();
  }

  #receive(frame: Frame): void {
    const own = frame.session_id === this.#follower?.id ? this.#follower : undefined;
    const session_id = String(frame.session_id);
    if (isEvent(frame)) this.#take(frame, own);
    else if (frame.type === 'ServiceProgress') own?.emit('ServiceProgress', frame as never);
    else if (frame.type === 'ResumeComplete' && own && frame.seq !== own.seq) this.#refetch();
    // these two came after their timeout: the first would keep this connection from the next session
    else if (frame.type === 'NewSessionResponse' && !own) this.#channel.request('EndSessionRequest', { session_id }).catch(() => {});
    else if (frame.type === 'WatchResponse' && !this.#watches.has(session_id))
      this.#channel.request('UnwatchRequest', { session_id }).catch(() => {});
  }

  #take(event: LogEvent, own: Follower | undefined): void {
    const follower = own ?? this.#watches.followerOf(event.session_id);
    if (!follower) return this.#emitter.emit('watched', event);
    // of a watch that was stopped: its answer is under way
    if (follower.end) return;
    if (follower.take(event) === 'gap') this.#refetch();
    if (!follower.end) return;
    if (follower === own) this.#release();
    else this.#watches.release(follower);
  }

  /** An event is missing: another socket starts where this one was complete. */
  #refetch(): void {
    this.#channel.socket.reconnect('reconnect', 'an event is missing');
  }

  #resumed(answer: Frame): void {
    if (answer.type === 'Error') this.#finish({ reason: answer.code === 'RESUME_EXPIRED' ? 'resume_expired' : 'resume_invalid' });
    else {
      const { recovered, snapshot, to_seq, access_token } = answer as unknown as Answered<'ResumeRequest'>;
      this.#follower?.resume({ recovered, snapshot }, to_seq, access_token);
    }
    if (this.#follower?.end) this.#release();
  }

  #changed(state: ConnectionState): void {
    this.#emitState(state);
    this.#watches.changed(state);
    // without a resume window it ends with its socket
    if (state === 'waiting' && !this.#follower?.resumeRequest) this.#finish({ reason: 'client_gone', by: 'client' });
  }

  #emitState(state: ConnectionState): void {
    this.#follower?.connectionIs(state);
    this.#emitter.emit('state', state);
  }

  #finish(end: SessionEnd): void {
    const follower = this.#follower;
    if (!follower) return;
    follower.finish(end);
    this.#release();
    this.#channel.failSession(follower.id, new SessionOver(end));
  }

  #release(): void {
    this.#follower = undefined;
    this.#channel.socket.detectBreakWithin(undefined);
  }

  #whyClosed(code: number): SessionEnd {
    if (this.#isClosing) return { reason: 'client_ended', by: 'client' };
    return { reason: code === Close.TakenOver.code ? 'taken_over' : 'connection_closed', code };
  }
}

/** Adds the field by which the gateway detects a duplicate, for requests that have one. */
function marked<T extends Asked>(type: T, fields: Fields<T>): Fields<T> {
  const mark = type === 'AddMessageRequest' ? 'message_id' : type === 'NewSessionRequest' ? 'idempotency_key' : undefined;
  return mark ? { ...fields, [mark]: (fields as Record<string, unknown>)[mark] ?? newId() } : fields;
}

/** An event of a session's log, including types that this version does not know. Answers have an id, and no other frame has both seq and ts. */
const isEvent = (frame: Frame): frame is LogEvent & Frame =>
  frame.id === undefined && typeof frame.seq === 'number' && typeof frame.ts === 'string';
