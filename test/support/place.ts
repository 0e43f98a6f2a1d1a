export type Place = 'in the upgrade' | 'between frames' | 'in a frame head' | 'in a payload';

/** Reads one direction of a WebSocket connection, and says where in it the last byte was. */
export class PlaceReader {
  #upgrade = '';
  #upgraded = false;
  #head: number[] = [];
  #headBytes = 2;
  #payload = 0;

  get place(): Place {
    if (!this.#upgraded) return 'in the upgrade';
    if (this.#head.length > 0) return 'in a frame head';
    return this.#payload > 0 ? 'in a payload' : 'between frames';
  }

  read(data: Buffer): void {
    for (let at = 0; at < data.length; ) at = this.#upgraded ? this.#frame(data, at) : this.#http(data, at);
  }

  #http(data: Buffer, at: number): number {
    const before = this.#upgrade.length;
    this.#upgrade += data.toString('latin1', at);
    const end = this.#upgrade.indexOf('\r\n\r\n');
    if (end < 0) return data.length;
    this.#upgraded = true;
    return at + end + 4 - before;
  }

  #frame(data: Buffer, at: number): number {
    if (this.#payload > 0) {
      const taken = Math.min(this.#payload, data.length - at);
      this.#payload -= taken;
      return at + taken;
    }
    this.#head.push(data[at] ?? 0);
    if (this.#head.length === 2) this.#headBytes = headBytes(this.#head[1] ?? 0);
    if (this.#head.length === this.#headBytes) {
      this.#payload = payloadBytes(Buffer.from(this.#head));
      this.#head = [];
      this.#headBytes = 2;
    }
    return at + 1;
  }
}

const headBytes = (second: number) => {
  const length = second & 0x7f;
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (second & 0x80 ? 4 : 0);
};

const payloadBytes = (head: Buffer) => {
  const length = (head[1] ?? 0) & 0x7f;
  return length === 126 ? head.readUInt16BE(2) : length === 127 ? Number(head.readBigUInt64BE(2)) : length;
};
