import { serviceGraceMs } from '../../protocol/times.ts';
import type { Commands } from '../../protocol/types.ts';
import type { Assignment, Handler, Offer } from './assignment.ts';
import { maxTimerMs, within } from './deadline.ts';
import { Emitter } from './emitter.ts';
import { ConnectionClosed, RequestFailed, RequestTimeout } from './errors.ts';
import { newId } from './id.ts';
import type { ConnectionState, Frame, ReconnectingSocketOptions } from './reconnecting-socket.ts';
import { type ChannelListener, RequestChannel } from './request-channel.ts';
import { clip, type GatewayPort, type OutgoingFrame, ServedSession, textOf } from './served-session.ts';
import { socketUrl } from './url.ts';
import type { Answered } from './wire.ts';

export type { Assignment, Handler, Leave, Offer, Presence } from './assignment.ts';
export { ConnectionClosed, RequestFailed, TokenError } from './errors.ts';
export type { ConnectionState, LinkState } from './reconnecting-socket.ts';
export type { Socket, SocketClass } from './socket.ts';
export type { Token } from './token.ts';

/** With `answerMs` less than the gateway's time-out for a service plus its grace period: a service is back before its sessions go on without it. */
const heartbeatMs = 5_000;
/** Delays are capped by this in the gateway's grace period for a service that serves sessions, so that several attempts fall into it. */
const maxDelayMs = 1_000;
/** So many fit into the frame that registers, beside the metadata. */
const maxHeld = 400;

/** How an offer is declined. */
export interface Declined {
  /** Reported to the session's client. */
  reason?: string;
  /** The gateway does not offer this session again earlier; up to 600,000. */
  retry_after_ms?: number;
}

export interface ServiceOptions extends ReconnectingSocketOptions {
  /** Also its identity in the room. */
  service_id: string;
  /** A service with the same value takes over the registration, even from a connected one. Default: generated. */
  instance_id?: string;
  /** What sessions can match: type, language, version, ... */
  metadata?: Record<string, string | number | boolean>;
  /** Sessions it serves at once; default: no limit. */
  max_sessions?: number;
  /** Decides about an offer, within 10 s: return an object or throw to decline, return nothing to accept. Default: accepts. */
  accept?(offer: Offer): Declined | undefined | void | Promise<Declined | undefined | void>;
}

export interface ServiceEvents {
  /** The connection's new state; `open`: registered. */
  state: ConnectionState;
  /**
   * A handler or the function it returned threw, the gateway refused a frame or cannot be reached (reported once), there was no token (TokenError;
   * it tries again), or registering failed for good.
   */
  error: Error;
}

/**
 * Returns a service immediately; it connects and registers in the background. `handler` is called once for each accepted session.
 * @param url ws, wss, http or https; without a path /ws
 * @throws TypeError the URL is none of these
 * @throws TokenError `token` is a string that cannot be sent
 */
export const serve = (url: string, options: ServiceOptions, handler: Handler): Service => new Service(url, options, handler);

/** A service. It reconnects and registers again after a break; the sessions it serves go on meanwhile. */
export class Service {
  /**
   * Resolves on the first registration. Unhandled, its failure ends a Node process with exit code 1.
   * @throws RequestFailed the gateway refused it for good: SERVICE_ID_EXISTS if another instance holds the id
   * @throws ConnectionClosed the gateway's close code says stop, or `close` was called first
   */
  readonly registered: Promise<void>;
  /** Resolves with the close code when the connection is closed for good. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #url: string;
  readonly #options: ServiceOptions;
  readonly #handler: Handler;
  readonly #channel: RequestChannel;
  readonly #emitter = new Emitter<ServiceEvents>();
  readonly #instanceId: string;
  /** By assignment, from the offer until the gateway knows of its end. */
  readonly #served = new Map<string, ServedSession>();
  readonly #port: GatewayPort;
  #onRegistered = () => {};
  #onRefused = (_error: Error) => {};
  #onClosed = (_end: { code: number; reason: string }) => {};
  #status: 'available' | 'full' = 'available';
  #draining = false;
  #refused: RequestFailed | undefined;
  /** The 'error' that the gateway cannot be reached was emitted. */
  #isReported = false;
  #closing: Promise<void> | undefined;
  #idle: (() => void)[] = [];

