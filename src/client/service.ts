import type { Commands } from '../../protocol/types.ts';
import type { Assignment, Handler, Offer } from './assignment.ts';
import { Channel, type ChannelListener } from './channel.ts';
import { maxTimerMs, within } from './deadline.ts';
import { Emitter } from './emitter.ts';
import { ConnectionClosed, RequestFailed, RequestTimeout } from './errors.ts';
import { newId } from './id.ts';
import type { Frame, LinkOptions, LinkState } from './link.ts';
import { clip, type Line, type Said, Seat, textOf } from './seat.ts';
import { socketUrl } from './url.ts';
import type { Answered } from './wire.ts';

export type { Assignment, Handler, Leave, Offer, Presence } from './assignment.ts';
export { ConnectionClosed, RequestFailed } from './errors.ts';
export type { LinkState } from './link.ts';
export type { Socket, SocketClass } from './socket.ts';

/** With `answerMs` it is less than the gateway takes to miss a service and wait for it: a service is back before its sessions go on without it. */
const heartbeatMs = 5_000;
/** The gateway waits this long for a service that serves sessions; meanwhile no try waits longer than `hurryMs`. */
const awaitedMs = 5_000;
const hurryMs = 1_000;
/** As many fit into the frame that registers, beside the metadata. */
const maxHeld = 400;

/** How an offer is declined. */
export interface Declined {
  /** Told to the session's client. */
  reason?: string;
  /** The gateway does not ask again for this session before; up to 600,000. */
  retry_after_ms?: number;
}

export interface ServiceOptions extends LinkOptions {
  /** Also its identity in the room. */
  service_id: string;
  /** Who brings the same takes the registration over, also from one that is connected. Default: this object's own. */
  instance_id?: string;
  /** What it is, so that sessions can ask for it by that: type, language, version, ... */
  metadata?: Record<string, string | number | boolean>;
  /** Sessions it serves at once; default: no limit. */
  max_sessions?: number;
  /** Looks at an offer, within 10 s; an object declines it, as does throwing. Default: every offer is accepted. */
  accept?(asked: Offer): Declined | undefined | void | Promise<Declined | undefined | void>;
}

export interface ServiceEvents {
  /** `open`: it is registered. */
  state: LinkState;
  /** A handler, or what it returned, threw; the gateway refused a frame; it cannot be reached, once until it is; or registering failed for good. */
  error: Error;
}

/**
 * Registers a service and serves what it is asked to: `handler` is called once for each session it accepted.
 * @param url ws, wss, http or https; without a path /ws
 * @throws TypeError the URL is none of these
 */
export const serve = (url: string, options: ServiceOptions, handler: Handler): Service => new Service(url, options, handler);

