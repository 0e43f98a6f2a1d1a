import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Close, type CloseReason } from '../../protocol/close.ts';
import { listenToFrames } from '../../src/socket/ws-internals.ts';

/** A server of ws alone whose sockets are listened to as the gateway does. */
async function listened(breachAt = Number.POSITIVE_INFINITY) {
  const frames: [length: number, fragment: number][] = [];
  let stopped = 0;
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, autoPong: false, maxFragments: 1_000 });
  onTestFinished(() => void server.close());
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    listenToFrames(socket, {
      onFrame(length, fragment): CloseReason | undefined {
        frames.push([length, fragment]);
        if (frames.length < breachAt) return undefined;
        socket.close(Close.RateLimited.code, Close.RateLimited.reason);
        return Close.RateLimited;
      },
      stopReading: () => stopped++,
    });
  });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => client.terminate());
  const [socket] = await Promise.all([once(server, 'connection').then(([socket]) => socket as WebSocket), once(client, 'open')]);
  return { client, socket, frames, stopped: () => stopped };
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
