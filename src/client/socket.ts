/** The part of WebSocket that the client uses. Browsers, Node and ws have it. */
export interface Socket {
  /** 1: open. */
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  /** `data` is a string for a text frame. */
  onmessage: ((event: never) => void) | null;
  /** Followed by `onclose`. */
  onerror: ((event: never) => void) | null;
  /** With `code` and `reason`. MUST be called once, even if the socket was never open. */
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /** Cuts the connection; without this method, `close` is called instead. */
  terminate?(): void;
}

export type SocketClass = new (url: string, protocols?: string[]) => Socket;

/** The platform's own class, else that of the package ws: Node 20 has none. */
export function findSocketClass(): SocketClass | Promise<SocketClass> {
  const { WebSocket } = globalThis as { WebSocket?: SocketClass };
  return WebSocket ?? import('ws').then((ws): SocketClass => ws.default);
}
