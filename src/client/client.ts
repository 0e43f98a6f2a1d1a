import { Close } from '../../protocol/close.ts';
import { Channel, type ChannelOptions, type RequestOptions } from './channel.ts';
import { Emitter } from './emitter.ts';
import { SessionOver } from './errors.ts';
import { Follower, type SessionEnd } from './follower.ts';
import { newId } from './id.ts';
import type { Frame, LinkState } from './link.ts';
import { Session } from './session.ts';
import { socketUrl } from './url.ts';
import type { Answered, Asked, Fields, LogEvent } from './wire.ts';

export type { RequestOptions } from './channel.ts';
export { ConnectionClosed, QueueFull, RequestFailed, RequestTimeout, SessionOver } from './errors.ts';
export type { Join, Resumed, SessionEnd, SessionEvents } from './follower.ts';
export type { LinkState } from './link.ts';
export type { ReadyOptions, Session } from './session.ts';
export type { Socket, SocketClass } from './socket.ts';
export type { Answered, Asked, Fields } from './wire.ts';

/** How long a client waits for its session where nothing else is said: the gateway has 10 s for the room. */
const newSessionMs = 15_000;
/** How long a session waits for its client where nothing else is said. */
const resumeWindowS = 60;
/** A break is noticed so long before the window is over: what the next socket takes, and the tries before it. */
const comeBackMs = 5_000;
/** Of the time in which the session can be taken up: so many tries at least fall into it. */
const triesInWindow = 10;

export type ClientOptions = ChannelOptions;

/** What a client tells, by type. */
export interface ClientEvents {
  state: LinkState;
  /** An event of a session that this client watches and does not hold. */
  watched: LogEvent;
}

/**
 * Connects to a gateway and stays connected until `close()` or a close code that says stop. Returns at once.
 * @param url ws, wss, http or https; without a path /ws
 * @throws TypeError the URL is none of these
 */
export const connect = (url: string, options: ClientOptions = {}): Client => new Client(url, options);

/** One connection to a gateway, which holds at most one session at a time. */
export class Client {
  /** Resolves when the connection ended for good, with the close code. */
  readonly closed: Promise<{ code: number; reason: string }>;

  readonly #channel: Channel;
  readonly #emitter = new Emitter<ClientEvents>();
  #follower: Follower | undefined;
  #windowMs = 0;
  #isClosing = false;

  constructor(url: string, options: ClientOptions) {
    let onClosed = (_end: { code: number; reason: string }) => {};
    this.closed = new Promise((resolve) => {
      onClosed = resolve;
    });
    this.#channel = new Channel(
      socketUrl(url),
      {
        greeting: () => this.#follower?.resumeRequest,
        greeted: (answer) => this.#resumed(answer),
        frame: (frame) => this.#receive(frame),
        // the gateway may have seen the break later: what is over here can still be held there
        hurryMs: (brokenMs) => (this.#follower?.resumeRequest ? Math.max(this.#windowMs, brokenMs) / triesInWindow : undefined),
        changed: (state) => this.#changed(state),
        closed: (code, reason) => {
          this.#tellState('closed');
          this.#finish(this.#whyClosed(code));
          onClosed({ code, reason });
        },
      },
      options,
    );
  }

  get state(): LinkState {
    return this.#channel.state;
  }

  /** Why it is not open, for a person to read; undefined while it is, and before anything failed. Browsers do not say why a socket was refused. */
  get reason(): string | undefined {
    return this.#channel.link.reason;
  }

  /** Calls `handler` with each one from now on. The returned function takes it back. */
  on<K extends keyof ClientEvents>(type: K, handler: (value: ClientEvents[K]) => void): () => void {
    return this.#emitter.on(type, handler);
  }

