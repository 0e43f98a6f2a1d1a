import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Server, ServerResponse } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import type { RawAnswer } from '../src/edge/raw.ts';
import { connectService, TestClient } from './support/client.ts';
import { startGateway } from './support/gateway.ts';
import { raw } from './support/raw.ts';

type Counts = Record<number, number>;
const count = (counts: Counts, key: number) => {
  counts[key] = (counts[key] ?? 0) + 1;
};

/** A gateway for one socket, and what a program around it counts: sockets by close code, HTTP answers by status. */
async function counted() {
  const closes: Counts = {};
  const answers: Counts = {};
  const gateway = await startGateway({ server: { port: 0, drain_s: 2, max_connections: 1 } }, undefined, {
    onClosed: (code) => count(closes, code),
  });
  const port = Number(new URL(gateway.url).port);
  const onFinish = (message: unknown) => {
    const { server, response } = message as { server: Server; response: ServerResponse };
    if ((server.address() as { port: number } | null)?.port === port) count(answers, response.statusCode);
  };
  const onRaw = (message: unknown) => {
    const { socket, status } = message as RawAnswer;
    if (socket.localPort === port) count(answers, status);
  };
  subscribe('http.server.response.finish', onFinish);
  subscribe('session-gateway.raw-answer', onRaw);
  onTestFinished(() => {
    unsubscribe('http.server.response.finish', onFinish);
    unsubscribe('session-gateway.raw-answer', onRaw);
  });
  return { ...gateway, closes, answers };
}

type Opened = Awaited<ReturnType<typeof counted>> & { client: TestClient };

test.each<[number, string, (opened: Opened) => unknown]>([
  [1000, 'the peer closes', ({ client }) => client.ws.close(1000)],
  [1005, 'the peer closes without a code', ({ client }) => client.ws.close()],
  [1006, 'the connection breaks', ({ client }) => client.ws.terminate()],
  [1009, 'a frame is too large', ({ client }) => client.send('x'.repeat(65_537))],
  [4400, 'a frame is not JSON', ({ client }) => client.send('{')],
  [4452, 'the gateway stops', ({ close }) => close()],
])('a socket is counted once with %i where %s', async (code, _, end) => {
  const gateway = await counted();
  const client = await TestClient.connect(gateway.url);
  await end({ ...gateway, client });
  await client.closed;
  await expect.poll(() => gateway.closes).not.toEqual({});
  await gateway.close();
  expect(gateway.closes).toEqual({ [code]: 1 });
});

test('a socket above the limit is counted once with 4503', async () => {
  const gateway = await counted();
  await connectService(gateway.url, 'asr');
  const second = await TestClient.connect(gateway.url);
  expect((await second.closed).code).toBe(4503);
  await expect.poll(() => gateway.closes).toEqual({ 4503: 1 });
  await gateway.close();
  expect(gateway.closes).toEqual({ 4503: 1, 4452: 1 });
});

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${more}\r\n`;
const upgrade = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;

test.each([
  [200, 'a request', get('/health')],
  [400, 'what is no HTTP', 'x\r\n\r\n'],
  [400, 'a request that cannot be read', get('/api/v1/sessions?limit=x')],
  [404, 'a path without a route', get('/nothing')],
  [404, 'a path where no sockets are opened', upgrade('/nothing')],
  [405, 'a method that the path does not take', get('/health').replace('GET', 'DELETE')],
])('an answer is counted once with %i to %s', async (status, _, sent) => {
  const { url, answers } = await counted();
  expect((await raw(url, sent)).map((answer) => answer.status)).toEqual([status]);
  await expect.poll(() => answers).not.toEqual({});
  expect(answers).toEqual({ [status]: 1 });
});
