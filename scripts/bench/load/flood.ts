// Malicious peers, in their own process. Whoever is closed comes back at once.
import { connect, type Socket } from 'node:net';
import { serve } from '../rpc.ts';
import { masked, op } from './frames.ts';

export interface Flood {
  sockets: number;
  /** Sent once, when the socket is open. */
  first?: object;
  /** Frames, sent again and again. */
  frames: (object | 'pong' | 'fragments')[];
  /** How often a second, all of them; absent: as fast as they are taken. */
  perSecond?: number;
  /** Nothing that comes is read. */
  deaf?: true;
}

const tickMs = 10;
const fragments = 250;
/** What is not taken stays with the peer. */
const mostWaiting = 65_536;
/** So many copies in one write, where nothing else slows it. */
const copies = 256;

let running = false;
let port = 0;
let sent = 0;
let closed = 0;

serve({
  start(flood: { port: number } & Flood): void {
    running = true;
    port = flood.port;
    for (let i = 0; i < flood.sockets; i++) attack(flood, i);
  },
  stop: () => {
    running = false;
  },
  said: () => ({ sent, closed }),
});

function attack(flood: Flood, index: number): void {
  if (!running) return;
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => {});
  let timer: NodeJS.Timeout | undefined;
  socket.on('close', () => {
    clearInterval(timer);
    closed++;
    setImmediate(() => attack(flood, index));
  });
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  socket.once('data', () => {
    if (flood.deaf) socket.pause();
    else socket.resume();
    if (flood.first) socket.write(masked(JSON.stringify(flood.first).replaceAll('%', `${index}`)));
    timer = send(flood, socket);
  });
}

function send({ frames, perSecond }: Flood, socket: Socket): NodeJS.Timeout | undefined {
  const once = Buffer.concat(frames.map(encoded));
  if (once.length === 0) return undefined;
  if (perSecond === undefined) {
    const many = Buffer.concat(Array.from({ length: copies }, () => once));
    const pour = () => {
      while (running && !socket.destroyed && socket.write(many)) sent += copies;
    };
    socket.on('drain', pour);
    pour();
    return undefined;
  }
  let due = 0;
  return setInterval(() => {
    if (!running) return void socket.destroy();
    due += (perSecond * tickMs) / 1_000;
    const count = Math.trunc(due);
    due -= count;
    if (count === 0 || socket.writableLength > mostWaiting) return;
    socket.write(Buffer.concat(Array.from({ length: count }, () => once)));
    sent += count;
  }, tickMs);
}

function encoded(frame: Flood['frames'][number]): Buffer {
  if (frame === 'pong') return masked('', op.pong);
  if (frame !== 'fragments') return masked(JSON.stringify(frame));
  const whole = masked('{"type":"Ping"}');
  const first = Buffer.from(whole);
  first[0] = op.text;
  const middle = masked('', 0);
  middle[0] = 0;
  const last = masked('', 0);
  return Buffer.concat([first, ...Array.from({ length: fragments - 2 }, () => middle), last]);
}
