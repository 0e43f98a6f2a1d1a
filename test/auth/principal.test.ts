import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import WebSocket from 'ws';
import type { Admitted, Grant, Principal } from '../../src/auth/principal.ts';
import { TestClient } from '../support/client.ts';
import { startGateway as start } from '../support/gateway.ts';

/** A gateway whose peers are all this one. */
const gatewayFor = (principal: Principal) => start({}, undefined, { authenticate: () => ({ principal }) });

async function call(url: string, method: string, path: string, body?: object) {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    body: (await response.json()) as { code?: string; message?: string; items?: object[]; session_id?: string },
  };
}

const grant: Grant = { name: 'test', scopes: new Set() };
const person = (id: string): Principal => ({ kind: 'user', id, user: id, subject: `user:${id}`, grant });

test('a service may not open a session on a socket, nor a user register a service', async () => {
  const service = await TestClient.connect((await gatewayFor({ kind: 'service', id: 'asr', subject: 'key:asr', grant })).url);
  expect(await service.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({ type: 'Error', code: 'FORBIDDEN' });
  expect(await service.ask({ type: 'RegisterServiceRequest', service_id: 'asr' })).toMatchObject({ success: true });
  const client = await TestClient.connect((await gatewayFor(person('ada'))).url);
  expect(await client.ask({ type: 'RegisterServiceRequest', service_id: 'asr' })).toMatchObject({ type: 'Error', code: 'FORBIDDEN' });
});

describe('who speaks for one user', () => {
  const ada = person('ada');

  test('may name no other, on either side', async () => {
    const { url } = await gatewayFor(ada);
    const client = await TestClient.connect(url);
    expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'bob' })).toMatchObject({ type: 'Error', code: 'FORBIDDEN' });
    expect(await call(url, 'POST', '/api/v1/create-session', { user_identity: 'bob' })).toMatchObject({ status: 403 });
    expect(await call(url, 'POST', '/livekit/token', { participant_identity: 'bob' })).toMatchObject({ status: 403 });
    expect(await call(url, 'GET', '/api/v1/sessions?user_identity=bob')).toMatchObject({ status: 403 });
  });

  test('sees only its own sessions where it names nobody', async () => {
    let principal = person('bob');
    const { url } = await start({}, undefined, { authenticate: () => ({ principal }) });
    const bobs = await call(url, 'POST', '/api/v1/create-session', { user_identity: 'bob', required_services: [] });
    principal = ada;
    const own = await call(url, 'POST', '/api/v1/create-session', { user_identity: 'ada', required_services: [] });
    const { body } = await call(url, 'GET', '/api/v1/sessions');
    expect(body.items).toMatchObject([{ session_id: own.body.session_id, owner_id: 'ada' }]);
    const client = await TestClient.connect(url);
    expect((await client.ask({ type: 'ListSessionsRequest' })).items).toHaveLength(1);
    expect(await call(url, 'GET', `/api/v1/sessions/${bobs.body.session_id}`)).toMatchObject({ status: 404 });
    expect(await client.ask({ type: 'GetSessionRequest', session_id: bobs.body.session_id })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  });

  test('owns a session without a user, and has idempotency keys of its own', async () => {
    let principal = ada;
    const root = mkdtempSync(join(realpathSync(tmpdir()), 'workspace-'));
    onTestFinished(() => rmSync(root, { recursive: true }));
    for (const user of ['ada', 'bob']) mkdirSync(join(root, user));
    const { url } = await start({ workspace: { roots: [join(root, '{user}')] } }, undefined, { authenticate: () => ({ principal }) });
    const wish = { type: 'NewSessionRequest', workspace_dir: join(root, 'ada'), idempotency_key: 'k' };
    const adas = await (await TestClient.connect(url)).ask(wish);
    principal = person('bob');
    const bobs = await (await TestClient.connect(url)).ask({ ...wish, workspace_dir: join(root, 'bob') });
    expect(bobs).toMatchObject({ type: 'NewSessionResponse', replayed: false });
    expect(await call(url, 'GET', `/api/v1/sessions/${bobs.session_id}`)).toMatchObject({ status: 200, body: { owner_id: 'bob' } });
    expect(await call(url, 'GET', `/api/v1/sessions/${adas.session_id}`)).toMatchObject({ status: 404 });
  });
});

