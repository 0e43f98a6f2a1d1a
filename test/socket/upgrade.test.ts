import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import WebSocket, { type ClientOptions } from 'ws';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

/** What the gateway answered instead of the upgrade. */
async function refusal(
  url: string,
  { path = '/ws', protocols = [] as string[], ...options }: ClientOptions & { path?: string; protocols?: string[] } = {},
) {
  const ws = new WebSocket(`${url.replace(/^http/, 'ws')}${path}`, protocols, options);
  ws.on('error', () => {});
  const [, response] = (await once(ws, 'unexpected-response')) as [unknown, IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body: body.trim() };
}

test('the subprotocol adds Hello, with the limits that hold', async () => {
  const { url } = await startGateway({ limits: { frame_bytes: 2_048 } });
  const client = await TestClient.connect(url, ['something-else', 'session-gateway.v1']);
  expect(client.ws.protocol).toBe('session-gateway.v1');
  expect(await client.next('Hello')).toMatchObject({
    protocol: 1,
    auth: 'none',
    heartbeat: { interval_ms: 25_000, timeout_ms: 10_000 },
    limits: { max_frame_bytes: 2_048, max_depth: 16 },
  });
  expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] })).toMatchObject({ status: 'Ready' });
});

test('a client that offers only unknown subprotocols gets 400', async () => {
  const { url } = await startGateway();
  expect(await refusal(url, { protocols: ['graphql-ws'] })).toEqual({ status: 400, body: 'the only subprotocol is session-gateway.v1' });
});

test('another path is 404', async () => {
  const { url } = await startGateway();
  expect(await refusal(url, { path: '/socket' })).toMatchObject({ status: 404 });
});

test.each(['http://localhost:5173', 'https://127.0.0.1', 'http://[::1]:3000'])(
  'a gateway on loopback takes the page %s',
  async (origin) => {
    const { url } = await startGateway();
    await (await TestClient.connect(url, [], { origin })).caughtUp();
  },
);

test.each(['https://example.org', 'http://localhost.example.org', 'http://127.0.0.1.example.org:80', 'null', 'file://'])(
  'the page %s is refused',
  async (origin) => {
    const { url } = await startGateway();
    expect(await refusal(url, { origin })).toMatchObject({ status: 403, body: expect.stringContaining('server.allowed_origins') });
    const response = await fetch(`${url}/api/v1/stats`, { headers: { origin } });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ error: 'Forbidden', code: 'FORBIDDEN' });
  },
);

test('allowed_origins lets a page in', async () => {
  const { url } = await startGateway({ server: { port: 0, allowed_origins: 'https://example.org, https://example.net' } });
  await (await TestClient.connect(url, [], { origin: 'https://example.net' })).caughtUp();
});

const ownAddress = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === 'IPv4' && !address.internal)?.address;

test.runIf(ownAddress !== undefined)('a gateway on every address without AUTH_MODE serves only this machine by loopback', async () => {
  const { url } = await startGateway({ server: { host: '0.0.0.0', port: 0 } });
  const { port } = new URL(url);
  await (await TestClient.connect(`http://127.0.0.1:${port}`)).caughtUp();
  expect(await refusal(`http://${ownAddress}:${port}`)).toMatchObject({ status: 403, body: expect.stringContaining('AUTH_MODE') });
  const response = await fetch(`http://${ownAddress}:${port}/api/v1/stats`);
  expect(response.status).toBe(403);
});

test.runIf(ownAddress !== undefined)('AUTH_MODE=none written out opens it', async () => {
  const { url } = await startGateway({ server: { host: '0.0.0.0', port: 0 }, auth: { mode: 'none' } });
  await (await TestClient.connect(`http://${ownAddress}:${new URL(url).port}`)).caughtUp();
});

test('a gateway on loopback is not asked for by a name that somebody else may have pointed at it', async () => {
  const { url } = await startGateway({ server: { port: 0, allowed_origins: 'https://gateway.example:8443' } });
  expect(await refusal(url, { headers: { host: 'evil.example:8080' } })).toMatchObject({
    status: 403,
    body: expect.stringContaining('evil.example'),
  });
  const status = (host: string) =>
    new Promise((done, fail) =>
      request(`${url}/api/v1/stats`, { headers: { host } }, (response) => done(response.resume().statusCode))
        .on('error', fail)
        .end(),
    );
  expect(await status('evil.example')).toBe(403);
  for (const host of ['localhost:1', '127.0.0.1', '[::1]:8080', 'gateway.example:8443']) expect(await status(host), host).toBe(200);
});
