import { afterReading } from './deadline.ts';
import { ConnectionClosed, QueueFull, RequestFailed, RequestTimeout } from './errors.ts';
import { newId } from './id.ts';
import { Pending } from './pending.ts';
import { type ConnectionState, type Frame, ReconnectingSocket, type ReconnectingSocketOptions } from './reconnecting-socket.ts';
import type { Answered, Asked, Fields } from './wire.ts';

/** The gateway's default limit; it closes the socket for good for a larger frame. */
const maxFrameBytes = 65_536;
/** As long as the gateway itself allows for the slowest step, creating a room. */
const requestMs = 10_000;

export interface ChannelOptions extends ReconnectingSocketOptions {
  /** Requests that may wait while there is no connection; default 64. */
  maxQueued?: number | undefined;
}

/** What a channel reports to its owner. None of these may throw. */
export interface ChannelListener {
  /** The first request on a new socket, without an id; undefined: none. Every other request waits for its answer. */
  greeting(): { type: string } | undefined;
  /** The greeting's answer, or an Error that is not retryable. Waiting requests are sent when this returns. */
  greeted(answer: Frame): void;
  /** Every frame that is not the answer to a waiting request. */
  frame(frame: Frame): void;
  /** As of SocketListener. */
  maxDelayMs?(brokenMs: number): number | undefined;
  /** As of SocketListener. */
  failed?(error: Error): void;
  /** The new state, `open` once the greeting is answered; `closed` is reported by `closed` alone. */
  changed(state: ConnectionState): void;
  /** It is closed for good: called once, before the waiting requests fail. */
  closed(code: number, reason: string): void;
}

export interface RequestOptions {
  /** Counted from the call, even while there is no connection; default 10,000. */
  timeoutMs?: number | undefined;
}

interface ChannelRequestOptions<T extends Asked> extends RequestOptions {
  /** Called with the answer, before any later frame is handled. Must not throw. */
  onAnswer?(answer: Answered<T>): void;
}

/** Requests and their answers over a reconnecting socket. A request without an answer is sent again on the next socket, unchanged and with the same id. */
export class RequestChannel {
  /** As the socket's, but `open` only once the greeting is answered. */
  state: ConnectionState = 'connecting';
  readonly socket: ReconnectingSocket;
  readonly #listener: ChannelListener;
  readonly #options: ChannelOptions;
  readonly #pending = new Pending<object>();
  #greeting: { id: string; cancel(): void } | undefined;
  #end: { code: number; reason: string } | undefined;

  constructor(url: string, listener: ChannelListener, options: ChannelOptions = {}) {
    this.#listener = listener;
    this.#options = options;
    this.socket = new ReconnectingSocket(
      url,
      {
        changed: (state) => this.#changed(state),
        frame: (frame) => this.#receive(frame),
        maxDelayMs: (brokenMs) => listener.maxDelayMs?.(brokenMs),
        failed: (error) => listener.failed?.(error),
        closed: (code, reason) => this.#closed(code, reason),
      },
      options,
    );
  }

