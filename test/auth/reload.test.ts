import { expect, test } from 'vitest';
import { mint } from '../../src/auth/mint.ts';
import type { Config } from '../../src/config.ts';
import { ConfigError } from '../../src/config.ts';
import { TestClient } from '../support/client.ts';
import { startGateway, testConfig } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';

const secretOf = (name: string) => `${name}-a-secret-that-only-these-tests-know`;
const operators = { id: 'ops', secret: secretOf('ops'), kinds: ['operator'] };
const users = { id: 'app', secret: secretOf('app'), kinds: ['user'] };
const services = { id: 'asr', secret: secretOf('asr'), kinds: ['service'] };

/** A gateway in mode required whose file says what the test wants. */
async function gateway(keys: object[] = [operators, users, services]) {
  const { log, lines } = keptLog();
  const file = { mode: 'required', keys } as { mode: string; keys: object[]; fault?: string };
  const readConfig = (): Config => {
    if (file.fault !== undefined) throw new ConfigError(file.fault);
    return testConfig({ auth: { mode: file.mode, keys: file.keys } });
  };
  const started = await startGateway({ auth: file }, log, { readConfig });
  const token = (key: { id: string; secret: string; kinds: string[] }, identity: string, ttlS = 3_600) =>
    mint({ keyId: key.id, secret: key.secret, identity, kind: key.kinds[0] as 'user', now: started.clock.now(), ttlS });
  const call = async (bearer: string, path: string, method = 'POST', body?: object) => {
    const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
    const response = await fetch(`${started.url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    return { status: response.status, challenge: response.headers.get('www-authenticate'), body: await response.json() };
  };
  const operator = await token(operators, 'op');
  const reload = () => call(operator, '/api/v1/auth/reload');
  const socket = async (bearer: string) => TestClient.connect(started.url, [], { headers: { authorization: `Bearer ${bearer}` } });
  return { ...started, file, lines, token, call, reload, socket };
}

test.each([
  ['the key', [operators, services]],
  ['its secret', [operators, services, { ...users, secret: secretOf('other') }]],
  ['its kind', [operators, services, { ...users, kinds: ['device'] }]],
])('whoever came with a key is put out when %s is gone, and nobody else', async (_, keys) => {
  const { file, token, socket, call, reload } = await gateway();
  const bearer = await token(users, 'ada');
  const [ada, asr] = [await socket(bearer), await socket(await token(services, 'asr-1'))];
  file.keys = keys;
  expect(await reload()).toMatchObject({ status: 200, body: { closed_sockets: 1 } });
  expect(await ada.closed).toEqual({ code: 4401, reason: 'unauthenticated' });
  expect((await call(bearer, '/api/v1/sessions', 'GET')).status).toBe(401);
  await asr.caughtUp();
});

test('a secret is replaced without a gap: both are taken while both are there', async () => {
  const { file, token, socket, reload } = await gateway();
  const next = { ...users, secret: secretOf('next') };
  const before = await socket(await token(users, 'ada'));
  file.keys = [operators, users, next];
  expect((await reload()).body).toEqual({ closed_sockets: 0 });
  const after = await socket(await token(next, 'ada'));
  await before.caughtUp();
  file.keys = [operators, next];
  expect((await reload()).body).toEqual({ closed_sockets: 1 });
  expect((await before.closed).code).toBe(4401);
  await after.caughtUp();
});

test('a key that may do more keeps its sockets, one that may do less loses them', async () => {
  const { file, token, socket, reload } = await gateway();
  const reader = { id: 'reader', secret: secretOf('reader'), kinds: ['operator'], scopes: ['read'] };
  file.keys = [operators, reader];
  await reload();
  const peer = await socket(await token(reader, 'grace'));
  file.keys = [operators, { ...reader, scopes: ['read', 'manage'] }];
  expect((await reload()).body).toEqual({ closed_sockets: 0 });
  await peer.caughtUp();
  file.keys = [operators, { ...reader, scopes: ['manage'] }];
  expect((await reload()).body).toEqual({ closed_sockets: 1 });
});

test('a call that waits ends with 401 when its key goes, and takes its session along', async () => {
  const { file, token, call, reload, holds, clock } = await gateway();
  const waiting = call(await token(users, 'ada'), '/api/v1/sessions', 'POST', { user_identity: 'ada', required_services: ['nobody'] });
  await expect.poll(() => holds().waiting).toBe(1);
  file.keys = [operators];
  await reload();
  expect(await waiting).toMatchObject({
    status: 401,
    challenge: 'Bearer realm="session-gateway", error="invalid_token"',
    body: { code: 'UNAUTHENTICATED', message: 'the credential is not valid' },
  });
  await clock.advance(1_000);
  const { body } = await call(await token(operators, 'op'), '/api/v1/sessions', 'GET');
  expect(body.items).toMatchObject([{ user_identity: 'ada', end_reason: 'client_gone' }]);
});

test('a call that waits ends with 401 when its credential expires', async () => {
  const { token, call, holds, clock } = await gateway();
  const bearer = await token(users, 'ada', 5);
  const waiting = call(bearer, '/api/v1/sessions', 'POST', { user_identity: 'ada', required_services: ['nobody'] });
  await expect.poll(() => holds().waiting).toBe(1);
  await clock.advance(5_000);
  expect(await waiting).toMatchObject({ status: 401, body: { message: 'the credential has expired' } });
});

test('a service that is called over HTTP is deregistered with its key', async () => {
  const { file, token, call, reload } = await gateway();
  const registration = { service_id: 'asr-1', endpoint: 'http://127.0.0.1:1', metadata: { type: 'ASR' } };
  expect((await call(await token(services, 'asr-1'), '/api/v1/microservices/register', 'POST', registration)).status).toBe(201);
  const list = async () => (await call(await token(operators, 'op'), '/api/v1/microservices', 'GET')).body.items.length;
  expect(await list()).toBe(1);
  file.keys = [operators];
  await reload();
  expect(await list()).toBe(0);
});

test.each<[string, object, string]>([
  ['cannot be read', { fault: 'gateway.toml:3:1: not TOML' }, 'gateway.toml:3:1: not TOML'],
  [
    'has a key that cannot be used',
    { keys: [{ ...users, secret: 'short' }] },
    'auth.keys: no. 1: the secret must have at least 32 characters',
  ],
  ['has another mode', { mode: 'none' }, 'auth.mode has changed: that takes a restart'],
])('a configuration that %s changes nothing; why is for the operator of the machine', async (_, change, why) => {
  const { file, lines, token, socket, reload } = await gateway();
  const ada = await socket(await token(users, 'ada'));
  Object.assign(file, change);
  expect(await reload()).toMatchObject({
    status: 409,
    body: { code: 'ILLEGAL_STATE', message: expect.not.stringContaining(why) },
  });
  expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', why }));
  await ada.caughtUp();
  await (await socket(await token(users, 'grace'))).caughtUp();
});

test('where nothing authenticates there are no keys to read', async () => {
  const { url } = await startGateway();
  const response = await fetch(`${url}/api/v1/auth/reload`, { method: 'POST' });
  expect([response.status, await response.json()]).toMatchObject([409, { code: 'ILLEGAL_STATE' }]);
});
