import type { Dialect } from './dialect.ts';
import type { RawSocket } from './socket.ts';

/** What a load is started with. */
export interface Order {
  port: number;
  dialect: Dialect;
  /** Sockets, sessions or places at once, as the work understands it. */
  size: number;
}

/** Work in a closed loop. */
export interface Load {
  /** Units done so far. */
  readonly units: number;
  run(): void;
  /** @returns when what was under way is done */
  pause(): Promise<void>;
}

/** Opens what stays open for the work. */
export type Work = (order: Order) => Promise<Load>;

/** The wire type of a frame, of whatever dialect: it stands near the beginning. */
export function typeOf(buffer: Buffer, start: number, end: number): string {
  const head = buffer.toString('latin1', start, Math.min(end, start + 72));
  const from = head.indexOf('"type":"') + 8;
  return head.slice(from, head.indexOf('"', from));
}

/** The value of a text field, which the frame must have. */
export function fieldOf(name: string, buffer: Buffer, start: number): string {
  const from = buffer.indexOf(`"${name}":"`, start, 'latin1') + name.length + 4;
  return buffer.toString('latin1', from, buffer.indexOf('"', from, 'latin1'));
}

/** The gateway refused something: nothing measured after that would mean anything. */
export function refused(buffer: Buffer, start: number, end: number): never {
  throw new Error(`not what the load waits for: ${buffer.toString('latin1', start, Math.min(end, start + 500))}`);
}

/** Sends a request and waits for the frame of this type; what comes before it does not matter. @returns the frame */
export const ask = (socket: RawSocket, frame: Buffer, answer: string) =>
  new Promise<string>((done) => {
    socket.onText = (buffer, start, end) => {
      const type = typeOf(buffer, start, end);
      if (type === 'Error') refused(buffer, start, end);
      if (type === answer) done(buffer.toString('latin1', start, end));
    };
    socket.send(frame);
  });
