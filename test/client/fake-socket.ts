import { onTestFinished, vi } from 'vitest';
import type { Socket } from '../../src/client/socket.ts';

/** A socket without a network: its test says what happens to it. */
export class FakeSocket implements Socket {
  /** Every socket that was made since `fakeNetwork`, in order. */
  static all: FakeSocket[] = [];
  readonly url: string;
  /** The subprotocols that were offered. */
  readonly protocols: readonly string[];
  readonly sent: { type: string; id?: string; [field: string]: unknown }[] = [];
  /** The code this side closed it with; undefined: it did not. */
  closedWith: number | undefined;
  wasCut = false;
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;

  constructor(url: string, protocols: readonly string[] = []) {
    this.url = url;
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const socket = FakeSocket.all.at(-1);
    if (!socket) throw new Error('no socket was made');
    return socket;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(code?: number): void {
    this.readyState = 2;
    this.closedWith = code;
  }

  terminate(): void {
    this.readyState = 3;
    this.wasCut = true;
  }

  /** The upgrade succeeded. */
  open(): void {
    this.readyState = 1;
    this.onopen?.({} as never);
  }

  /** A frame came: an object, or text as it is. */
  receive(frame: unknown): void {
    this.onmessage?.({ data: typeof frame === 'string' || frame instanceof Uint8Array ? frame : JSON.stringify(frame) } as never);
  }

  /** It is closed; not open yet: refused, or not reached. */
  end(code: number, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as never);
  }
}

/** How long it takes until the next socket is made, and the next: each comes to nothing. */
export async function waitsBetween(tries: number): Promise<number[]> {
  const waits: number[] = [];
  for (let i = 0; i < tries; i++) {
    const { length } = FakeSocket.all;
    const since = performance.now();
    while (FakeSocket.all.length === length) await vi.advanceTimersToNextTimerAsync();
    waits.push(performance.now() - since);
    FakeSocket.last.end(1006);
  }
  return waits;
}

/** Time that stands still, and no sockets. */
export function fakeNetwork(): void {
  FakeSocket.all = [];
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
}
