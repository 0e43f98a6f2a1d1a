import { verdict } from '../../protocol/close.ts';
import { type Backoff, backoff } from './backoff.ts';
import { isPermanent, onAnswer, type Refusal } from './refusal.ts';
import { findSocketClass, type Socket, type SocketClass } from './socket.ts';
import { onWake } from './wake.ts';

/** `waiting`: the socket broke, and the next is opened after a while. `closed`: there will be none. */
export type LinkState = 'connecting' | 'open' | 'waiting' | 'closed';

/** One frame as it came. What it holds is what its sender says. */
export type Frame = { type: string; id?: unknown; [field: string]: unknown };

/** A socket that lived this long ends a row of failures. */
const livedMs = 5_000;
/** Breaks in a row, each of a socket that got through and lived shorter than that, after which the next try is made at once: then it is a loop. */
const maxQuick = 2;
/** Refusals in a row that a later try does not change, after which there is none: a proxy that starts may refuse for a moment what it takes then. */
const maxRefusals = 5;
/** The same where the gateway was reached before: that moment may then be as long as a deployment takes. */
const refusedForMs = 600_000;
/** An attempt to connect has up to this many times as long as the first: a gateway to which everybody comes back is slow. */
const maxPatience = 8;
/** How long the other side has to close with us. */
const closeMs = 2_000;
/** Drops a socket in a browser, which cannot cut it. Not 1000, which would end the session. */
const dropped = 4_000;

export interface LinkOptions {
  /** The WebSocket class; default: the global one, else that of the package ws. */
  WebSocket?: SocketClass | undefined;
  /** Silence after which a heartbeat is sent; default 25,000. Without an answer within `answerMs` the socket is given up. */
  heartbeatMs?: number | undefined;
  /**
   * How long the other side has for what a connection stands or falls with: the upgrade, the greeting's answer, a heartbeat; default 10,000. The first
   * two have twice as long after each attempt that failed, up to eight times.
   */
  answerMs?: number | undefined;
  /** The waits between tries. */
  reconnect?: Backoff | undefined;
}

/** What a link tells the one who made it. None of these may throw. */
export interface LinkListener {
  /** `state` is what it has now. Not told of `closed`. */
  changed(state: LinkState): void;
  frame(frame: Frame): void;
  /**
   * The longest that the next try may wait for the sake of what is held; absent or undefined: there is no hurry.
   * @param brokenMs since the last break of a socket that had got through
   */
  hurryMs?(brokenMs: number): number | undefined;
  /** It ended for good: told once, with the close code. Nothing is told after it. */
  closed(code: number, reason: string): void;
}

/** A socket that is opened again when it breaks, unless its close code says stop. It begins to connect when it is made. */
export class Link {
  state: LinkState = 'connecting';
  /** Why it is not open, where that is known: what the last socket or attempt failed by. */
  reason: string | undefined;
  readonly answerMs: number;

  readonly #url: string;
  readonly #listener: LinkListener;
  readonly #options: LinkOptions;
  #socket: Socket | undefined;
  /** The one thing waited for at a time: the upgrade, silence, a heartbeat's answer, the next try, or the end. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** In a row, without a socket in between that lived or got through. */
  #failures = 0;
  /** The same without the break before them: what the next attempt waits by. */
  #failedTries = 0;
  /** Sockets in a row that got through and broke before they had lived. */
  #quick = 0;
  #isThrough = false;
  #wasOpen = false;
  #brokenAt = 0;
  /** Attempts in a row that were refused as no later one would not be. */
  #refusals = 0;
  /** When the first of them was. */
  #refusedAt = 0;
  #heartbeatMs: number;
  #openedAt = 0;
  #seenAt = 0;
  #heard = false;
  /** The gateway asked to be left alone until then. */
  #notBefore = 0;
  #closing: Promise<void> | undefined;
  #ended: (() => void) | undefined;
  readonly #unwatchPage: () => void;

