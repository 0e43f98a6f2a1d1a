import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AccessToken } from 'livekit-server-sdk';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { canary, liveKitSecret } from '../support/canary.ts';
import { TestClient } from '../support/client.ts';
import { ManualClock } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';
import { authorized, everyWay, expired, good, invalid, rest, whoIs } from '../support/ways.ts';

// LiveKit's SDK reads the time of the machine: it stands where that of the gateway does
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: new ManualClock().now() }));
afterEach(() => void vi.useRealTimers());

const secretOf = (name: string) => `a-secret-of-${name}-that-only-tests-know`;
const app = { id: 'app', secret: secretOf('app'), kinds: ['user'] };
/** The same key, while it is replaced; it may make others. */
const next = { ...app, secret: secretOf('next'), kinds: ['operator'] };
const fleet = { id: 'fleet', secret: secretOf('fleet'), kinds: ['operator', 'service', 'device', 'user'] };
const robots = { id: 'robots', secret: secretOf('robots'), kinds: ['service', 'device'] };
const brief = { id: 'brief', secret: secretOf('brief'), kinds: ['user'], max_ttl: '10m' };
const keys = [app, next, fleet, robots, brief];

const gateway = (log = keptLog()) => startGateway({ auth: { mode: 'required', keys } }, log.log);

const nowS = new ManualClock().now() / 1_000;
const encoded = (value: object | string) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
/** Stands in every token, and may stand in no answer and no line of the log. */
const note = canary('known-to-the-bearer-alone');

interface Making {
  key?: { id: string; secret: string };
  header?: object;
  hash?: string;
}
const claims = (more: object = {}, { id } = app) => ({ iss: id, sub: 'ada', nbf: nowS, exp: nowS + 600, note, ...more });
/** A token, signed with a key. A text as claims is taken as it is. */
function token(more: object | string = {}, { key = app, header = {}, hash = 'sha256' }: Making = {}): string {
  const text = `${encoded({ alg: 'HS256', ...header })}.${encoded(typeof more === 'string' ? more : claims(more, key as typeof app))}`;
  return `${text}.${createHmac(hash, key.secret).update(text).digest('base64url')}`;
}
/** The claims as JSON, with more at their end. */
const withText = (more: string) => `${JSON.stringify(claims()).slice(0, -1)},${more}}`;
const of = (kind: string, more: object = {}) => ({ attributes: { 'gateway.kind': kind, ...more } });

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
function rs256(): string {
  const text = `${encoded({ alg: 'RS256', jwk: rsa.publicKey.export({ format: 'jwk' }) })}.${encoded(claims())}`;
  return `${text}.${sign('sha256', Buffer.from(text), rsa.privateKey).toString('base64url')}`;
}
/** Of exactly so many bytes. */
function long(bytes: number): string {
  for (let kid = 0; kid < 4; kid++) {
    const header = { kid: 'x'.repeat(kid) };
    const missing = bytes - token({ pad: '' }, { header }).length;
    const pad = Math.floor((missing * 3) / 4);
    for (const length of [pad - 1, pad, pad + 1]) {
      const made = token({ pad: 'x'.repeat(length) }, { header });
      if (made.length === bytes) return made;
    }
  }
  throw new Error(`none has ${bytes} bytes`);
}

