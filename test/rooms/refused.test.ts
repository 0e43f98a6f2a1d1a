import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config-load.ts';
import { startGateway } from '../../src/gateway.ts';
import { makeLog } from '../../src/log/log.ts';
import { TestClient } from '../support/client.ts';
import { ManualClock } from '../support/clock.ts';
import { rest } from '../support/http-service.ts';

const tokenOf = (request: IncomingMessage) => (request.headers.authorization ?? '').slice('Bearer '.length);
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

const unauthorized = (why: string) => (request: IncomingMessage, response: ServerResponse) => {
  response.writeHead(401, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ code: 'unauthenticated', msg: `invalid token: ${tokenOf(request)}, error: ${why}` }));
};
const wrongSecret = unauthorized('go-jose/go-jose: error in cryptographic primitive');
const wellDone = (_: IncomingMessage, response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end('{}');

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A gateway on a server that answers every call of the room API as the test says, and its log. */
async function gatewayOn(first: Answer, aheadMs = 0, env: Record<string, string> = {}) {
  const livekit = {
    answer: first,
    /** The claims of the tokens that came. */
    claims: [] as { exp: number; nbf: number }[],
  };
  const server = createServer((request, response) => {
    response.setHeader('date', new Date(Date.now() - aheadMs).toUTCString());
    if (request.method === 'HEAD') return void response.end();
    livekit.claims.push(claimsOf(tokenOf(request)));
    livekit.answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;

  const lines: Record<string, unknown>[] = [];
  const waiting: { match(line: Record<string, unknown>): boolean; take(): void }[] = [];
  const log = makeLog('info', {
    write(text: string) {
      const line = JSON.parse(text) as Record<string, unknown>;
      lines.push(line);
      for (const waiter of waiting) if (waiter.match(line)) waiter.take();
    },
  });
  /** Resolves when such a line has been written. */
  const said = (msg: string) =>
    new Promise<void>((take) => {
      const match = (line: Record<string, unknown>) => line.msg === msg;
      if (lines.some(match)) take();
      else waiting.push({ match, take });
    });
  const serverUrl = `ws://127.0.0.1:${port}`;
  const key = { apiKey: 'key', apiSecret: 'a-secret-of-more-than-thirty-two-characters' };
  const gateway = await startGateway({
    config: loadConfig({ SERVER_PORT: '0', ...env }),
    livekit: { ...key, mode: 'create', serverUrl },
    log,
    clock: new ManualClock(),
  });
  onTestFinished(() => gateway.close());
  return { ...gateway, livekit, said, lines, warned: () => lines.filter(({ level }) => level === 'warn') };
}

const wish = { type: 'NewSessionRequest', user_identity: 'ada', required_services: [] };

test('a LiveKit that refuses the key is plain words for a client, and one line of the log before anybody asked', async () => {
  const { url, said, warned, lines } = await gatewayOn(wrongSecret);
  await said('LiveKit refuses the gateway');
  const client = await TestClient.connect(url);
  for (const room_name of [undefined, 'parlour']) {
    const refused = await client.ask({ ...wish, room_name });
    expect(refused).toMatchObject({ code: 'LIVEKIT_ERROR', message: 'LiveKit refused the request', retryable: false });
    expect(JSON.stringify(refused)).not.toMatch(/eyJ|LIVEKIT_API|127\.0\.0\.1/);
  }
  expect(await rest(`${url}/api/v1/create-session`, 'POST', { user_identity: 'ada', required_services: [] })).toMatchObject({
    status: 502,
    body: { message: 'LiveKit refused the request', retryable: false },
  });
  expect(warned()).toEqual([
    expect.objectContaining({
      msg: 'LiveKit refuses the gateway',
      reason: 'the secret is not the one of this key: check livekit.api_secret',
    }),
  ]);
  expect(warned()[0]).not.toHaveProperty('clock');
  expect(JSON.stringify(lines)).not.toContain('eyJ');
});

const named = { LIVEKIT_URL: 'ws://127.0.0.1:1', LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'secret' };
test.each<[string, Answer, string, string]>([
  ['LiveKit refuses the gateway', unauthorized('invalid API key: key'), 'check LIVEKIT_API_KEY (livekit.api_key)', 'check livekit.api_key'],
  ['LiveKit refuses the gateway', wrongSecret, 'check LIVEKIT_API_SECRET (livekit.api_secret)', 'check livekit.api_secret'],
  ['LiveKit is unreachable', (request) => request.socket.destroy(), 'check LIVEKIT_URL (livekit.server_url)', 'check livekit.server_url'],
])('%s: the log names what is to be checked as whoever set it did', async (msg, answer, byEnv, byPath) => {
  for (const [env, advice] of [
    [named, byEnv],
    [{}, byPath],
  ] as const) {
    const { said, warned } = await gatewayOn(answer, 0, env);
    await said(msg);
    expect(warned()).toEqual([expect.objectContaining({ msg, reason: expect.stringContaining(advice) })]);
  }
});

test.each([
  ['token not valid yet (nbf)', 75, "LiveKit refused the gateway's token as not valid yet: the clocks differ", 'ahead of'],
  ['token is expired (exp)', -7_000, "LiveKit refused the gateway's token as expired: the clocks differ", 'behind'],
])('a clock that differs is named as the reason, and by how much: %s', async (why, aheadS, reason, where) => {
  const { said, warned } = await gatewayOn(unauthorized(`go-jose/go-jose/jwt: validation failed, ${why}`), aheadS * 1_000);
  await said('LiveKit refuses the gateway');
  const [line] = warned();
  expect(line).toMatchObject({ reason, clock: expect.stringMatching(`^this machine's clock is \\d+ s ${where} LiveKit's$`) });
  // a date of HTTP has full seconds, and the answer may take five
  const off = Number(/\d+/.exec(String(line?.clock))?.[0]) - Math.abs(aheadS);
  expect(Math.abs(off)).toBeLessThanOrEqual(6);
});

test.each([302, 307, 308])(
  'a LiveKit that answers %i is not followed: the log names both addresses, the client hears plain words',
  async (status) => {
    let followed = 0;
    const elsewhere = createServer((_, response) => {
      followed += 1;
      wellDone(_, response);
    }).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    onTestFinished(() => void elsewhere.close().closeAllConnections());
    const target = `127.0.0.1:${(elsewhere.address() as AddressInfo).port}/twirp`;
    const { url, said, warned } = await gatewayOn((_, response) =>
      response.writeHead(status, { location: `http://user:password@${target}?token=eyJhbGciOiJIUzI1NiJ9.e30.x` }).end(),
    );
    await said('LiveKit is unreachable');
    const client = await TestClient.connect(url);
    for (const room_name of [undefined, 'parlour']) {
      const refused = await client.ask({ ...wish, room_name });
      expect(refused).toMatchObject({ code: 'LIVEKIT_ERROR', message: 'LiveKit is unreachable', retryable: true });
      expect(JSON.stringify(refused)).not.toMatch(/127\.0\.0\.1|redirect/);
    }
    expect(followed).toBe(0);
    expect(warned()).toEqual([
      expect.objectContaining({
        reason: expect.stringMatching(
          `^LiveKit at 127\\.0\\.0\\.1:\\d+ answered ${status} with another address \\(http://${target}\\), .* check livekit.server_url$`,
        ),
      }),
    ]);
  },
);

test('an outage of LiveKit is one line at its start and one at its end, however many ask meanwhile', async () => {
  const { url, livekit, said, warned, lines } = await gatewayOn(wellDone);
  const client = await TestClient.connect(url);
  livekit.answer = (request) => request.socket.destroy();
  for (let i = 0; i < 5; i++) {
    const refused = await client.ask(wish);
    expect(refused).toMatchObject({ code: 'LIVEKIT_ERROR', message: 'LiveKit is unreachable', retryable: true });
    expect(JSON.stringify(refused)).not.toMatch(/127\.0\.0\.1|LIVEKIT_SERVER/);
  }
  expect(warned()).toEqual([expect.objectContaining({ msg: 'LiveKit is unreachable' })]);
  expect(warned()[0]).not.toHaveProperty('err');
  livekit.answer = wellDone;
  expect(await client.ask(wish)).toMatchObject({ status: 'Ready' });
  await said('LiveKit answers again');
  expect(lines.filter(({ msg }) => msg === 'LiveKit answers again')).toHaveLength(1);
});

test('what LiveKit has against one room is logged with that room, and shown to nobody', async () => {
  const { url, warned } = await gatewayOn((request, response) => {
    const isCreation = request.url?.endsWith('/CreateRoom');
    if (!isCreation) return wellDone(request, response);
    response.writeHead(400, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ code: 'invalid_argument', msg: 'room name length exceeds limits' }));
  });
  const client = await TestClient.connect(url);
  const refused = await client.ask(wish);
  expect(refused).toMatchObject({ code: 'LIVEKIT_ERROR', message: 'LiveKit refused the request', retryable: false });
  expect(warned()).toEqual([
    expect.objectContaining({
      msg: 'room creation failed',
      room: expect.stringMatching(/^room-/),
      reason: 'LiveKit answered 400: room name length exceeds limits',
    }),
  ]);
});

test('the tokens that administer LiveKit live for ten minutes', async () => {
  const { url, livekit } = await gatewayOn(wellDone);
  const client = await TestClient.connect(url);
  await client.ask({ ...wish, room_name: 'parlour' });
  expect(livekit.claims.length).toBeGreaterThan(1);
  for (const { exp, nbf } of livekit.claims) expect(exp - nbf).toBeLessThanOrEqual(601);
});
