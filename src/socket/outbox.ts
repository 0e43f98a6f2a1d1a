import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { Close, type CloseReason } from '../../protocol/close.ts';
import type { Clock } from '../clock.ts';
import type { Turn } from '../turn.ts';
import { pongFrame, textFrame } from './frames.ts';

/** More than this is written at once: a separate write costs little beside it, and its time is seen by whoever measures the turn. */
export const largeWriteBytes = 16_384;
/** Below it the bytes of a frame cost little beside its write. */
const largeFrameBytes = 1_024;

/** What waits for a peer, and for how long it may. */
export interface OutboxLimits {
  maxBufferedBytes: number;
  slowReaderMs: number;
}

/** How long a peer is held before its socket is closed, and what is called when its close frame has been written. */
export interface Held {
  ms: number;
  over(): void;
}

export interface OutboxParts {
  turn: Turn;
  clock: Clock;
  limits: OutboxLimits;
}

/** What a socket sends: all frames of a turn of the event loop in one write, and no more than its peer reads. */
export abstract class Outbox {
  /** How the socket ended: as a client ends it on purpose, by the gateway for what was sent, or otherwise; undefined: it has not. */
  ended: 'closed' | 'refused' | 'broken' | undefined;
  protected closing = false;

  protected readonly ws: WebSocket;
  protected readonly parts: OutboxParts;
  readonly #socket: Socket;
  /** The frames of this turn of the event loop, as bytes. */
  #out = '';
  /** What the last ping that is not answered yet held, as bytes. */
  #pinged: string | undefined;
  #flushed: (() => void) | undefined;
  /** Those who follow a session here know that there is no room. */
  #cursorsBlocked = false;
  #writtenBytes = 0;
  /** Since when too much waits for this peer, or its next request for it to read, and it reads nothing. */
  #stuckSince: number | undefined;

  constructor(ws: WebSocket, socket: Socket, parts: OutboxParts) {
    this.ws = ws;
    this.#socket = socket;
    this.parts = parts;
  }

  /** More may be written again. */
  protected abstract onWritable(): void;

  get closed(): boolean {
    return this.ended !== undefined;
  }

  /** Queues a frame; false: the socket is ending. */
  send(frame: object): boolean {
    return this.sendText(JSON.stringify(frame));
  }

  sendText(frame: string): boolean {
    return this.sendFrame(textFrame(frame));
  }

  /** As `send`, of a frame that is encoded already; it may go to many sockets. */
  sendFrame(frame: string): boolean {
    if (this.closing || this.ended !== undefined) return false;
    if (this.#out === '') this.parts.turn.add(this);
    this.#out += frame;
    if (this.#out.length > largeWriteBytes) this.flush();
    else if (frame.length > largeFrameBytes) this.parts.turn.willWrite(frame.length);
    return true;
  }

  /** Answers a ping at the end of the turn, and of several only the last: RFC 6455, 5.5.3. */
  protected pong(payload: Buffer): void {
    if (this.closing || this.ended !== undefined) return;
    if (this.#out === '' && this.#pinged === undefined) this.parts.turn.add(this);
    this.#pinged = payload.toString('latin1');
  }

  /** Writes what was queued during this turn: not through the sender of ws, which writes each frame by itself and in two parts. */
  flush(): void {
    // a peer that reads nothing gets no pongs on top of what waits for it
    if (this.#pinged !== undefined && this.writable) {
      this.#out += pongFrame(this.#pinged);
      this.#pinged = undefined;
    }
    const frames = this.#out;
    this.#out = '';
    if (frames === '' || this.ws.readyState !== this.ws.OPEN) return;
    // the end of these frames wakes those who stopped because too much waited
    const isFull = this.#socket.writableLength + frames.length > this.parts.limits.maxBufferedBytes;
    if (!isFull && !this.#cursorsBlocked) this.#socket.write(frames, 'latin1');
    else this.#socket.write(frames, 'latin1', () => this.onFlushed());
  }

  /** Whether more may be written now; if not, those who follow a session here are woken when it may. */
  get writable(): boolean {
    if (this.closing || this.ended !== undefined) return false;
    if (this.ws.bufferedAmount + this.#out.length <= this.parts.limits.maxBufferedBytes) return true;
    this.#cursorsBlocked = true;
    return false;
  }

  /** Whether something waits that its peer has yet to read. */
  protected get hasBacklog(): boolean {
    return this.ws.bufferedAmount > 0;
  }

  /** @param held its peer is held first: the socket stays open, and nothing is read or sent */
  close({ code, reason }: CloseReason | { code: number; reason: string }, held?: Held): void {
    if (this.closing || this.closed) return;
    this.flush();
    this.closing = true;
    if (!held) return this.ws.close(code, reason);
    this.ws.pause();
    const stop = this.parts.clock.every(held.ms, () => {
      stop();
      this.ws.resume();
      this.ws.close(code, reason);
      held.over();
    });
  }

  terminate(): void {
    this.ws.terminate();
  }

  /** Calls back when nothing waits for its peer, or it has gone. */
  protected whenFlushed(flushed: () => void): void {
    this.flush();
    if (this.closing || this.closed || !this.hasBacklog) return flushed();
    this.#flushed = flushed;
    // an empty ping carries the callback behind what waits
    this.ws.ping(undefined, undefined, () => this.onFlushed());
  }

  protected onFlushed(): void {
    this.#cursorsBlocked = false;
    this.#flushed?.();
    this.#flushed = undefined;
    if (this.#pinged !== undefined) this.flush();
    this.onWritable();
  }

  /** Called by the sweep: what ws itself writes may have filled the buffer, and nobody hears when it is gone; a peer that reads nothing is cut. */
  protected checkOutbox(now: number): void {
    if (this.#cursorsBlocked && this.writable) this.onFlushed();
    const waits = this.#flushed !== undefined || this.ws.bufferedAmount > this.parts.limits.maxBufferedBytes;
    if (!waits && this.#stuckSince === undefined) return;
    const writtenBytes = this.#socket.bytesWritten - this.#socket.writableLength;
    const progress = writtenBytes > this.#writtenBytes;
    this.#writtenBytes = writtenBytes;
    if (!waits) this.#stuckSince = undefined;
    else if (progress || this.#stuckSince === undefined) this.#stuckSince = now;
    else if (now - this.#stuckSince >= this.parts.limits.slowReaderMs) {
      // it reads nothing, so it would not read the close frame either: soon after, the socket is cut
      this.close(Close.TooSlow);
      this.onFlushed();
    }
  }
}
