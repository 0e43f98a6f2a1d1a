import { once } from 'node:events';
import { connect } from 'node:net';
import { EventEmitter } from 'node:stream';
import { expect, test } from 'vitest';
import { everybody } from '../../src/auth/none.ts';
import { type ConnectedSocket, Connection, type ConnectionParts, type SocketLimits } from '../../src/socket/connection.ts';
import { textFrame } from '../../src/socket/frames.ts';
import { startGateway } from '../support/gateway.ts';

const upgrade = [
  'GET /ws HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n');
/** A frame of a client, masked with zeros. */
const frame = (opcode: number, payload: string | Buffer) =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), Buffer.from(payload)]);

test.each([
  ['the close frame of its peer', frame(8, Buffer.from([3, 232]))],
  ['a frame that breaks the protocol', Buffer.from([0xff, 0xff])],
])('an answer is sent although %s comes right behind the request', async (_, behind) => {
  const { url } = await startGateway();
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(upgrade);
  await once(socket, 'data');
  let got = '';
  socket.on('data', (data) => {
    got += data.toString('latin1');
  });
  socket.write(Buffer.concat([frame(1, '{"type":"Ping","t":1}'), behind]));
  await once(socket, 'close');
  expect(got).toContain('"type":"Pong"');
});

/** A connection over a socket that takes bytes and says when they are gone only as the test wants. */
function stuckConnection() {
  const callbacks: (() => void)[] = [];
  const socket = {
    writableLength: 0,
    bytesWritten: 0,
    write(text: string, _: string, done?: () => void) {
      this.writableLength += text.length;
      if (done) callbacks.push(done);
    },
  };
  const ws = Object.assign(new EventEmitter(), { OPEN: 1, readyState: 1, ping() {} });
  Object.defineProperty(ws, 'bufferedAmount', { get: () => socket.writableLength });
  const waiting: { flush(): void }[] = [];
  const limits = {
    maxBufferedBytes: 1_000,
    slowReaderMs: 1e9,
    firstFrameMs: 1e9,
    clientPingMs: 1e9,
    servicePingMs: 1e9,
    pongTimeoutMs: 1e9,
  };
  const parts = {
    limits: limits as SocketLimits,
    turn: { willWrite() {}, add: (one: { flush(): void }) => waiting.push(one) },
    clock: { now: () => 0 },
    watchedMs: () => 0,
  };
  const connection = new Connection(ws as unknown as ConnectedSocket, socket as never, parts as unknown as ConnectionParts, everybody);
  let woken = 0;
  connection.follow({ start() {}, wake: () => (woken += 1), stop() {} });
  const endTurn = () => {
    for (const one of waiting.splice(0)) one.flush();
  };
  return { connection, socket, callbacks, endTurn, woken: () => woken };
}

test('a cursor that was refused for want of room is woken, though the socket was emptied before the turn ended', () => {
  const { connection, socket, callbacks, endTurn, woken } = stuckConnection();
  connection.send({ a: 'x'.repeat(900) });
  endTurn();
  connection.send({ a: 'y'.repeat(200) });
  expect(connection.writable).toBe(false);
  socket.writableLength = 0;
  endTurn();
  socket.writableLength = 0;
  for (const done of callbacks) done();
  expect(woken()).toBe(1);
});

test('a cursor that was refused for want of room is woken, though what filled the socket were pings', () => {
  const { connection, socket, woken } = stuckConnection();
  socket.writableLength = 2_000;
  expect(connection.writable).toBe(false);
  connection.check(1_000, 1_000);
  expect(woken()).toBe(0);
  socket.writableLength = 0;
  connection.check(2_000, 2_000);
  expect(woken()).toBe(1);
  connection.check(3_000, 3_000);
  expect(woken()).toBe(1);
});

test.each([0, 1, 125, 126, 127, 65_535, 65_536, 100_000])('a frame of %i bytes says its length as RFC 6455 has it', (length) => {
  const bytes = Buffer.from(textFrame('a'.repeat(length)), 'latin1');
  const short = (bytes[1] ?? 0) & 0x7f;
  const [head, said] = short < 126 ? [2, short] : short === 126 ? [4, bytes.readUInt16BE(2)] : [10, Number(bytes.readBigUInt64BE(2))];
  expect([bytes[0], said, bytes.length]).toEqual([0x81, length, head + length]);
});

test('a frame holds its text in UTF-8', () => {
  const text = 'é 你好 💡 \u0000';
  expect(Buffer.from(textFrame(text), 'latin1').subarray(2).toString()).toBe(text);
});