  constructor(url: string, listener: LinkListener, options: LinkOptions = {}) {
    this.#url = url;
    this.#listener = listener;
    this.#options = options;
    this.answerMs = options.answerMs ?? 10_000;
    this.#heartbeatMs = options.heartbeatMs ?? 25_000;
    this.#unwatchPage = onWake(() => this.#woken());
    void this.#connect();
  }

  /** Attempts and breaks in a row, without a socket in between that lived or got through. */
  get failures(): number {
    return this.#failures;
  }

  /** How long the other side has for the upgrade and the greeting's answer, after the attempts that failed so far. */
  get patienceMs(): number {
    return this.answerMs * Math.min(2 ** this.#failedTries, maxPatience);
  }

  /** Shortens the silence after which a heartbeat is sent, so that a break is noticed within `ms`; undefined: as set. A second apart at least. */
  noticeWithin(ms: number | undefined): void {
    const { heartbeatMs = 25_000 } = this.#options;
    this.#heartbeatMs = Math.min(heartbeatMs, Math.max(1_000, (ms ?? Number.POSITIVE_INFINITY) - this.answerMs));
    if (this.state === 'open') this.#watch();
  }

  /** False where there is no open socket: it did not go out. True does not say that it arrives. */
  send(text: string): boolean {
    if (this.state !== 'open' || this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  /** The other side has answered on this socket: its end is a break of its own, not a try that failed. */
  gotThrough(): void {
    this.#isThrough = true;
  }

  /** Gives this socket up, as if it had broken, and opens another: at once, or as after a close code that says back off. */
  reconnect(what: 'reconnect' | 'back off', why: string, retryAfterMs = 0): void {
    if (this.state === 'closed' || this.state === 'waiting') return;
    this.#notBefore = performance.now() + retryAfterMs;
    this.#discard();
    this.#broken(what, why);
  }

  /** Ends it for good. Resolves when the socket is closed, at the latest after 2 s. */
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
      this.#arm(closeMs, () => this.#discard());
      socket.onopen = socket.onmessage = null;
      socket.close(1000);
    });
  }

  async #connect(): Promise<void> {
    this.#become('connecting');
    try {
      const Class = await (this.#options.WebSocket ?? findSocketClass());
      if (this.state === 'connecting') this.#open(new Class(this.#url));
    } catch (error) {
      // no WebSocket here, or a page that may not open this one: no later try would differ
      this.#finish(1006, error instanceof Error ? error.message : String(error));
    }
  }

  #open(socket: Socket): void {
    this.#socket = socket;
    socket.onopen = () => {
      this.#openedAt = this.#seenAt = performance.now();
      this.reason = undefined;
      this.#refusals = 0;
      this.#wasOpen = true;
      this.#heard = true;
      this.#watch();
      this.#become('open');
    };
    socket.onmessage = ({ data }: { data: unknown }) => this.#receive(data);
    // ws throws where nobody listens
    socket.onerror = (error: Refusal) => {
      // the close that is to follow says no more, and with Node 22's own class none follows
      if (this.state === 'connecting') this.#refused(error);
      else if (this.state === 'closed') this.#discard();
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#closed(code, reason);
    onAnswer(socket, (refusal) => socket === this.#socket && this.#refused(refusal));
    const { patienceMs } = this;
    this.#arm(patienceMs, () => this.reconnect('back off', `the connection was not opened within ${patienceMs} ms`));
  }

  /** The socket was never open. */
  #refused(refusal: Refusal): void {
    const why = typeof refusal.message === 'string' && refusal.message ? refusal.message : 'the connection could not be opened';
    this.#notBefore = performance.now() + (refusal.retryAfterMs ?? 0);
    if (!isPermanent(refusal)) this.#refusals = 0;
    else if (++this.#refusals === 1) this.#refusedAt = performance.now();
    this.#discard();
    const forMs = this.#wasOpen ? refusedForMs : 0;
    if (this.#refusals >= maxRefusals && performance.now() - this.#refusedAt >= forMs) this.#finish(1006, why);
    else this.#broken('back off', why);
  }

  /** The network is back, or somebody looks at the page again: a broken connection is noticed now, and the next try is made now. */
  #woken(): void {
    if (this.state === 'open' && this.#heard) this.#beat();
    else if (this.state === 'waiting') this.#arm(this.#notBefore - performance.now(), () => void this.#connect());
  }

  #receive(data: unknown): void {
    this.#seenAt = performance.now();
    this.#heard = true;
    const frame = parse(data);
    if (!frame) return;
    // of the socket, not of a request
    if (frame.type === 'Error' && frame.id === undefined && typeof frame.retry_after_ms === 'number') {
      this.#notBefore = this.#seenAt + frame.retry_after_ms;
    }
    this.#listener.frame(frame);
  }

  /** A connection can end without a word: sends a heartbeat after some silence. */
  #watch(): void {
    const waitMs = this.#seenAt + this.#heartbeatMs - performance.now();
    this.#arm(waitMs, () => (performance.now() - this.#seenAt < this.#heartbeatMs ? this.#watch() : this.#beat()));
  }

