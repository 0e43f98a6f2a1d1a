import { expect, test } from 'vitest';
import { FrameSplitter, masked, op } from '../../scripts/bench/load/frames.ts';

/** A frame as a server sends it. */
function unmasked(text: string, opcode: number = op.text): Buffer {
  const length = Buffer.byteLength(text);
  const head = [0x80 | opcode];
  if (length < 126) head.push(length);
  else if (length < 65_536) head.push(126, length >> 8, length & 0xff);
  else head.push(127, 0, 0, 0, 0, (length >> 24) & 0xff, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff);
  return Buffer.concat([Buffer.from(head), Buffer.from(text)]);
}

test('frames are found however they are cut, and keep nothing of the memory they were read into', () => {
  const texts = ['', 'short', 'x'.repeat(125), 'y'.repeat(126), 'z'.repeat(66_000), 'last'];
  const bytes = Buffer.concat([unmasked('', op.ping), ...texts.map((text) => unmasked(text))]);
  // byte by byte the long one would be copied 70,000 times
  for (const size of [3, 128, 1_000, 65_536, bytes.length]) {
    const splitter = new FrameSplitter();
    const found: string[] = [];
    const memory = Buffer.alloc(size);
    for (let at = 0; at < bytes.length; at += size) {
      const length = bytes.copy(memory, 0, at, at + size);
      splitter.push(memory.subarray(0, length), (opcode, buffer, start, end) => {
        if (opcode === op.text) found.push(buffer.toString('latin1', start, end));
      });
      memory.fill(0);
    }
    expect(found, `read ${size} at a time`).toEqual(texts);
  }
});

test('a masked frame carries its text as it is', () => {
  const frame = masked('{"type":"Ping"}');
  expect([...frame.subarray(0, 6)]).toEqual([0x81, 0x80 | 15, 0, 0, 0, 0]);
  expect(frame.subarray(6).toString()).toBe('{"type":"Ping"}');
  const long = masked('x'.repeat(300));
  expect([...long.subarray(0, 8)]).toEqual([0x81, 0x80 | 126, 1, 44, 0, 0, 0, 0]);
  expect(long.length).toBe(308);
});
