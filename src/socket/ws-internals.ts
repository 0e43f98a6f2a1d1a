import type { Duplex, Writable } from 'node:stream';
import * as ws from 'ws';
import type { CloseReason } from '../../protocol/close.ts';

// Everything that the gateway knows of the insides of ws stands here. It has no event for a fragment, a frame that is still on its way or a
// pong nobody asked for: they cost time and are paid for like any other frame. test/socket/ws-internals.test.ts fails where a release moves these.

/** Why a socket is closed. Its close frame has been written, or where it is held first, will have been when that is over. */
export interface Breach {
  why: CloseReason;
  held?: Promise<void>;
}

/** Hears of every frame of a socket when its head has been read, before its payload is waited for. */
export interface FrameListener {
  /**
   * @param length of the payload
   * @param fragment which one of its message this is, from 1 on; 0: a ping, pong or close
   * @returns undefined: go on; else nothing more of it is read
   */
  onFrame(length: number, fragment: number): Breach | undefined;
  /** The rest of what its peer sends is not wanted. */
  stopReading(): void;
}

interface Receiver extends Writable {
  _opcode: number;
  _payloadLength: number;
  _numFragments: number;
  haveLength(cb: (error: Error) => void): void;
  createError(Class: new (text: string) => Error, text: string, prefix: boolean, closeCode: number, code: string): Error;
  frames?: FrameListener;
}

// not in @types/ws
const { haveLength: goOn } = (ws as unknown as { Receiver: { prototype: Receiver } }).Receiver.prototype;

const receiverOf = (socket: ws.WebSocket) => (socket as unknown as { _receiver: Receiver })._receiver;

/** Lets `frames` hear of every frame of a socket. The functions are the same for all sockets: each holds only its listener. */
export function listenToFrames(socket: ws.WebSocket, frames: FrameListener): void {
  const receiver = receiverOf(socket);
  receiver.frames = frames;
  receiver.haveLength = haveLength;
}

const firstControl = 8;

/** ws calls it once for each frame, when it knows how long it is. */
function haveLength(this: Receiver, cb: (error: Error) => void): void {
  const breach = this.frames?.onFrame(this._payloadLength, this._opcode < firstControl ? this._numFragments + 1 : 0);
  if (breach === undefined) return goOn.call(this, cb);
  // as ws ends what breaks the protocol: nothing more is parsed
  const { code, reason } = breach.why;
  const error = this.createError(RangeError, reason, false, code, 'LIMIT_EXCEEDED');
  const end = () => {
    if (this.destroyed) return;
    cb(error);
    // ws would read on until the peer closes, and drop what it reads: a flood is left to fill the buffers of its sender
    setImmediate(() => this.frames?.stopReading());
  };
  if (breach.held) void breach.held.then(end);
  else end();
}

/**
 * Lets ws end a socket and its receiver once each. It ends what has ended already once or twice, and each time Node makes an error, with its
 * stack, that nobody sees: a tenth of what a short socket costs.
 */
export function endOnlyOnce(socket: ws.WebSocket, connection: Duplex): void {
  receiverOf(socket).end = endOnce;
  connection.end = endOnce;
}

function endOnce<T extends Writable>(this: T, ...given: []): T {
  return this.writableEnded ? this : Object.getPrototypeOf(this).end.apply(this, given);
}
