/** As much of a WebSocket as a link uses: that of browsers, of Node, of ws, and of whoever brings their own. */
export interface Socket {
  /** 1: open. */
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  /** `data` is a string for a text frame. */
  onmessage: ((event: never) => void) | null;
  /** Followed by `onclose`. */
  onerror: ((event: never) => void) | null;
  /** With `code` and `reason`. MUST be called once, also where it never opened. */
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /** Cuts the connection; where it is missing, `close` is called. */
  terminate?(): void;
}

export type SocketClass = new (url: string) => Socket;

/** The platform's own, else that of the package ws: Node 20 has none. */
export function findSocketClass(): SocketClass | Promise<SocketClass> {
  const { WebSocket } = globalThis as { WebSocket?: SocketClass };
  return WebSocket ?? import('ws').then((ws): SocketClass => ws.default);
}
