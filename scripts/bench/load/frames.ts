/** Opcodes of WebSocket frames. */
export const op = { text: 1, close: 8, ping: 9, pong: 10 } as const;

/** A client's frame, ready to be written as often as needed. Its mask is zero: the server unmasks anyway, and nothing is masked here. */
export function masked(payload: string | Buffer, opcode: number = op.text): Buffer {
  const length = Buffer.byteLength(payload);
  const extra = length < 126 ? 0 : 2;
  const frame = Buffer.alloc(2 + extra + 4 + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (extra ? 126 : length);
  if (extra) frame.writeUInt16BE(length, 2);
  if (typeof payload === 'string') frame.write(payload, 6 + extra);
  else payload.copy(frame, 6 + extra);
  return frame;
}

/** Called with each frame; its payload lies in `buffer` from `start` to `end`, for as long as the call lasts. */
export type OnFrame = (opcode: number, buffer: Buffer, start: number, end: number) => void;

/** Finds the server's frames, which are neither masked nor in parts, in what arrives. */
export class FrameSplitter {
  #rest: Buffer | undefined;

  push(chunk: Buffer, onFrame: OnFrame): void {
    const buffer = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (buffer.length - at >= 2) {
      const short = (buffer[at + 1] as number) & 0x7f;
      const header = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (buffer.length - at < header) break;
      const length = short < 126 ? short : short === 126 ? buffer.readUInt16BE(at + 2) : buffer.readUInt32BE(at + 6);
      const end = at + header + length;
      if (buffer.length < end) break;
      onFrame((buffer[at] as number) & 0x0f, buffer, at + header, end);
      at = end;
    }
    // a copy: the chunk's memory is used again for the next one
    this.#rest = at < buffer.length ? Buffer.from(buffer.subarray(at)) : undefined;
  }
}