/** What somebody may ask for. */
const pathOf = ({ kind }: { kind?: string }) => (kind === 'service' ? '/api/v1/microservices' : '/api/v1/sessions');
const ada = { kind: 'user', identity: 'ada', user_identity: 'ada' };
test.each<[string, () => string, object]>([
  ['with nothing special', () => token(), ada],
  ['with the type that LiveKit gives it', () => token({}, { header: { typ: 'JWT' } }), ada],
  ['whose key id is a path', () => token({}, { header: { kid: '../../etc/passwd' } }), ada],
  ['whose key id every object has', () => token({}, { header: { kid: '__proto__' } }), ada],
  ['with a key of its own, unread', () => token({}, { header: { jwk: rsa.publicKey.export({ format: 'jwk' }) } }), ada],
  ['with addresses of keys, unread', () => token({}, { header: { jku: 'http://127.0.0.1:9/', x5u: 'http://127.0.0.1:9/' } }), ada],
  ['with a claim twice: the last counts', () => token(withText('"sub":"bob"')), { kind: 'user', identity: 'bob', user_identity: 'bob' }],
  ['of 8 KiB', () => long(8_192), ada],
  ['good in 30 s', () => token({ nbf: nowS + 30 }), ada],
  ['good for a second more', () => token({ exp: nowS + 1 }), ada],
  ['issued in 30 s', () => token({ iat: nowS + 30 }), ada],
  ['issued a year ago, and new', () => token({ iat: nowS - 31_536_000 }), ada],
  ['good as long as its key allows', () => token({ exp: nowS + 600 }, { key: brief }), ada],
  ['of the other secret of its key', () => token({}, { key: next }), { kind: 'operator', identity: 'ada', scopes: ['read', 'manage'] }],
  ['of no kind: the least of its key', () => token({}, { key: fleet }), ada],
  ['of a kind', () => token(of('service'), { key: fleet }), { kind: 'service', identity: 'ada' }],
  [
    'of a device',
    () => token(of('device', { 'gateway.user': 'bob' }), { key: robots }),
    { kind: 'device', identity: 'ada', user_identity: 'bob' },
  ],
  ['of a user, with one more', () => token(of('user', { 'gateway.user': 'bob' })), ada],
  ['with other attributes', () => token({ attributes: { model: 'r2' } }), ada],
  ['with attributes that are none', () => token({ attributes: 'gateway.kind' }), ada],
  ['with grants that are nothing', () => token({ video: {}, sip: null, inference: false, observability: [] }), ada],
  [
    'with grants that say no',
    () => token({ video: { roomJoin: false, room: '', canPublish: true, canPublishSources: [] }, sip: { admin: false, call: null } }),
    ada,
  ],
  ['with an identity of 128 bytes', () => token({ sub: 'x'.repeat(128) }), { kind: 'user', identity: 'x'.repeat(128) }],
])('a token %s is taken', async (_, make, who) => {
  const { url } = await gateway();
  expect(await everyWay(url, make(), pathOf(who))).toEqual(good);
  expect(await whoIs(url, make())).toMatchObject(who);
});

const hs256None = () => `${encoded({ alg: 'none' })}.${encoded(claims())}`;
test.each<[string, () => string, unknown[]?]>([
  ['that is no JWT', () => 'nothing-of-the-kind'],
  ['of three parts that are nothing', () => 'a.b.c'],
  ['of which a part is missing', () => token().split('.').slice(0, 2).join('.')],
  ['with an empty signature', () => `${token().split('.').slice(0, 2).join('.')}.`],
  ['that was changed', () => token().replace(/\.[^.]+\./, `.${encoded(claims({ sub: 'bob' }))}.`)],
  ['that is encrypted, it says', () => `${encoded({ alg: 'dir', enc: 'A256GCM' })}..a.b.c`],
  ['whose claims are no JSON', () => token(`${JSON.stringify(claims()).slice(0, -1)},${note}`)],
  ['whose claims are a list', () => token(`[${JSON.stringify(claims())}]`)],
  ['with no algorithm', () => `${hs256None()}.`],
  ['with no algorithm, and the right signature', () => token({}, { header: { alg: 'none' } })],
  ['with None', () => token({}, { header: { alg: 'None' } })],
  ['with HS384', () => token({}, { header: { alg: 'HS384' }, hash: 'sha384' })],
  ['with HS512', () => token({}, { header: { alg: 'HS512' }, hash: 'sha512' })],
  ['with RS256 and the key for it', rs256],
  ['with RS256, and the right signature', () => token({}, { header: { alg: 'RS256' } })],
  ['with something critical', () => token({}, { header: { crit: [note], [note]: true } })],
  ['with a payload that is not encoded', () => token({}, { header: { crit: ['b64'], b64: false } })],
  ['signed with another secret', () => token({}, { key: { ...app, secret: secretOf('nobody') } })],
  ['signed with the secret of another key', () => token({}, { key: { ...app, secret: fleet.secret } })],
  ['signed with nothing', () => token({}, { key: { ...app, secret: '' } })],
  ['of no issuer', () => token({ iss: undefined })],
  ['of an issuer that nobody knows', () => token({ iss: 'nobody' })],
  ['of an issuer that every object has', () => token({ iss: '__proto__' })],
  ['of several issuers', () => token({ iss: ['app'] })],
  ['good in 31 s', () => token({ nbf: nowS + 31 })],
  ['good at some time', () => token({ nbf: '0' })],
  ['whose end has passed', () => token({ nbf: nowS - 60, exp: nowS }), expired],
  ['whose end passed long ago', () => token({ nbf: nowS - 600, exp: nowS - 300 }), expired],
  ['whose end passed, signed with another secret', () => token({ exp: nowS - 300 }, { key: { ...app, secret: secretOf('nobody') } })],
  ['without an end', () => token({ exp: undefined })],
  ['whose end is a text', () => token({ exp: String(nowS + 60) })],
  ['whose end never comes', () => token(JSON.stringify(claims({ exp: 0 })).replace('"exp":0', '"exp":1e999'))],
  ['good for longer than its key allows', () => token({ exp: nowS + 631 }, { key: brief })],
  ['that began too long ago', () => token({ nbf: nowS - 31, exp: nowS + 600 }, { key: brief })],
  ['from the future', () => token({ iat: nowS + 31 })],
  ['issued at some time', () => token({ iat: 'now' })],
  ['of nobody', () => token({ sub: undefined })],
  ['of an empty name', () => token({ sub: '' })],
  ['of a name with NUL', () => token({ sub: 'a\0da' })],
  ['of a name of 300 bytes', () => token({ sub: 'x'.repeat(300) })],
  ['of a number', () => token({ sub: 7 })],
  ['of somebody in a prototype', () => token(withText('"sub":null,"__proto__":{"sub":"ada"}'))],
  ['of a kind that its key does not make', () => token(of('operator'))],
  ['of a kind that its secret does not make', () => token(of('user'), { key: next })],
  ['of no known kind', () => token(of('root'), { key: fleet })],
  ['of a kind that every object has', () => token(of('constructor'), { key: fleet })],
  ['of several kinds', () => token({ attributes: { 'gateway.kind': ['user'] } })],
  ['of an empty kind', () => token(of(''))],
  ['of a device without a user', () => token(of('device'), { key: robots })],
  ['of a device of no identity', () => token(of('device', { 'gateway.user': 'a\0' }), { key: robots })],
  ['of the least kind, which lacks a user', () => token({}, { key: robots })],
  ['that joins a room', () => token({ video: { roomJoin: true, room: 'r' } })],
  ['that names a room', () => token({ video: { room: 'r' } })],
  ['that administers rooms', () => token({ video: { roomAdmin: true } })],
  ['that calls', () => token({ sip: { call: true } })],
  ['that infers', () => token({ inference: { perform: true } })],
  ['that observes', () => token({ observability: { write: true } })],
  ['that grants at large', () => token({ video: true })],
])('a token %s is not taken', async (_, make, outcome = invalid) => {
  const log = keptLog();
  const { url } = await gateway(log);
  const made = make();
  expect(await everyWay(url, made)).toEqual(outcome);
  const lines = JSON.stringify(log.lines);
  for (const part of made.split('.')) if (part.length > 8) expect(lines).not.toContain(part);
  expect(log.said('credential refused').map(({ credential }) => credential)).toEqual(['header', 'header', 'subprotocol', 'request']);
});