  #beat(): void {
    this.#heard = false;
    this.send('{"type":"Ping"}');
    const why = `a heartbeat had no answer within ${this.answerMs} ms`;
    this.#arm(this.answerMs, () => (this.#heard ? this.#watch() : this.reconnect('reconnect', why)));
  }

  #closed(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = undefined;
    clearTimeout(this.#timer);
    if (socket) socket.onclose = null;
    if (this.#ended) return this.#ended();
    // before it was open its code says nothing: refused, or not reached
    if (this.state !== 'open') return this.#refused({});
    const what = verdict(code);
    if (what === 'stop') this.#finish(code, reason);
    else this.#broken(what, `the connection was closed: ${code} ${reason}`.trimEnd());
  }

  #broken(what: 'reconnect' | 'back off', why: string): void {
    const now = performance.now();
    this.reason = why;
    const hasLived = this.state === 'open' && now - this.#openedAt >= livedMs;
    if (hasLived) this.#quick = 0;
    else if (this.#isThrough) this.#quick += 1;
    if (hasLived || (this.#isThrough && this.#quick <= maxQuick)) this.#failures = 0;
    if (this.#isThrough) this.#brokenAt = now;
    this.#isThrough = false;
    // told to reconnect: the first try is made at once
    const row = what === 'reconnect' ? this.#failures - 1 : this.#failures;
    this.#failedTries = row + 1;
    this.#failures += 1;
    const asked = what === 'back off' ? this.#notBefore - now : 0;
    const wait = row < 0 ? 0 : backoff(row, this.#options.reconnect, this.#listener.hurryMs?.(now - this.#brokenAt));
    this.#arm(Math.max(wait, asked), () => void this.#connect());
    this.#become('waiting');
  }

  /** Lets go of the socket without waiting for the other side. */
  #discard(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    clearTimeout(this.#timer);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {};
      if (socket.terminate) socket.terminate();
      else socket.close(dropped);
    }
    this.#ended?.();
  }

  #finish(code: number, reason: string): void {
    if (this.state === 'closed') return;
    clearTimeout(this.#timer);
    this.#unwatchPage();
    this.state = 'closed';
    this.reason = reason || `closed with ${code}`;
    this.#listener.closed(code, reason);
  }

  #become(state: LinkState): void {
    if (this.state === state) return;
    this.state = state;
    this.#listener.changed(state);
  }

  #arm(ms: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, Math.max(0, ms));
  }
}

/** Undefined for what is no frame: a newer gateway may send what this version does not know. */
function parse(data: unknown): Frame | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === 'string' ? frame : undefined;
  } catch {
    return undefined;
  }
}