/** A registered service. Its connection is opened again when it breaks, and what it serves meanwhile goes on. */
export class Service {
  /**
   * Resolves with the first registration. Where nobody waits for it, its failure ends a Node process, with exit code 1.
   * @throws RequestFailed the gateway refused it for good: SERVICE_ID_EXISTS where another instance holds the id
   * @throws ConnectionClosed the gateway's close code says that no later try helps, or `close` was called before
   */
  readonly registered: Promise<void>;
  /** Resolves when the connection ended for good, with the close code. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #url: string;
  readonly #options: ServiceOptions;
  readonly #handler: Handler;
  readonly #channel: Channel;
  readonly #emitter = new Emitter<ServiceEvents>();
  readonly #instanceId: string;
  /** By assignment, from the offer until the gateway knows of its end. */
  readonly #seats = new Map<string, Seat>();
  readonly #line: Line;
  #onRegistered = () => {};
  #onRefused = (_error: Error) => {};
  #onClosed = (_end: { code: number; reason: string }) => {};
  #status: 'available' | 'full' = 'available';
  #draining = false;
  #refused: RequestFailed | undefined;
  /** It was reported that the gateway cannot be reached. */
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
    this.#line = {
      // for one that closes there is no later
      send: (frame) => this.#send(frame) || this.#closing !== undefined || this.state === 'closed',
      ready: ({ id: assignment_id, sessionId: session_id }) =>
        this.#channel.request('ServiceReady', { session_id, assignment_id }, { timeoutMs: maxTimerMs }),
      failed: (error) => this.#failed(error),
      over: (seat) => this.#forget(seat),
    };
    const listener: ChannelListener = {
      greeting: () => this.#registration(),
      greeted: (frame) => this.#greeted(frame),
      frame: (frame) => this.#receive(frame),
      hurryMs: (brokenMs) => (brokenMs < awaitedMs && this.sessions.length > 0 ? hurryMs : undefined),
      changed: (state) => this.#changed(state),
      closed: (code, reason) => this.#closed(code, reason),
    };
    this.#url = socketUrl(url);
    this.#channel = new Channel(this.#url, listener, { heartbeatMs, ...options, maxQueued: Number.POSITIVE_INFINITY });
  }

  /** `open`: it is registered. `waiting`: the connection broke, and is tried again after a while. `closed`: there will be none. */
  get state(): LinkState {
    return this.#channel.state;
  }

  /** Why it is not open, for a person to read; undefined while it is, and before anything failed. */
  get reason(): string | undefined {
    return this.#channel.link.reason;
  }

  /** What it serves: ready, or on its way. */
  get sessions(): Assignment[] {
    return [...this.#seats.values()].filter((seat) => seat.isAccepted && !seat.isEnded).map((seat) => seat.join);
  }

  /** Calls `handler` with each one from now on. The returned function takes it back. */
  on<K extends keyof ServiceEvents>(type: K, handler: (value: ServiceEvents[K]) => void): () => void {
    return this.#emitter.on(type, handler);
  }

  /** Says whether it takes further sessions; what it serves goes on. It holds for later connections too. */
  setStatus(status: 'available' | 'full'): void {
    this.#status = status;
    this.#send({ type: 'ServiceStatus', status });
  }

  /**
   * Takes no further sessions, and closes once it serves none.
   * @param timeoutMs it then leaves what it still serves; default: none
   */
  async drain({ timeoutMs = maxTimerMs }: { timeoutMs?: number } = {}): Promise<void> {
    // with the answer every offer that was on its way has come, and was declined
    const isOver = this.#stopTaking().then(() => this.#untilIdle());
    await within(isOver, { timeoutMs, onTimeout: () => new RequestTimeout('still serving') }).catch(() => {});
    await this.close();
  }

  /** Leaves every session, which then looks for another service, and closes. What takes longer than 3 s to leave is not waited for. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // who closes it knows why it was not registered
    this.registered.catch(() => {});
    // else it would be offered again what it leaves
    void this.#stopTaking();
    for (const seat of this.#seats.values()) this.#drop(seat, 'the service closes', 'ServiceLeft');
    await this.#untilIdle();
    await this.#channel.close();
  }

  /** Resolves when the gateway knows, where there is one. Cannot reject. */
  async #stopTaking(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    // else the next registration says it
    if (this.state === 'open') await this.#channel.request('DeregisterServiceRequest', { drain: true }).catch(() => {});
  }

  async #untilIdle(): Promise<void> {
    if (this.#seats.size > 0) await new Promise<void>((idle) => this.#idle.push(idle));
  }

  /** Ends it. What waits for a connection to be said is said no more. */
  #drop(seat: Seat, why: string, say?: 'ServiceLeft'): void {
    seat.end(why, say);
    if (seat.unsaid) this.#forget(seat);
  }

  #forget(seat: Seat): void {
    this.#seats.delete(seat.id);
    if (this.#seats.size === 0) for (const idle of this.#idle.splice(0)) idle();
  }

  /** False where it is registered nowhere now. */
  #send(frame: Said): boolean {
    return this.state === 'open' && this.#channel.send(frame);
  }

  #failed(error: unknown): void {
    this.#emitter.emit('error', error instanceof Error ? error : new Error(String(error)));
  }

  #registration() {
    const { service_id, metadata, max_sessions } = this.#options;
    const held = [...this.#seats.values()].slice(0, maxHeld);
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
    for (const seat of this.#seats.values()) {
      if (!keep.includes(seat.id)) this.#drop(seat, 'the session went on without it');
    }
  }

  #changed(state: LinkState): void {
    if (state === 'open') this.#resume();
    // who has not accepted is no longer asked
    else for (const seat of this.#seats.values()) if (!seat.isAccepted) this.#forget(seat);
    this.#report(state);
    this.#emitter.emit('state', state);
  }

  /** A break that the next attempt mends is not worth an error; attempts that fail are, once. */
  #report(state: LinkState): void {
    if (state === 'open') this.#isReported = false;
    if (state !== 'waiting' || this.#isReported || this.#channel.link.failures < 2) return;
    this.#isReported = true;
    this.#failed(new Error(`not registered at ${this.#url}, trying again: ${this.reason}`));
  }

  /** Says on a new registration what holds beyond the old one. */
  #resume(): void {
    if (this.#status === 'full') this.setStatus('full');
    if (this.#draining) this.#send({ type: 'DeregisterServiceRequest', drain: true });
    for (const seat of this.#seats.values()) if (seat.unsaid && this.#send(seat.unsaid)) this.#forget(seat);
    this.#onRegistered();
  }

  #receive(frame: Frame): void {
    switch (frame.type) {
      case 'JoinRoomRequest': {
        const { type: _, ...asked } = frame;
        void this.#offered(asked as unknown as Offer);
        return;
      }
      case 'LeaveRoomRequest': {
        const { assignment_id, reason } = frame as unknown as Commands['LeaveRoomRequest'];
        this.#seats.get(assignment_id)?.end(reason, 'ServiceLeft');
        return;
      }
      case 'ClientPresence': {
        const { type: _, ...presence } = frame as unknown as Commands['ClientPresence'] & Frame;
        for (const seat of this.#seats.values()) if (seat.sessionId === presence.session_id) seat.presence(presence);
        return;
      }
      case 'Error': {
        const error = new RequestFailed(frame);
        // it spoke of a session that ended at the same time
        if (error.code !== 'ASSIGNMENT_NOT_FOUND') this.#failed(error);
      }
    }
  }

  async #offered(asked: Offer): Promise<void> {
    const seat = new Seat(asked, this.#line);
    this.#seats.set(seat.id, seat);
    seat.join.signal.addEventListener('abort', () => this.#channel.failSession(seat.sessionId, seat.join.signal.reason));
    const declined = await this.#look(asked);
    // the connection broke, or it was told to leave
    if (this.#seats.get(seat.id) !== seat || seat.isEnded) return;
    const isSent = this.#send({ ...declined, type: 'JoinRoomResponse', assignment_id: seat.id, accepted: !declined });
    if (isSent && !declined) seat.begin(this.#handler);
    else this.#forget(seat);
  }

  /** Cannot reject. */
  async #look(asked: Offer): Promise<Declined | undefined> {
    // sent before the gateway knew
    if (this.#draining || this.#status === 'full') return { reason: this.#draining ? 'draining' : 'full' };
    try {
      const declined = (await this.#options.accept?.(asked)) ?? undefined;
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
    for (const seat of this.#seats.values()) this.#drop(seat, 'the connection is closed');
    this.#emitter.emit('state', 'closed');
    this.#onClosed({ code, reason });
  }
}