  /**
   * Opens a session on this connection. It may break meanwhile: there will be one session all the same.
   * @param fields as NewSessionRequest; `resume_window_s` is 60 and `idempotency_key` made here where they are absent
   * @param timeoutMs default 15,000; a session that comes later than that is ended
   * @throws RequestFailed, RequestTimeout, ConnectionClosed, QueueFull as `request`
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
      // its first events may stand right behind it
      onAnswer: (opened) => {
        follower = this.#follower = new Follower(opened);
        this.#windowMs = body.resume_window_s * 1_000;
        if (this.#windowMs > 0) this.#channel.link.noticeWithin(this.#windowMs - comeBackMs);
      },
    });
    return new Session(follower as Follower, this.#channel, answer, body);
  }

  /**
   * Sends any request of the contract and waits for its answer. While there is no connection it waits for one, and where the connection broke
   * before the answer it is sent again. That has one effect with the session that this client holds, and with any for a message and for the end;
   * a new session and a message get the key and the id for it here, where they have none. To update, extend, share or unshare a session that
   * this client does not hold may be carried out twice; an update with `if_version` is not: the second is refused with VERSION_CONFLICT.
   * @throws RequestFailed the gateway refused it
   * @throws RequestTimeout no answer in time; the gateway may still have done it
   * @throws ConnectionClosed the connection ended for good
   * @throws QueueFull too many wait for the connection already
   * @throws RangeError it has more than 65,536 bytes
   */
  request<T extends Asked>(type: T, fields: Fields<T>, options?: RequestOptions): Promise<Answered<T>> {
    return this.#channel.request(type, marked(type, fields), options);
  }

  /** Ends the connection, and with it the session. Resolves when the socket is closed, at the latest after 2 s. */
  close(): Promise<void> {
    this.#isClosing = true;
    return this.#channel.close();
  }

  #receive(frame: Frame): void {
    const own = frame.session_id === this.#follower?.id ? this.#follower : undefined;
    if (isEvent(frame)) {
      if (!own) this.#emitter.emit('watched', frame);
      else if (own.take(frame) === 'gap') this.#channel.link.reconnect('reconnect', 'an event is missing');
      if (own?.end) this.#letGo();
    } else if (frame.type === 'ServiceProgress') own?.tell('ServiceProgress', frame as never);
    else if (frame.type === 'ResumeComplete' && own && frame.seq !== own.seq)
      this.#channel.link.reconnect('reconnect', 'an event is missing');
    else if (frame.type === 'NewSessionResponse' && !own) {
      // nobody waits for it any more, and it would keep this connection from the next
      this.#channel.request('EndSessionRequest', { session_id: String(frame.session_id) }).catch(() => {});
    }
  }

  #resumed(answer: Frame): void {
    if (answer.type === 'Error') this.#finish({ reason: answer.code === 'RESUME_EXPIRED' ? 'resume_expired' : 'resume_invalid' });
    else this.#follower?.resume(answer as never);
    if (this.#follower?.end) this.#letGo();
  }

  #changed(state: LinkState): void {
    this.#tellState(state);
    // it ends with its socket
    if (state === 'waiting' && !this.#follower?.resumeRequest) this.#finish({ reason: 'client_gone', by: 'client' });
  }

  #tellState(state: LinkState): void {
    this.#follower?.tell('link', state);
    this.#emitter.emit('state', state);
  }

  #finish(end: SessionEnd): void {
    const follower = this.#follower;
    if (!follower) return;
    follower.finish(end);
    this.#letGo();
    this.#channel.failSession(follower.id, new SessionOver(end));
  }

  #letGo(): void {
    this.#follower = undefined;
    this.#channel.link.noticeWithin(undefined);
  }

  #whyClosed(code: number): SessionEnd {
    if (this.#isClosing) return { reason: 'client_ended', by: 'client' };
    return { reason: code === Close.TakenOver.code ? 'taken_over' : 'connection_closed', code };
  }
}

/** With what the gateway knows it by when it comes twice, where the request has a field for that. */
function marked<T extends Asked>(type: T, fields: Fields<T>): Fields<T> {
  const mark = type === 'AddMessageRequest' ? 'message_id' : type === 'NewSessionRequest' ? 'idempotency_key' : undefined;
  return mark ? { ...fields, [mark]: (fields as Record<string, unknown>)[mark] ?? newId() } : fields;
}

/** Of a session's log, also of a type that this version does not know. Answers have an id, and nothing else has both of these. */
const isEvent = (frame: Frame): frame is LogEvent & Frame =>
  frame.id === undefined && typeof frame.seq === 'number' && typeof frame.ts === 'string';