test.each<[string, (made: AccessToken) => void]>([
  ['join token', (made) => made.addGrant({ roomJoin: true, room: 'r' })],
  ['manager token', (made) => made.addGrant({ roomAdmin: true, room: 'r' })],
  ['webhook token', (made) => Object.assign(made, { sha256: 'a-hash' })],
  ['token that grants nothing', () => {}],
])('a %s of LiveKit is not taken, whoever it says it is of', async (_, prepare) => {
  const { url } = await gateway();
  for (const id of ['test', app.id]) {
    const made = new AccessToken(id, liveKitSecret, { identity: 'ada' });
    prepare(made);
    expect(await everyWay(url, await made.toJwt()), id).toEqual(invalid);
  }
});

describe('a token that is too long', () => {
  test('is read in no way', async () => {
    const { url } = await gateway();
    expect(await everyWay(url, long(8_193))).toEqual([401, 401, 4401, ['VALIDATION_FAILED', 'Pong']]);
  });

  test('is not even received when it has a megabyte', async () => {
    const { url } = await gateway();
    const huge = token({ pad: 'x'.repeat(1_000_000) });
    // the gateway may be done before all of it is sent
    const status = async (answer: Promise<unknown>) => String(await answer.catch((error: Error) => error.message));
    expect(await status(rest(url, huge))).toMatch(/431|fetch failed/);
    for (const [protocols, options] of [
      [[], authorized(huge)],
      [['session-gateway.v1', `bearer.${huge}`], {}],
    ] as const)
      expect(await status(TestClient.connect(url, [...protocols], options))).toMatch(/431|ECONNRESET|EPIPE/);
    const client = await TestClient.connect(url);
    client.send({ type: 'IdentifyRequest', token: huge });
    expect((await client.closed).code).toBe(4508);
    expect(await rest(url, token())).toBe(200);
  });
});

