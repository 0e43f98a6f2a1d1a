import { ConnectionClosed, QueueFull, RequestFailed, RequestTimeout } from './errors.ts';
import { newId } from './id.ts';
import { type Frame, Link, type LinkOptions, type LinkState } from './link.ts';
import { Pending } from './pending.ts';
import type { Answered, Asked, Fields } from './wire.ts';

/** As the gateway's own limit is by default; one byte more, and it closes the socket for good. */
const maxFrameBytes = 65_536;

export interface ChannelOptions extends LinkOptions {
  /** Requests that may wait for the connection; default 64. */
  maxQueued?: number | undefined;
}

/** What a channel tells the one who made it. None of these may throw. */
export interface ChannelListener {
  /** What is sent first on a new socket, without an id; undefined: nothing. Everything else waits for its answer, which may also be a retry's. */
  greeting(): { type: string } | undefined;
  /** The greeting's answer, or the Error in its place that a later try would not change. What waits is sent when this returns. */
  greeted(answer: Frame): void;
  /** Every frame that answers nothing that waits. */
  frame(frame: Frame): void;
  /** As the link's. */
  hurryMs?(brokenMs: number): number | undefined;
  /** `open` once it was greeted. Not told of `closed`. */
  changed(state: LinkState): void;
  /** It ended for good; told once, before the requests that wait fail. */
  closed(code: number, reason: string): void;
}

export interface RequestOptions {
  /** Counted from the call, also while there is no connection; default 10,000. */
  timeoutMs?: number | undefined;
}

interface ChannelRequestOptions<T extends Asked> extends RequestOptions {
  /** Called with the answer before anything that came behind it. Must not throw. */
  onAnswer?(answer: Answered<T>): void;
}

/** Requests and their answers over a link. A request without an answer is sent again on the next socket, the same with the same id. */
export class Channel {
  /** As the link's; `open` only once the greeting is answered. */
  state: LinkState = 'connecting';
  readonly link: Link;
  readonly #listener: ChannelListener;
  readonly #options: ChannelOptions;
  readonly #pending = new Pending<object>();
  #greeting: { id: string; timer: ReturnType<typeof setTimeout> } | undefined;
  #end: { code: number; reason: string } | undefined;

  constructor(url: string, listener: ChannelListener, options: ChannelOptions = {}) {
    this.#listener = listener;
    this.#options = options;
    this.link = new Link(
      url,
      {
        changed: (state) => this.#changed(state),
        frame: (frame) => this.#receive(frame),
        hurryMs: (brokenMs) => listener.hurryMs?.(brokenMs),
        closed: (code, reason) => this.#closed(code, reason),
      },
      options,
    );
  }

  /**
   * Sends a request and waits for its answer. Without a connection it waits for one.
   * @throws RequestFailed the gateway refused it
   * @throws RequestTimeout no answer in time; the gateway may still have done it
   * @throws ConnectionClosed the connection ended for good; its close code says why
   * @throws QueueFull too many wait for the connection already
   * @throws RangeError the frame has more than 65,536 bytes
   */
  async request<T extends Asked>(type: T, fields: Fields<T>, options: ChannelRequestOptions<T> = {}): Promise<Answered<T>> {
    const { timeoutMs = 10_000, onAnswer } = options;
    const { maxQueued = 64 } = this.#options;
    if (this.#end) throw new ConnectionClosed(this.#end.code, this.#end.reason);
    if (this.state !== 'open' && this.#pending.unsent >= maxQueued) throw new QueueFull(`${maxQueued} requests wait for the connection`);
    const id = newId();
    const text = encode({ ...fields, type, id });
    const { session_id: group } = fields as { session_id?: string };
    const onTimeout = () => new RequestTimeout(this.#late(type, timeoutMs));
    const answer = this.#pending.wait({
      id,
      text,
      group,
      timeoutMs,
      onTimeout,
      onAnswer: onAnswer as ((frame: object) => void) | undefined,
    });
    if (this.state === 'open') this.#pending.send(id, (frame) => this.link.send(frame));
    return (await answer) as unknown as Answered<T>;
  }

  /** Sends a frame that has no answer. False where there is no open socket: it is lost. */
  send(frame: { type: string; [field: string]: unknown }): boolean {
    return this.link.send(encode(frame));
  }

  /** Ends the waits of requests that name this session. */
  failSession(sessionId: string, error: Error): void {
    this.#pending.failAll(error, sessionId);
  }

  /** Ends it for good; every wait fails with ConnectionClosed. Resolves when the socket is closed, at the latest after 2 s. */
  close(): Promise<void> {
    return this.link.close();
  }

  #changed(state: LinkState): void {
    clearTimeout(this.#greeting?.timer);
    this.#greeting = undefined;
    if (state !== 'open') return this.#become(state);
    const greeting = this.#listener.greeting();
    if (!greeting) return this.#ready();
    const id = newId();
    const ms = this.link.patienceMs;
    this.#greeting = { id, timer: setTimeout(() => this.link.reconnect('back off', `${greeting.type}: no answer within ${ms} ms`), ms) };
    this.link.send(JSON.stringify({ ...greeting, id }));
  }

  #receive(frame: Frame): void {
    if (this.#greeting && frame.id === this.#greeting.id) return this.#greeted(frame);
    const { type, id, ...body } = frame;
    if (typeof id === 'string') {
      const isSettled = type === 'Error' ? this.#pending.fail(id, new RequestFailed(body)) : this.#pending.settle(id, body);
      if (isSettled) return this.link.gotThrough();
    }
    this.#listener.frame(frame);
  }

  #greeted(frame: Frame): void {
    const error = frame.type === 'Error' ? new RequestFailed(frame) : undefined;
    if (error?.retryable) return this.link.reconnect('back off', error.message, error.retryAfterMs);
    clearTimeout(this.#greeting?.timer);
    this.#greeting = undefined;
    this.link.gotThrough();
    this.#listener.greeted(frame);
    if (this.link.state === 'open') this.#ready();
  }

  #ready(): void {
    this.#become('open');
    this.#pending.sendAll((text) => this.link.send(text));
  }

  #closed(code: number, reason: string): void {
    clearTimeout(this.#greeting?.timer);
    this.state = 'closed';
    this.#end = { code, reason };
    this.#listener.closed(code, reason);
    this.#pending.failAll(new ConnectionClosed(code, reason));
  }

  #become(state: LinkState): void {
    if (this.state === state) return;
    this.state = state;
    this.#listener.changed(state);
  }

  #late(type: string, timeoutMs: number): string {
    const { reason } = this.link;
    const link = this.state === 'open' ? '' : `; the connection is ${this.state}${reason ? `: ${reason}` : ''}`;
    return `${type}: no answer within ${timeoutMs} ms${link}`;
  }
}

/** @throws RangeError it is larger than the gateway takes */
function encode(frame: object): string {
  const text = JSON.stringify(frame);
  // a character has three bytes at most
  const bytes = text.length * 3 > maxFrameBytes ? new TextEncoder().encode(text).length : 0;
  if (bytes > maxFrameBytes) throw new RangeError(`a frame of ${bytes} bytes; the gateway takes ${maxFrameBytes}`);
  return text;
}
