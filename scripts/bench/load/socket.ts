import { connect, type Socket } from 'node:net';
import type { Dialect } from './dialect.ts';
import { FrameSplitter, masked, op } from './frames.ts';

const closeFrame = masked(Buffer.from([0x03, 0xe8]), op.close);
const socketioPing = '2'.charCodeAt(0);
const socketioPong = masked('3');
/** All sockets read into the same memory, one after the other. */
const memory = Buffer.allocUnsafe(65_536);

export const counts = { framesSent: 0, framesReceived: 0 };

/** A WebSocket without a library: far cheaper than any server, so that the server is what gets measured. */
export class RawSocket {
  onText: (buffer: Buffer, start: number, end: number) => void = () => {};
  onClose: () => void = () => {};
  readonly #socket: Socket;
  readonly #dialect: Dialect;
  readonly #onOpen: (socket: RawSocket) => void;
  readonly #splitter = new FrameSplitter();
  #state: 'upgrading' | 'greeting' | 'open' = 'upgrading';

  constructor(port: number, dialect: Dialect, onOpen: (socket: RawSocket) => void) {
    this.#dialect = dialect;
    this.#onOpen = onOpen;
    const onread = { buffer: memory, callback: (length: number) => this.#read(memory.subarray(0, length)) };
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
    this.#socket.on('error', (error) => {
      // an ended process must not look like a slow one
      if (this.#state !== 'open') throw error;
    });
    this.#socket.on('close', () => this.onClose());
    this.#socket.write(upgrade(dialect.path, port));
  }

  send(frame: Buffer): void {
    counts.framesSent++;
    this.#socket.write(frame);
  }

  /** Closes with 1000; `onClose` follows when the server has closed too. */
  close(): void {
    this.#socket.write(closeFrame);
  }

  /** Ends as a broken network does, without a close frame. */
  cut(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): boolean {
    if (this.#state !== 'upgrading') {
      this.#splitter.push(chunk, this.#onFrame);
      return true;
    }
    const end = chunk.indexOf('\r\n\r\n');
    if (end < 0 || chunk.toString('latin1', 9, 12) !== '101') throw new Error(`upgrade refused: ${chunk.toString('latin1', 0, 200)}`);
    if (this.#dialect.greeting) this.#state = 'greeting';
    else this.#opened();
    if (chunk.length > end + 4) this.#splitter.push(chunk.subarray(end + 4), this.#onFrame);
    return true;
  }

  #opened(): void {
    this.#state = 'open';
    this.#onOpen(this);
  }

  readonly #onFrame = (opcode: number, buffer: Buffer, start: number, end: number): void => {
    if (opcode === op.text) {
      if (this.#state === 'greeting') this.#greet(buffer.toString('latin1', start, end));
      else if (end - start === 1 && buffer[start] === socketioPing) this.#socket.write(socketioPong);
      else {
        counts.framesReceived++;
        this.onText(buffer, start, end);
      }
    } else if (opcode === op.ping) this.#socket.write(masked(Buffer.from(buffer.subarray(start, end)), op.pong));
  };

  #greet(text: string): void {
    if (text.startsWith('0') && this.#dialect.greeting) this.#socket.write(this.#dialect.greeting);
    if (text.startsWith('40')) this.#opened();
  }
}

const upgrade = (path: string, port: number) =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;

/** Opens so many sockets, a few at a time. */
export async function openSockets(count: number, port: number, dialect: Dialect, atOnce = 32): Promise<RawSocket[]> {
  const sockets: RawSocket[] = [];
  const one = () => new Promise<RawSocket>((done) => new RawSocket(port, dialect, done));
  let left = count;
  const open = async () => {
    while (left-- > 0) sockets.push(await one());
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, open));
  return sockets;
}