describe('who does not say who it is', () => {
  const refused: Admitted = {
    refused: { code: 'UNAUTHENTICATED', message: 'say who you are', challenge: 'Bearer', fault: 'invalid', by: 'header', level: 'info' },
  };
  // a mode that has to ask somebody
  const gateway = () => start({}, undefined, { authenticate: () => new Promise((done) => setImmediate(done, refused)) });

  test('gets 401 for a call and for a socket', async () => {
    const { url } = await gateway();
    expect(await call(url, 'GET', '/api/v1/sessions')).toMatchObject({ status: 401, body: { code: 'UNAUTHENTICATED' } });
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`);
    ws.on('error', () => {});
    const [, response] = (await once(ws, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(401);
    response.destroy();
  });

  test('may ask whether the gateway is there, and learns no more', async () => {
    const { url } = await gateway();
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect(await (await fetch(`${url}/ready`)).json()).toEqual({ ready: true, draining: false });
  });

  test('may ask whether a page may call: a browser asks before it says who calls', async () => {
    const { url } = await gateway();
    const headers = { origin: 'http://localhost:3000' };
    const preflight = await fetch(`${url}/api/v1/sessions`, { method: 'OPTIONS', headers });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, headers.origin]);
    expect((await fetch(`${url}/api/v1/sessions`, { headers })).headers.get('access-control-allow-origin')).toBe(headers.origin);
  });

  test('is LiveKit, whose webhooks are signed', async () => {
    const { url } = await gateway();
    const response = await fetch(`${url}/livekit/webhook`, { method: 'POST', body: '{}' });
    expect(((await response.json()) as { message: string }).message).toContain('not signed');
  });
});

test('a socket is accepted when it is known later who it is', async () => {
  const { url } = await start({}, undefined, {
    authenticate: () => new Promise((done) => setImmediate(done, { principal: person('ada') })),
  });
  expect(await (await TestClient.connect(url)).ask({ type: 'Ping' })).toMatchObject({ type: 'Pong' });
});

test('whose services have a prefix may act for no other service, on either side', async () => {
  const { url } = await gatewayFor({ kind: 'service', id: 'acme', subject: 'key:acme', grant: { ...grant, servicePrefix: 'acme-' } });
  const refused = { code: 'FORBIDDEN', message: 'service_id: must start with acme-' };
  const wish = { endpoint: 'http://127.0.0.1:9/', service_id: 'asr' };
  const session_id = 'none';
  for (const [method, path, sent] of [
    ['POST', '/api/v1/microservices/register', wish],
    ['DELETE', '/api/v1/microservices/asr', undefined],
    ['POST', '/api/v1/microservices/asr/drain', undefined],
    ['POST', `/api/v1/sessions/${session_id}/ready`, { service_id: 'asr' }],
  ] as const)
    expect(await call(url, method, path, sent), path).toMatchObject({ status: 403, body: refused });
  const socket = await TestClient.connect(url);
  expect(await socket.ask({ type: 'ServiceReady', session_id, service_id: 'asr' })).toMatchObject(refused);
  expect(await socket.ask({ type: 'RegisterServiceRequest', service_id: 'asr' })).toMatchObject(refused);
  expect(await socket.ask({ type: 'RegisterServiceRequest', service_id: 'acme-asr' })).toMatchObject({ success: true });
  expect(await call(url, 'POST', '/api/v1/microservices/register', { ...wish, service_id: 'acme-tts' })).toMatchObject({ status: 201 });
});
