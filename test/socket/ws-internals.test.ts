import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { Writable } from 'node:stream';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Close } from '../../protocol/close.ts';
import { textFrame } from '../../src/socket/frames.ts';
import { endOnlyOnce, listenToFrames } from '../../src/socket/ws-internals.ts';

/** A server of ws alone whose sockets are listened to as the gateway does. */
async function listened(breachAt = Number.POSITIVE_INFINITY, held?: Promise<void>) {
  const frames: [length: number, fragment: number][] = [];
  let stopped = 0;
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, autoPong: false, maxFragments: 1_000 });
  onTestFinished(() => void server.close());
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    listenToFrames(socket, {
      onFrame(length, fragment) {
        frames.push([length, fragment]);
        if (frames.length < breachAt) return undefined;
        const why = Close.RateLimited;
        const close = () => socket.close(why.code, why.reason);
        if (held) return { why, held: held.then(close) };
        close();
        return { why };
      },
      stopReading: () => stopped++,
    });
  });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => client.terminate());
  const [[socket, { socket: raw }]] = await Promise.all([
    once(server, 'connection') as Promise<[WebSocket, IncomingMessage]>,
    once(client, 'open'),
  ]);
  return { client, socket, raw, frames, stopped: () => stopped };
}

test('every frame is heard of once, with its length and which fragment of its message it is', async () => {
  const { client, socket, frames } = await listened();
  const texts: string[] = [];
  socket.on('message', (data) => texts.push(String(data)));
  client.pong();
  client.ping('abc');
  client.send('x'.repeat(300));
  client.send('one', { fin: false });
  client.send('', { fin: false });
  client.pong();
  client.send('three');
  client.send('y'.repeat(70_000));
  await expect.poll(() => texts.map((text) => text.length)).toEqual([300, 8, 70_000]);
  expect(frames).toEqual([
    [0, 0],
    [3, 0],
    [300, 1],
    [3, 1],
    [0, 2],
    [0, 0],
    [5, 3],
    [70_000, 1],
  ]);
});

test('a frame is heard of before its payload has come', async () => {
  const { client, frames } = await listened();
  const { _socket: raw } = client as unknown as { _socket: NodeJS.WritableStream };
  raw.write(Buffer.from([0x81, 0xfe, 0x03, 0xe8]));
  await expect.poll(() => frames).toEqual([[1_000, 1]]);
});

test('after a breach the peer gets code and reason, and nothing more is parsed', async () => {
  const { client, frames, stopped } = await listened(3);
  const closed = once(client, 'close');
  for (let i = 0; i < 1_000; i++) client.pong();
  const [code, reason] = await closed;
  expect([code, String(reason)]).toEqual([4529, 'rate limited']);
  expect(frames).toHaveLength(3);
  expect(stopped()).toBe(1);
});

test('a peer that is held has nothing more parsed, and gets code and reason after it', async () => {
  let letGo = () => {};
  const { client, frames, stopped } = await listened(3, new Promise((done) => (letGo = done)));
  const closed = once(client, 'close');
  for (let i = 0; i < 1_000; i++) client.pong();
  await expect.poll(() => frames.length).toBe(3);
  client.send('more', () => {});
  await new Promise((sent) => client.ping('', undefined, sent));
  expect([frames.length, client.readyState]).toEqual([3, client.OPEN]);
  letGo();
  const [code, reason] = await closed;
  expect([code, String(reason)]).toEqual([4529, 'rate limited']);
  expect(frames).toHaveLength(3);
  expect(stopped()).toBe(1);
});

test('ws ends a socket and its receiver several times, and each of them ends once', async () => {
  const { client, socket, raw } = await listened();
  const { _receiver: receiver } = socket as unknown as { _receiver: Writable };
  const ended = vi.spyOn(Socket.prototype, 'end');
  const receiverEnded = vi.spyOn(Writable.prototype, 'end');
  onTestFinished(() => void vi.restoreAllMocks());
  endOnlyOnce(socket, raw);
  const asked = [vi.spyOn(raw, 'end'), vi.spyOn(receiver, 'end')];
  const closed = [once(socket, 'close'), once(raw, 'close')];
  client.close(1000);
  await Promise.all(closed);
  for (const { mock } of asked) expect(mock.calls.length).toBeGreaterThan(1);
  expect(ended.mock.contexts.filter((one) => one === raw)).toHaveLength(1);
  expect(receiverEnded.mock.contexts.filter((one) => one === receiver)).toHaveLength(1);
});

test('frames that are written past the sender of ws keep their place among those it writes', async () => {
  const { client, socket, raw } = await listened();
  const heard: string[] = [];
  client.on('message', (data) => heard.push(String(data)));
  client.on('ping', (data) => heard.push(`ping ${data}`));
  client.on('close', (code) => heard.push(`close ${code}`));
  for (const i of [1, 2, 3]) {
    raw.write(textFrame(`text ${i}`), 'latin1');
    socket.ping(String(i));
  }
  raw.write(textFrame('last'), 'latin1');
  socket.close(1000);
  await once(client, 'close');
  expect(heard).toEqual(['text 1', 'ping 1', 'text 2', 'ping 2', 'text 3', 'ping 3', 'last', 'close 1000']);
});
