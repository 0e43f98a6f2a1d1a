import { verdict } from '../../protocol/close.ts';
import { SUBPROTOCOL } from '../../protocol/version.ts';
import type { Backoff } from './backoff.ts';
import { afterReading } from './deadline.ts';
import { TokenError } from './errors.ts';
import { onRefusal, type Refusal } from './refusal.ts';
import { renewalOf } from './renewal.ts';
import { RetrySchedule } from './retry-schedule.ts';
import { findSocketClass, type Socket, type SocketClass } from './socket.ts';
import { Credential, type Token } from './token.ts';
import { onWake } from './wake.ts';

/** `waiting`: the connection broke, and the next attempt follows after a delay. `closed`: for good. */
export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed';

/** @deprecated since 0.1, removed in 0.2: use `ConnectionState` */
export type LinkState = ConnectionState;

/** One frame as it arrived; its fields are not checked. */
export type Frame = { type: string; id?: unknown; [field: string]: unknown };

/** How long the other side may take to answer a close. A process that exits should not be kept longer; what is left is cut. */
const closeMs = 2_000;
/** Close code for a socket that is dropped in a browser, which cannot cut it. Not 1000, which would end the session. */
const droppedCode = 4_000;
/** Below the 30 to 60 s after which proxies and mobile networks drop an idle connection. */
const defaultHeartbeatMs = 25_000;
/** More than a round trip on a bad mobile network, and as long as the gateway itself allows for creating a room. */
const defaultAnswerMs = 10_000;

export interface ReconnectingSocketOptions {
  /** The WebSocket class; default: the global one, else that of the package ws. */
  WebSocket?: SocketClass | undefined;
  /** Silence after which a heartbeat is sent; default 25,000. Without an answer within `answerMs` the connection is replaced. */
  heartbeatMs?: number | undefined;
  /**
   * Time limit for the upgrade, for the first answer on a new connection, and for a heartbeat; default 10,000. The first two double with
   * each failed attempt, up to eight times this.
   */
  answerMs?: number | undefined;
  /** Reconnect delays. */
  reconnect?: Backoff | undefined;
  /**
   * The credential, where the gateway requires one. A function is asked before each connection, and for a new one before that expires; it has
   * 10 s. A string that is refused or expires closes the connection for good; so does a function whose tokens are refused twice in a row.
   */
  token?: Token | undefined;
}

/** What a socket reports to its owner. None of these may throw. */
export interface SocketListener {
  /** The new state; `closed` is reported by `closed` alone. */
  changed(state: ConnectionState): void;
  frame(frame: Frame): void;
  /**
   * Caps the delay before the next attempt, for a session that does not wait longer; absent or undefined: no cap.
   * @param brokenMs since the last established connection broke
   */
  maxDelayMs?(brokenMs: number): number | undefined;
  /** There was no token to connect with, or no new one for an open connection: it tries again. */
  failed?(error: Error): void;
  /** It is closed for good: called once, and nothing is called after it. */
  closed(code: number, reason: string): void;
}

/**
 * A WebSocket that reconnects, unless its close code says stop. It connects when it is created.
 *
 *                 upgraded
 *    connecting ------------> open
 *     ^      | refused,        | cut, silent, or a close code
 *     |      v timed out       v that allows another attempt
 *     +--- waiting <-----------+
 *      delay over, or the page woke up
 *    any -- close(), a stop code, permanently refused, no WebSocket class --> closed
 */
export class ReconnectingSocket {
  state: ConnectionState = 'connecting';
  /** Why it is not open, if known: how the last connection or attempt failed. */
  reason: string | undefined;
  readonly answerMs: number;

  readonly #url: string;
  readonly #listener: SocketListener;
  readonly #options: ReconnectingSocketOptions;
  readonly #retries: RetrySchedule;
  readonly #credential: Credential | undefined;
  #socket: Socket | undefined;
  /** There is one at a time: the upgrade, silence, a heartbeat's answer, the next attempt, or the close. */
  #cancelTimer = () => {};
  #heartbeatMs: number;
  #receivedAt = 0;
  /** Something was received since the last heartbeat was sent. */
  #isAlive = false;
  #closing: Promise<void> | undefined;
  #ended: (() => void) | undefined;
  readonly #stopWatchingPage: () => void;

