import { masked } from './frames.ts';

/** How a server wants to be spoken to. */
export interface Dialect {
  path: string;
  /** Said once the socket is open; absent: it can be used at once. */
  greeting?: Buffer;
  /** A frame that wants an answer. */
  request(frame: object): Buffer;
  /** A frame that wants none. */
  notice(frame: object): Buffer;
}

const plain = (frame: object) => masked(JSON.stringify(frame));

/** The gateway's, and the bare server's. */
export const plainDialect: Dialect = { path: '/ws', request: plain, notice: plain };

/** socket.io 4 over its WebSocket transport: `42` an event, the number behind it asks for an acknowledgement. */
export const socketioDialect: Dialect = {
  path: '/socket.io/?EIO=4&transport=websocket',
  greeting: masked('40'),
  request: (frame) => masked(`421${JSON.stringify(['m', frame])}`),
  notice: (frame) => masked(`42${JSON.stringify(['m', frame])}`),
};

export const dialects = { plain: plainDialect, socketio: socketioDialect };
export type DialectName = keyof typeof dialects;
