import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { Close, type CloseReason } from '../../protocol/close.ts';
import { GatewayError } from '../errors.ts';
import { drained, isMuch, largeBytes } from '../level.ts';
import { largeWriteBytes, Outbox, type OutboxLimits, type OutboxParts } from './outbox.ts';
import type { Tarpit } from './tarpit.ts';
import type { Breach, FrameListener } from './ws-internals.ts';

/** What a socket may cost. */
export interface MeterLimits extends OutboxLimits {
  messagesPerSecond: number;
  messageBurst: number;
  /** Of every kind: messages, fragments, pings, pongs. */
  framesPerSecond: number;
  /** Of those frames. */
  bytesPerSecond: number;
  maxFrameBytes: number;
  /** Fragments of one message. */
  maxFragments: number;
  /** Of answers to what it asked. */
  answerBytesPerSecond: number;
}

export interface MeteredParts extends OutboxParts {
  tarpit: Tarpit;
  limits: MeterLimits;
}

/** What the limits on messages let in may come in two fragments each. */
export const frameRate = ({ framesPerSecond, messagesPerSecond }: MeterLimits) => Math.max(framesPerSecond, 2 * messagesPerSecond);
const frameBurst = ({ framesPerSecond, messageBurst }: MeterLimits) => Math.max(framesPerSecond, 2 * messageBurst) * one;
/** The largest frame is never too large for it. */
const byteBurst = ({ bytesPerSecond, maxFrameBytes }: MeterLimits) => Math.max(bytesPerSecond, 2 * maxFrameBytes);

/** One message or frame: of these, thousandths are counted. */
const one = 1_000;
/** The head of the smallest frame that a client can send. */
const headBytes = 6;
/** Shorter waits cost more than they are worth. */
const shortestWaitMs = 10;

/** What a socket costs: every frame and byte that its peer sends, and every byte of the answers that it asks for. Levels go down with time. */
export abstract class Metered extends Outbox implements FrameListener {
  declare protected readonly parts: MeteredParts;
  /** As of `#seenAt`. */
  #messages = 0;
  #frames = 0;
  #bytes = 0;
  #answers = 0;
  #lastAnswer = 0;
  #seenAt: number;
  /** The last turn that it waited for. */
  #ownTurn = -1;
  #hasWaited = false;

  constructor(ws: WebSocket, socket: Socket, parts: MeteredParts) {
    super(ws, socket, parts);
    this.#seenAt = parts.clock.now();
  }

  protected abstract onSign(): void;
  abstract sendError(error: GatewayError, id?: string): void;

  /** When its peer was last heard of. */
  protected get seenAt(): number {
    return this.#seenAt;
  }

  /** Its peer lives: what it has used of its limits goes down with the time since the last sign. */
  protected sawSign(): void {
    const now = this.parts.clock.now();
    const ms = now - this.#seenAt;
    if (ms > 0) {
      const limits = this.parts.limits;
      this.#messages = drained(this.#messages, ms, one * limits.messagesPerSecond);
      this.#frames = drained(this.#frames, ms, one * frameRate(limits));
      this.#bytes = drained(this.#bytes, ms, limits.bytesPerSecond);
      this.#answers = drained(this.#answers, ms, limits.answerBytesPerSecond);
    }
    this.#seenAt = now;
    this.onSign();
  }

  /** Every frame counts, whatever it is: pongs that nobody asked for and empty fragments cost as much as messages. */
  onFrame(length: number, fragment: number): Breach | undefined {
    // its peer is held, and what had come before is dropped
    if (this.closing && this.ws.isPaused) return undefined;
    const limits = this.parts.limits;
    this.sawSign();
    this.#frames += one;
    this.#bytes += length + headBytes;
    if (fragment > limits.maxFragments) return this.#breach(Close.TooManyFragments);
    if (this.#frames > frameBurst(limits)) return this.#breach(Close.RateLimited, `more than ${frameRate(limits)} frames a second`);
    if (this.#bytes > byteBurst(limits)) return this.#breach(Close.RateLimited, `more than ${limits.bytesPerSecond} bytes a second`);
    return undefined;
  }

  stopReading(): void {
    this.ws.pause();
  }

  /** A whole message has come. @returns false: there were too many, and the socket is closed */
  protected countMessage(): boolean {
    const { messageBurst, messagesPerSecond } = this.parts.limits;
    this.#messages += one;
    if (this.#messages <= messageBurst * one) return true;
    this.#breach(Close.RateLimited, `more than ${messagesPerSecond} messages a second`);
    return false;
  }

  #breach(why: CloseReason, what?: string): Breach {
    const { limits, tarpit, clock } = this.parts;
    const retryAfterMs = Math.ceil(1_000 / limits.messagesPerSecond);
    if (what !== undefined) this.sendError(new GatewayError('RATE_LIMITED', what, { retryAfterMs }));
    if (this.closing) return { why };
    const ms = tarpit.heldMs(clock.now());
    if (ms > 0) return { why, held: new Promise((over) => this.close(why, { ms, over })) };
    this.close(why);
    return { why };
  }

  /** Its peer asked for this. */
  charge(bytes: number): void {
    this.#answers += bytes;
    this.#lastAnswer = bytes;
  }

  /**
   * What the next request has to wait for: room for its answer, a budget for it, or a turn of the event loop; undefined: nothing.
   * @param length of the request's frame
   */
  protected gate(length: number): Promise<void> | undefined {
    if (this.closing || this.closed) return undefined;
    // who does not read a large answer does not get another
    const hasToRead = this.#lastAnswer > largeWriteBytes ? this.hasBacklog : !this.writable;
    if (hasToRead) return new Promise((flushed) => this.whenFlushed(flushed));
    const { answerBytesPerSecond: perSecond } = this.parts.limits;
    const level = this.#answers === 0 ? 0 : drained(this.#answers, this.parts.clock.now() - this.#seenAt, perSecond);
    if (level > perSecond) {
      const ms = Math.max(shortestWaitMs, ((level - perSecond) * 1_000) / perSecond);
      return new Promise((done) => setTimeout(done, ms).unref());
    }
    const { turn } = this.parts;
    if (this.#hasWaited) {
      // one at least, however long that took
      this.#hasWaited = false;
      return undefined;
    }
    if (length <= largeBytes && !isMuch(level, this.#lastAnswer, perSecond)) return turn.isLongFor(this) ? turn.soon() : undefined;
    if (turn.hasRoom || (this.#ownTurn === turn.number && !turn.isLong)) return undefined;
    return turn.next().then(() => {
      this.#ownTurn = turn.number;
      this.#hasWaited = true;
    });
  }
}