  /** @throws TokenError a string that cannot be sent */
  constructor(url: string, listener: SocketListener, options: ReconnectingSocketOptions = {}) {
    this.#url = url;
    this.#listener = listener;
    this.#options = options;
    this.#retries = new RetrySchedule(options.reconnect);
    this.#credential = options.token === undefined ? undefined : new Credential(options.token);
    this.answerMs = options.answerMs ?? defaultAnswerMs;
    this.#heartbeatMs = options.heartbeatMs ?? defaultHeartbeatMs;
    this.#stopWatchingPage = onWake(() => this.#woke());
    void this.#connect();
  }

  /** Attempts and breaks in a row, without an established or stable connection in between. */
  get failures(): number {
    return this.#retries.failures;
  }

  /** Time limit for the upgrade, and for the first answer after it: grows with the attempts that failed. */
  get attemptMs(): number {
    return this.answerMs * this.#retries.timeoutFactor;
  }

  /** Sends heartbeats more often, so that a break is detected within `ms`; undefined: as configured. At most one a second. */
  detectBreakWithin(ms: number | undefined): void {
    const { heartbeatMs = defaultHeartbeatMs } = this.#options;
    this.#heartbeatMs = Math.min(heartbeatMs, Math.max(1_000, (ms ?? Number.POSITIVE_INFINITY) - this.answerMs));
    if (this.state === 'open') this.#awaitSilence();
  }

  /** False: there is no open socket, and nothing was sent. True does not mean that it arrives. */
  send(text: string): boolean {
    if (this.state !== 'open' || this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  /** The gateway has answered on this connection: its end is a new break, not a failed attempt. */
  markEstablished(): void {
    this.#retries.established();
  }

  /** Drops this connection as if it had broken, and opens another: at once, or as after a close code that says back off. */
  reconnect(how: 'reconnect' | 'back off', why: string, retryAfterMs = 0): void {
    if (this.state === 'closed' || this.state === 'waiting') return;
    this.#retries.retryAfterMs = retryAfterMs;
    this.#drop();
    this.#broken(how, why);
  }

  /** Closes it for good. Resolves when the socket is closed, after 2 s at the latest. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const socket = this.#socket;
    this.#finish(1000, 'closed by this side');
    if (!socket) return;
    await new Promise<void>((ended) => {
      this.#ended = ended;
      this.#limit(closeMs, () => this.#drop());
      socket.onopen = socket.onmessage = null;
      socket.close(1000);
    });
  }

  async #connect(): Promise<void> {
    this.#become('connecting');
    try {
      const Class = await (this.#options.WebSocket ?? findSocketClass());
      const token = await this.#credential?.ask();
      if (this.state === 'connecting') this.#open(new Class(this.#url, token === undefined ? [] : [SUBPROTOCOL, `bearer.${token}`]));
    } catch (error) {
      if (this.state !== 'connecting') return;
      if (error instanceof TokenError) return this.#noToken(error);
      // no WebSocket class, or a page that may not open this URL: another attempt would fail in the same way
      this.#finish(1006, error instanceof Error ? error.message : String(error));
    }
  }

  #noToken(error: TokenError): void {
    this.#broken('back off', error.message);
    this.#listener.failed?.(error);
  }

  #open(socket: Socket): void {
    this.#socket = socket;
    const renewal =
      this.#credential &&
      renewalOf(this.#credential, {
        send: (text) => this.send(text),
        // where it broke meanwhile the next attempt has waited for the same token
        failed: (error) => this.state === 'open' && this.#listener.failed?.(error),
      });
    socket.onopen = () => {
      this.#retries.opened();
      this.#receivedAt = performance.now();
      this.#isAlive = true;
      this.reason = undefined;
      this.#awaitSilence();
      this.#become('open');
    };
    socket.onmessage = ({ data }: { data: unknown }) => this.#receive(data, renewal);
    // ws throws an error that has no listener
    socket.onerror = (error: Refusal) => {
      // the close event that follows has no more to say, and Node 22's own class sends none
      if (this.state === 'connecting') this.#refused(error);
      else if (this.state === 'closed') this.#drop();
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#closed(code, reason);
    onRefusal(socket, (refusal) => socket === this.#socket && this.#refused(refusal));
    const { attemptMs } = this;
    this.#limit(attemptMs, () => this.reconnect('back off', `the connection was not opened within ${attemptMs} ms`));
  }

  /** The socket was never open. */
  #refused(refusal: Refusal): void {
    const why = typeof refusal.message === 'string' && refusal.message ? refusal.message : 'the connection could not be opened';
    const mayRetry = this.#retries.refused(refusal);
    this.#drop();
    if (mayRetry) this.#broken('back off', why);
    else this.#finish(1006, why);
  }

  /** The network is back, or the page is shown again: check the connection now, or make the next attempt now. */
  #woke(): void {
    if (this.state === 'open' && this.#isAlive) this.#sendHeartbeat();
    else if (this.state === 'waiting') this.#arm(this.#retries.retryAfterMs, () => void this.#connect());
  }

  #receive(data: unknown, renewal?: (frame: Frame) => boolean): void {
    this.#receivedAt = performance.now();
    this.#isAlive = true;
    const frame = parse(data);
    if (!frame) return;
    this.#credential?.accepted();
    if (renewal?.(frame)) return;
    // an error of the socket, not of a request
    if (frame.type === 'Error' && frame.id === undefined && typeof frame.retry_after_ms === 'number') {
      this.#retries.retryAfterMs = frame.retry_after_ms;
    }
    this.#listener.frame(frame);
  }