  constructor(url: string, options: ServiceOptions, handler: Handler) {
    this.#options = options;
    this.#handler = handler;
    this.#instanceId = options.instance_id ?? newId();
    this.registered = new Promise((resolve, reject) => {
      this.#onRegistered = resolve;
      this.#onRefused = reject;
    });
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    this.#port = {
      // a service that closes sends nothing later
      send: (frame) => this.#send(frame) || this.#closing !== undefined || this.state === 'closed',
      ready: ({ id: assignment_id, sessionId: session_id }) =>
        this.#channel.request('ServiceReady', { session_id, assignment_id }, { timeoutMs: maxTimerMs }),
      failed: (error) => this.#failed(error),
      over: (served) => this.#forget(served),
    };
    const listener: ChannelListener = {
      greeting: () => this.#registration(),
      greeted: (frame) => this.#greeted(frame),
      frame: (frame) => this.#receive(frame),
      maxDelayMs: (brokenMs) => (brokenMs < serviceGraceMs && this.sessions.length > 0 ? maxDelayMs : undefined),
      failed: (error) => {
        // says more than that the gateway is not reached
        this.#isReported = true;
        this.#failed(error);
      },
      changed: (state) => this.#changed(state),
      closed: (code, reason) => this.#closed(code, reason),
    };
    this.#url = socketUrl(url);
    this.#channel = new RequestChannel(this.#url, listener, { heartbeatMs, ...options, maxQueued: Number.POSITIVE_INFINITY });
  }

  /** The connection's state; `open`: registered. `waiting`: the next attempt follows after a delay. `closed`: for good. */
  get state(): ConnectionState {
    return this.#channel.state;
  }

  /** Human-readable reason why it is not open; undefined while it is, and before the first failure. */
  get reason(): string | undefined {
    return this.#channel.socket.reason;
  }

  /** The sessions it serves, ready or starting. */
  get sessions(): Assignment[] {
    return [...this.#served.values()].filter((served) => served.isAccepted && !served.isEnded).map((served) => served.join);
  }

  /** Calls `handler` with each event of this type from now on. Returns an unsubscribe function. */
  on<K extends keyof ServiceEvents>(type: K, handler: (value: ServiceEvents[K]) => void): () => void {
    return this.#emitter.on(type, handler);
  }

  /** Sets whether it accepts further sessions; those it serves go on. Kept across reconnects. */
  setStatus(status: 'available' | 'full'): void {
    this.#status = status;
    this.#send({ type: 'ServiceStatus', status });
  }

  /**
   * Accepts no further sessions, and closes when it serves none.
   * @param timeoutMs after this it leaves the remaining ones; default: no limit
   */
  async drain({ timeoutMs = maxTimerMs }: { timeoutMs?: number } = {}): Promise<void> {
    // every offer sent before the answer has arrived with it, and was declined
    const isOver = this.#stopAccepting().then(() => this.#untilIdle());
    await within(isOver, { timeoutMs, onTimeout: () => new RequestTimeout('still serving') }).catch(() => {});
    await this.close();
  }

  /** Leaves every session, so that another service is found for it, and closes. Waits 3 s at most for a session to be left. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // the caller knows why it was not registered
    this.registered.catch(() => {});
    // or it would be offered the sessions that it leaves
    void this.#stopAccepting();
    for (const served of this.#served.values()) this.#drop(served, 'the service closes', 'ServiceLeft');
    await this.#untilIdle();
    await this.#channel.close();
  }

  /** Resolves when the gateway knows, or cannot be asked. Cannot reject. */
  async #stopAccepting(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    // without a connection the next registration reports it
    if (this.state === 'open') await this.#channel.request('DeregisterServiceRequest', { drain: true }).catch(() => {});
  }

  async #untilIdle(): Promise<void> {
    if (this.#served.size > 0) await new Promise<void>((idle) => this.#idle.push(idle));
  }

  /** Ends it. A report that waits for a connection is discarded. */
  #drop(served: ServedSession, why: string, report?: 'ServiceLeft'): void {
    served.end(why, report);
    if (served.pendingReport) this.#forget(served);
  }

  #forget(served: ServedSession): void {
    this.#served.delete(served.id);
    if (this.#served.size === 0) for (const idle of this.#idle.splice(0)) idle();
  }

  /** False: it is not registered now, and nothing was sent. */
  #send(frame: OutgoingFrame): boolean {
    return this.state === 'open' && this.#channel.send(frame);
  }

  #failed(error: unknown): void {
    this.#emitter.emit('error', error instanceof Error ? error : new Error(String(error)));
  }

  #registration() {
    const { service_id, metadata, max_sessions } = this.#options;
    const held = [...this.#served.values()].slice(0, maxHeld);
    return {
      type: 'RegisterServiceRequest',
      service_id,
      instance_id: this.#instanceId,
      metadata,
      max_sessions,
      held: held.map(({ id, sessionId }) => ({ session_id: sessionId, assignment_id: id })),
    };
  }

  #greeted(frame: Frame): void {
    if (frame.type === 'Error') {
      this.#refused = new RequestFailed(frame);
      this.#failed(this.#refused);
      void this.#channel.close();
      return;
    }
    const { keep } = frame as unknown as Answered<'RegisterServiceRequest'>;
    for (const served of this.#served.values()) {
      if (!keep.includes(served.id)) this.#drop(served, 'the session went on without it');
    }
  }

  #changed(state: ConnectionState): void {
    if (state === 'open') this.#resume();
    // an offer ends with its socket
    else for (const served of this.#served.values()) if (!served.isAccepted) this.#forget(served);
    this.#report(state);
    this.#emitter.emit('state', state);
  }

  /** A break that the first attempt repairs is no error; failed attempts are, once. */
  #report(state: ConnectionState): void {
    if (state === 'open') this.#isReported = false;
    if (state !== 'waiting' || this.#isReported || this.#channel.socket.failures < 2) return;
    this.#isReported = true;
    this.#failed(new Error(`not registered at ${this.#url}, trying again: ${this.reason}`));
  }

  /** Sends what a new registration does not carry over from the old one. */
  #resume(): void {
    if (this.#status === 'full') this.setStatus('full');
    if (this.#draining) this.#send({ type: 'DeregisterServiceRequest', drain: true });
    for (const served of this.#served.values()) if (served.pendingReport && this.#send(served.pendingReport)) this.#forget(served);
    this.#onRegistered();
  }

  #receive(frame: Frame): void {
    switch (frame.type) {
      case 'JoinRoomRequest': {
        const { type: _, ...offer } = frame;
        void this.#offered(offer as unknown as Offer);
        return;
      }
      case 'LeaveRoomRequest': {
        const { assignment_id, reason } = frame as unknown as Commands['LeaveRoomRequest'];
        this.#served.get(assignment_id)?.end(reason, 'ServiceLeft');
        return;
      }
      case 'ClientPresence': {
        const { type: _, ...presence } = frame as unknown as Commands['ClientPresence'] & Frame;
        for (const served of this.#served.values()) if (served.sessionId === presence.session_id) served.setPresence(presence);
        return;
      }
      case 'Error': {
        const error = new RequestFailed(frame);
        // a frame about a session that ended at the same time
        if (error.code !== 'ASSIGNMENT_NOT_FOUND') this.#failed(error);
      }
    }
  }

  async #offered(offer: Offer): Promise<void> {
    const served = new ServedSession(offer, this.#port);
    this.#served.set(served.id, served);
    const { signal } = served.join;
    signal.addEventListener('abort', () => this.#channel.failSession(served.sessionId, signal.reason));
    const declined = await this.#decide(offer);
    // the connection broke, or a LeaveRoomRequest came
    if (this.#served.get(served.id) !== served || served.isEnded) return;
    const isSent = this.#send({ ...declined, type: 'JoinRoomResponse', assignment_id: served.id, accepted: !declined });
    if (isSent && !declined) served.start(this.#handler);
    else this.#forget(served);
  }

  /** Undefined: accepted. Cannot reject. */
  async #decide(offer: Offer): Promise<Declined | undefined> {
    // the offer crossed with the report
    if (this.#draining || this.#status === 'full') return { reason: this.#draining ? 'draining' : 'full' };
    try {
      const declined = (await this.#options.accept?.(offer)) ?? undefined;
      return declined && { ...declined, ...(declined.reason !== undefined && { reason: clip(declined.reason) }) };
    } catch (error) {
      this.#failed(error);
      return { reason: textOf(error) };
    }
  }

  #closed(code: number, reason: string): void {
    const error = this.#refused ?? new ConnectionClosed(code, reason);
    this.#onRefused(error);
    if (!this.#refused && !this.#closing) this.#failed(error);
    for (const served of this.#served.values()) this.#drop(served, 'the connection is closed');
    this.#emitter.emit('state', 'closed');
    this.#onClosed({ code, reason });
  }
}
