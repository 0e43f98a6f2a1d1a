import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import WebSocket from 'ws';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { keptLog } from '../support/log.ts';

/** Asks for a socket and is refused. */
const refused = (url: string, path: string, headers: Record<string, string> = {}) =>
  new Promise<number | undefined>((done) => {
    const ws = new WebSocket(url.replace(/^http/, 'ws') + path, { headers });
    ws.on('error', () => {});
    ws.on('unexpected-response', (request, { statusCode }) => {
      done(statusCode);
      request.destroy();
    });
  });

test('a page that may not connect is in the log, over the socket and over REST, without its query', async () => {
  const { log, said } = keptLog();
  const { url } = await startGateway({}, log);
  const origin = 'http://192.168.1.7:3000';
  expect(await refused(url, '/ws?token=hidden', { origin })).toBe(403);
  expect(said('socket refused')).toEqual([
    expect.objectContaining({ level: 'warn', path: '/ws', origin, status: 403, message: expect.stringContaining(origin) }),
  ]);
  expect((await fetch(`${url}/api/v1/sessions?token=hidden`, { headers: { origin } })).status).toBe(403);
  expect(said('request refused')).toEqual([
    expect.objectContaining({ path: '/api/v1/sessions', origin, code: 'FORBIDDEN', message: expect.stringContaining(origin) }),
  ]);
});

test('a socket asked for elsewhere than at /ws is in the log', async () => {
  const { log, said } = keptLog();
  const { url } = await startGateway({}, log);
  expect(await refused(url, '/socket')).toBe(404);
  expect(said('socket refused')).toEqual([expect.objectContaining({ level: 'info', path: '/socket', status: 404 })]);
});

test('a refused REST request is in the log with path, code and message', async () => {
  const { log, said } = keptLog();
  const { url } = await startGateway({}, log);
  await fetch(`${url}/api/v1/sessions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"user_identity":7}' });
  await fetch(`${url}/nothing`);
  expect(said('request refused')).toEqual([
    expect.objectContaining({ level: 'info', method: 'POST', path: '/api/v1/sessions', status: 400, code: 'VALIDATION_FAILED' }),
    expect.objectContaining({ level: 'info', method: 'GET', path: '/nothing', status: 404, code: 'NOT_FOUND' }),
  ]);
  expect(said('request refused')[0]?.message).toContain('user_identity');
});

test('a refused frame is in the log, ten a second and then how many more', async () => {
  const { log, lines, said } = keptLog();
  const { url, clock } = await startGateway({}, log);
  const client = await TestClient.connect(url);
  for (let i = 0; i < 15; i++) await client.ask({ type: 'GetSessionRequest', session_id: 'nobody' });
  expect(said('frame refused')).toHaveLength(10);
  expect(said('frame refused')[0]).toMatchObject({ level: 'info', code: 'SESSION_NOT_FOUND', message: 'Session not found: nobody' });
  await clock.advance(1_000);
  expect(lines.at(-1)).toMatchObject({ level: 'info', more: 5, msg: 'frame refused: and 5 more' });
  await client.ask({ type: 'GetSessionRequest', session_id: 'nobody' });
  expect(said('frame refused')).toHaveLength(11);
});

test('what more there was is said when the gateway stops', async () => {
  const { log, said } = keptLog();
  const { url, close } = await startGateway({}, log);
  const client = await TestClient.connect(url);
  for (let i = 0; i < 15; i++) await client.ask({ type: 'GetSessionRequest', session_id: 'nobody' });
  await close();
  expect(said('frame refused: and 5 more')).toHaveLength(1);
});

test('every session has its lines, however many begin at once', async () => {
  const { log, said } = keptLog();
  const { url } = await startGateway({}, log);
  const client = await TestClient.connect(url);
  const ask = (i: number) => client.ask({ type: 'NewSessionRequest', user_identity: `u${i}`, room: false });
  const others = await Promise.all(Array.from({ length: 20 }, () => TestClient.connect(url)));
  await ask(0);
  await Promise.all(others.map((other, i) => other.ask({ type: 'NewSessionRequest', user_identity: `v${i}`, room: false })));
  expect(said('session created')).toHaveLength(21);
});

test('sockets that break the protocol are in the log, limited as well', async () => {
  const { log, said } = keptLog();
  const { url, holds } = await startGateway({}, log);
  const { hostname, port } = new URL(url);
  const upgrade = 'GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';
  for (let i = 0; i < 15; i++) {
    const socket = connect(Number(port), hostname);
    // a text frame that is not masked
    socket.write(`${upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
    socket.write(Buffer.from([0x81, 0x01, 0x41]));
    await text(socket);
  }
  await expect.poll(() => holds().sockets).toBe(0);
  expect(said('socket broke the protocol')).toHaveLength(10);
});

test('a held id that is registered again and again counts as refused, and the log is limited', async () => {
  const { log, lines } = keptLog();
  const { url } = await startGateway({}, log);
  await connectService(url, 'asr');
  const other = await TestClient.connect(url);
  for (let i = 0; i < 20; i++) other.send({ type: 'RegisterServiceRequest', service_id: 'asr' });
  expect(await other.closed).toEqual({ code: 4413, reason: 'too many refused frames' });
  expect(other.all.filter(({ code }) => code === 'SERVICE_ID_EXISTS')).toHaveLength(20);
  expect(lines.filter(({ level, msg }) => level === 'warn' && msg.startsWith('service id is held'))).toHaveLength(10);
});

test('each fault of the gateway has an error_id of its own, which its line in the log names', async () => {
  registerStoreProvider('faulty', async () => {
    const listSessions = async () => {
      throw new TypeError('a fault');
    };
    return { ...memoryStore(), listSessions };
  });
  const { log, lines } = keptLog();
  const { url } = await startGateway({ storage: { url: 'faulty:' } }, log);
  const client = await TestClient.connect(url);
  const answers = [
    await client.ask({ type: 'ListSessionsRequest' }),
    await client.ask({ type: 'ListSessionsRequest' }),
    (await rest(`${url}/api/v1/sessions`)).body,
  ];
  expect(answers).toMatchObject(Array(3).fill({ code: 'INTERNAL', message: 'Internal error', retryable: expect.any(Boolean) }));
  const ids = answers.map(({ details }) => details.error_id);
  expect(new Set(ids).size).toBe(3);
  const named = lines.filter(({ error_id }) => error_id !== undefined);
  expect(named.map(({ error_id }) => error_id)).toEqual(ids);
  expect(named).toMatchObject(Array(3).fill({ level: 'error', err: { message: 'a fault' } }));
});

test('a registration is one line', async () => {
  const { log, lines } = keptLog();
  const { url } = await startGateway({}, log);
  await connectService(url, 'asr');
  expect(lines.filter(({ service_id }) => service_id === 'asr')).toEqual([
    expect.objectContaining({ level: 'info', msg: 'service registered' }),
  ]);
});
