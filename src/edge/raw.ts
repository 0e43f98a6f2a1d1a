import { channel } from 'node:diagnostics_channel';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { safeHeaders } from './headers.ts';

/** An answer without a ServerResponse: Node's own channel `http.server.response.finish` does not report these. */
export interface RawAnswer {
  socket: Duplex & Pick<Socket, 'localPort'>;
  status: number;
}
const rawAnswers = channel('session-gateway.raw-answer');

/** A peer that does not close its side after a refusal is cut after this. */
const lingerMs = 1_000;

/** Returns an error listener for connections that are to become WebSockets; without one, a reset would end the process. */
export const earlyErrorListener = (log: Logger) => (err: Error) => log.debug({ err }, 'socket failed before it was a websocket');

/** Answers on a bare connection, where there is no ServerResponse, and ends it. */
export function respondRaw(socket: Duplex, status: number, headers: Record<string, string>, body: string): void {
  if (rawAnswers.hasSubscribers) rawAnswers.publish({ socket, status } satisfies RawAnswer);
  const all = {
    connection: 'close',
    date: new Date().toUTCString(),
    'content-length': String(Buffer.byteLength(body)),
    ...Object.fromEntries(safeHeaders((socket as TLSSocket).servername)),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`);
  // the rest of what the peer is sending is read and dropped: a reset could destroy the answer before it is read
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(timer));
}

/** Refuses to open a socket. In plain text: who reads it is a person with a tool in hand. */
export const refuseUpgrade = (socket: Duplex, status: number, message: string, headers: Record<string, string> = {}): void =>
  respondRaw(socket, status, { 'content-type': 'text/plain; charset=utf-8', ...headers }, `${message}\n`);