test('an empty token is none', async () => {
  const { url } = await gateway();
  const statuses = ['Bearer', 'Bearer ', 'Basic YTpi', `Bearer ${token()} ${token()}`, token()].map(
    async (authorization) => (await fetch(`${url}/api/v1/sessions`, { headers: { authorization } })).status,
  );
  expect(await Promise.all(statuses)).toEqual([401, 401, 401, 401, 401]);
  expect((await (await TestClient.connect(url, ['session-gateway.v1', 'bearer.'])).closed).code).toBe(4401);
  const client = await TestClient.connect(url);
  expect(await client.ask({ type: 'IdentifyRequest', token: '' })).toMatchObject({ code: 'VALIDATION_FAILED' });
  expect(await client.ask({ type: 'IdentifyRequest' })).toMatchObject({ code: 'UNAUTHENTICATED' });
});

test('of two credentials none counts', async () => {
  const { url } = await gateway();
  const [one, other] = [token(), token({ sub: 'bob' })];
  await expect(TestClient.connect(url, ['session-gateway.v1', `bearer.${other}`], authorized(one))).rejects.toThrow('401');
  const page = await TestClient.connect(url, ['session-gateway.v1', `bearer.${one}`, `bearer.${other}`]);
  expect((await page.closed).code).toBe(4401);
  // in a URL there is none
  expect((await fetch(`${url}/api/v1/sessions?token=${one}&access_token=${one}`)).status).toBe(401);
});

test.each<[string, { id: string; secret: string }, string, Record<string, string>, object]>([
  ['a user', app, 'ada', {}, ada],
  ['a device', fleet, 'r2', { 'gateway.kind': 'device', 'gateway.user': 'ada' }, { kind: 'device', identity: 'r2', user_identity: 'ada' }],
  ['a service', fleet, 'asr-1', { 'gateway.kind': 'service' }, { kind: 'service', identity: 'asr-1' }],
  ['an operator', fleet, 'op', { 'gateway.kind': 'operator' }, { kind: 'operator', identity: 'op', scopes: ['read', 'manage'] }],
])("LiveKit's SDK makes the token of %s", async (_, { id, secret }, identity, attributes, who) => {
  const { url } = await gateway();
  const made = await new AccessToken(id, secret, { identity, attributes, name: 'A name', metadata: 'm', ttl: '10m' }).toJwt();
  expect(await everyWay(url, made, pathOf(who))).toEqual(good);
  expect(await whoIs(url, made)).toMatchObject(who);
});

describe('settings', () => {
  const { secret, ...bare } = app;
  const start = (...tables: object[]) => startGateway({ auth: { mode: 'required', keys: tables } });
  const file = (text: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'keys-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'secret'), text);
    return join(folder, 'secret');
  };

  test.each<[string, () => object[], string]>([
    ['two keys with one secret', () => [app, { ...fleet, secret }], 'no. 2: the secret is that of another key'],
    ["LiveKit's secret", () => [{ ...app, secret: liveKitSecret }], 'no. 1: the secret is LiveKit’s'],
    ['a short secret', () => [{ ...app, secret: 'a-secret-of-thirty-one-letters-' }], 'no. 1: the secret must have at least 32 characters'],
    ['three of one id', () => [app, next, { ...app, secret: secretOf('third') }], 'no. 3: app is there three times'],
    ['no secret', () => [bare], 'no. 1: needs one of secret and secret_file'],
    ['two secrets of one key', () => [{ ...app, secret_file: file(secret) }], 'no. 1: needs one of secret and secret_file'],
    [
      'a file that is not there',
      () => [{ ...bare, secret_file: '/nowhere/secret' }],
      'no. 1: secret_file: /nowhere/secret cannot be read (ENOENT)',
    ],
    ['a file of two lines', () => [{ ...bare, secret_file: file(`${secret}\n${secret}`) }], 'contains a line break'],
    ['a file with a short secret', () => [{ ...bare, secret_file: file('short\n') }], 'must have at least 32 characters'],
    ['an empty file', () => [{ ...bare, secret_file: file('\n') }], 'must have at least 32 characters'],
    ["LiveKit's secret in a file", () => [{ ...bare, secret_file: file(`${liveKitSecret}\r\n`) }], 'the secret is LiveKit’s'],
  ])('with %s stop the start, and the reason holds no secret', async (_, tables, why) => {
    const error = await start(...tables()).then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).toContain(`auth.keys: `);
    expect(error?.message).toContain(why);
    for (const hidden of [secret, liveKitSecret]) expect(error?.message).not.toContain(hidden);
  });

  test.each([['\n'], ['\r\n'], ['']])('a secret may stand in a file that ends with %j', async (end) => {
    const { url } = await start({ ...bare, secret_file: file(secret + end) });
    expect(await everyWay(url, token())).toEqual(good);
  });
});