  /** A connection can die without a close: sends a heartbeat after some silence. */
  #awaitSilence(): void {
    const waitMs = this.#receivedAt + this.#heartbeatMs - performance.now();
    this.#arm(waitMs, () => (performance.now() - this.#receivedAt < this.#heartbeatMs ? this.#awaitSilence() : this.#sendHeartbeat()));
  }

  #sendHeartbeat(): void {
    this.#isAlive = false;
    this.send('{"type":"Ping"}');
    const why = `a heartbeat had no answer within ${this.answerMs} ms`;
    this.#limit(this.answerMs, () => (this.#isAlive ? this.#awaitSilence() : this.reconnect('reconnect', why)));
  }

  #closed(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#cancelTimer();
    if (socket) socket.onclose = null;
    if (this.#ended) return this.#ended();
    // a socket that was never open was refused or not reached; its close code does not say which
    if (this.state !== 'open') return this.#refused({});
    const how = this.#credential?.verdict(code) ?? verdict(code);
    if (how === 'stop') this.#finish(code, reason);
    else this.#broken(how, `the connection was closed: ${code} ${reason}`.trimEnd());
  }

  #broken(how: 'reconnect' | 'back off', why: string): void {
    this.reason = why;
    const delay = this.#retries.broken(how, this.state === 'open', (brokenMs) => this.#listener.maxDelayMs?.(brokenMs));
    this.#arm(delay, () => void this.#connect());
    this.#become('waiting');
  }

  /** Abandons the socket without waiting for the other side. */
  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#cancelTimer();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {};
      if (socket.terminate) socket.terminate();
      else socket.close(droppedCode);
    }
    this.#ended?.();
  }

  #finish(code: number, reason: string): void {
    if (this.state === 'closed') return;
    this.#cancelTimer();
    this.#stopWatchingPage();
    this.#credential?.close();
    this.state = 'closed';
    this.reason = reason || `closed with ${code}`;
    this.#listener.closed(code, reason);
  }

  #become(state: ConnectionState): void {
    if (this.state === state) return;
    this.state = state;
    this.#listener.changed(state);
  }

  #arm(ms: number, run: () => void): void {
    this.#cancelTimer();
    const timer = setTimeout(run, Math.max(0, ms));
    this.#cancelTimer = () => clearTimeout(timer);
  }

  /** As `#arm`, of a wait for the other side. */
  #limit(ms: number, run: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = afterReading(ms, run);
  }
}

/** Undefined: not a frame. A newer gateway may send what this version does not know. */
function parse(data: unknown): Frame | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === 'string' ? frame : undefined;
  } catch {
    return undefined;
  }
}