  /**
   * Sends a request and waits for its answer. Waits for a connection if there is none.
   * @throws RequestFailed the gateway refused it
   * @throws RequestTimeout no answer in time; the gateway may have carried it out anyway
   * @throws ConnectionClosed the connection was closed for good; its close code says why
   * @throws QueueFull too many requests wait for the connection already
   * @throws RangeError the frame has more than 65,536 bytes
   */
  async request<T extends Asked>(type: T, fields: Fields<T>, options: ChannelRequestOptions<T> = {}): Promise<Answered<T>> {
    const { timeoutMs = requestMs, onAnswer } = options;
    const { maxQueued = 64 } = this.#options;
    if (this.#end) throw new ConnectionClosed(this.#end.code, this.#end.reason);
    if (this.state !== 'open' && this.#pending.unsent >= maxQueued) throw new QueueFull(`${maxQueued} requests wait for the connection`);
    const id = newId();
    const text = encode({ ...fields, type, id });
    const { session_id: group } = fields as { session_id?: string };
    const onTimeout = () => new RequestTimeout(this.#timeoutMessage(type, timeoutMs));
    const answer = this.#pending.wait({
      id,
      text,
      group,
      timeoutMs,
      onTimeout,
      onAnswer: onAnswer as ((frame: object) => void) | undefined,
    });
    if (this.state === 'open') this.#pending.send(id, (frame) => this.socket.send(frame));
    return (await answer) as unknown as Answered<T>;
  }

  /** Sends a frame that has no answer. False: there is no open socket, and the frame is dropped. */
  send(frame: { type: string; [field: string]: unknown }): boolean {
    return this.socket.send(encode(frame));
  }

  /** Rejects the waiting requests that name this session. */
  failSession(sessionId: string, error: Error): void {
    this.#pending.failAll(error, sessionId);
  }

  /** Closes it for good; waiting requests fail with ConnectionClosed. Resolves when the socket is closed, after 2 s at the latest. */
  close(): Promise<void> {
    return this.socket.close();
  }

  #changed(state: ConnectionState): void {
    this.#greeting?.cancel();
    this.#greeting = undefined;
    if (state !== 'open') return this.#become(state);
    const greeting = this.#listener.greeting();
    if (!greeting) return this.#ready();
    const id = newId();
    const ms = this.socket.attemptMs;
    const cancel = afterReading(ms, () => this.socket.reconnect('back off', `${greeting.type}: no answer within ${ms} ms`));
    this.#greeting = { id, cancel };
    this.socket.send(JSON.stringify({ ...greeting, id }));
  }

  #receive(frame: Frame): void {
    if (this.#greeting && frame.id === this.#greeting.id) return this.#greeted(frame);
    const { type, id, ...body } = frame;
    if (typeof id === 'string') {
      const isSettled = type === 'Error' ? this.#pending.fail(id, new RequestFailed(body)) : this.#pending.settle(id, body);
      if (isSettled) return this.socket.markEstablished();
    }
    this.#listener.frame(frame);
  }

  #greeted(frame: Frame): void {
    const error = frame.type === 'Error' ? new RequestFailed(frame) : undefined;
    if (error?.retryable) return this.socket.reconnect('back off', error.message, error.retryAfterMs);
    this.#greeting?.cancel();
    this.#greeting = undefined;
    this.socket.markEstablished();
    this.#listener.greeted(frame);
    if (this.socket.state === 'open') this.#ready();
  }

  #ready(): void {
    // before the listener hears of it: what it requests then is sent once, behind these
    this.#pending.sendAll((text) => this.socket.send(text));
    this.#become('open');
  }

  #closed(code: number, reason: string): void {
    this.#greeting?.cancel();
    this.state = 'closed';
    this.#end = { code, reason };
    this.#listener.closed(code, reason);
    this.#pending.failAll(new ConnectionClosed(code, reason));
  }

  #become(state: ConnectionState): void {
    if (this.state === state) return;
    this.state = state;
    this.#listener.changed(state);
  }

  #timeoutMessage(type: string, timeoutMs: number): string {
    const { reason } = this.socket;
    const connection = this.state === 'open' ? '' : `; the connection is ${this.state}${reason ? `: ${reason}` : ''}`;
    return `${type}: no answer within ${timeoutMs} ms${connection}`;
  }
}

/** @throws RangeError larger than the gateway accepts */
function encode(frame: object): string {
  const text = JSON.stringify(frame);
  // a UTF-16 code unit takes three bytes at most
  const bytes = text.length * 3 > maxFrameBytes ? new TextEncoder().encode(text).length : 0;
  if (bytes > maxFrameBytes) throw new RangeError(`a frame of ${bytes} bytes; the gateway accepts ${maxFrameBytes}`);
  return text;
}
