import { createHmac, type KeyObject } from 'node:crypto';
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { authModes } from '../../src/auth/modes.ts';
import type { Principal, Verified } from '../../src/auth/principal.ts';
import { loadConfig } from '../../src/config-load.ts';
import { TestClient } from '../support/client.ts';
import { ManualClock } from '../support/clock.ts';
import { startGateway, testConfig } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';
import { audience, loopbackServer, startProvider, ttlS } from '../support/oidc.ts';
import { authorized, everyWay, expired, good, invalid, rest, unavailable, whoIs } from '../support/ways.ts';

// identity providers read the time of the machine: it stands where that of the gateway does
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: new ManualClock().now() }));
afterEach(() => void vi.useRealTimers());

type Table = Record<string, unknown>;
const key = { id: 'app', secret: 'a-secret-of-the-application-for-tests', kinds: ['user'] };

async function gatewayFor(issuers: Table[], keys: Table[] = [], log = keptLog()) {
  const gateway = await startGateway({ auth: { mode: 'required', issuers, keys } }, log.log);
  const pass = async (ms: number) => {
    await gateway.clock.standStill(ms);
    vi.setSystemTime(gateway.clock.now());
  };
  return { ...gateway, pass, log };
}

describe('an identity provider', () => {
  test.each(['RS256', 'ES256', 'EdDSA'])('that signs with %s says who its users and programs are', async (alg) => {
    const programs = {
      asr: { kind: 'service' },
      admin: { kind: 'operator' },
      robot: { kind: 'device', owner: 'ada' },
      stray: { kind: 'root' },
      lost: { kind: 'device' },
    };
    const { issuer, jwks_url, tokenOf, tokenFor } = await startProvider(programs, alg);
    const { url } = await gatewayFor([
      {
        issuer,
        jwks_url,
        audience,
        algorithms: [alg],
        typ: 'at+jwt',
        kinds: ['user', 'device', 'service', 'operator'],
        kind_claim: 'kind',
        user_claim: 'owner',
      },
    ]);
    expect(await everyWay(url, await tokenFor('ada'))).toEqual(good);
    expect(await whoIs(url, await tokenFor('ada'))).toEqual({ kind: 'user', identity: 'ada', user_identity: 'ada' });
    expect(await whoIs(url, await tokenOf('asr'))).toEqual({ kind: 'service', identity: 'asr' });
    expect(await whoIs(url, await tokenOf('admin'))).toEqual({ kind: 'operator', identity: 'admin', scopes: ['read', 'manage'] });
    expect(await whoIs(url, await tokenOf('robot'))).toEqual({ kind: 'device', identity: 'robot', user_identity: 'ada' });
    for (const nobody of ['stray', 'lost']) expect(await whoIs(url, await tokenOf(nobody)), nobody).toBe('UNAUTHENTICATED');
  });

  test('takes the place of gateway keys, or stands beside them; Hello lists what is taken', async () => {
    const { issuer, jwks_url } = await startProvider();
    const methods = async (issuers: Table[], keys: Table[]) =>
      (await (await TestClient.connect((await gatewayFor(issuers, keys)).url, ['session-gateway.v1'])).next('Hello')).auth_methods;
    const issuers = [{ issuer, jwks_url, audience }];
    expect(await methods(issuers, [])).toEqual(['jwt']);
    expect(await methods(issuers, [key])).toEqual(['key', 'jwt']);
    expect(await methods([], [key])).toEqual(['key']);
  });

  test('ends a socket when its token does', async () => {
    const { issuer, jwks_url, tokenFor } = await startProvider();
    const { url, clock, pass } = await gatewayFor([{ issuer, jwks_url, audience }]);
    const token = await tokenFor('ada');
    const client = await TestClient.connect(url, [], authorized(token));
    await client.caughtUp();
    await pass((ttlS - 1) * 1_000);
    expect(await client.ask({ type: 'Ping' })).toMatchObject({ type: 'Pong' });
    await clock.advance(2_000);
    expect((await client.closed).code).toBe(4460);
    vi.setSystemTime(clock.now());
    expect(await everyWay(url, token)).toEqual(expired);
  });

  test('that has new keys is asked for them once, whoever comes', async () => {
    const { issuer, jwks_url, tokenFor, rotate, fetched } = await startProvider();
    const { url, pass } = await gatewayFor([{ issuer, jwks_url, audience }]);
    const old = await tokenFor('ada');
    expect(await rest(url, old)).toBe(200);
    expect(await rest(url, old)).toBe(200);
    expect(fetched()).toBe(1);
    await pass(10_000);
    await rotate('second');
    const fresh = await tokenFor('ada');
    // asked a moment ago: this one may be newer than the answer
    const early = await fetch(`${url}/api/v1/sessions`, authorized(fresh));
    expect([early.status, early.headers.get('retry-after')]).toEqual([503, '20']);
    await pass(20_000);
    expect(await Promise.all(Array.from({ length: 10 }, () => rest(url, fresh)))).toEqual(Array(10).fill(200));
    // its key is gone, and that is known
    expect(await everyWay(url, old)).toEqual(invalid);
    expect(fetched()).toBe(2);
    await pass(30_000);
    expect(await Promise.all(Array.from({ length: 10 }, () => rest(url, old)))).toEqual(Array(10).fill(401));
    expect(fetched()).toBe(3);
  });

  test('that is down when the gateway starts is asked until it is there', async () => {
    const provider = await startProvider();
    const { issuer, jwks_url } = provider;
    const token = await provider.tokenFor('ada');
    await provider.stop();
    const { url, pass, log } = await gatewayFor([{ issuer, jwks_url, audience }]);
    expect(await everyWay(url, token)).toEqual(unavailable);
    const refused = await fetch(`${url}/api/v1/sessions`, authorized(token));
    expect([refused.headers.get('retry-after'), await refused.json()]).toEqual([
      '5',
      expect.objectContaining({ code: 'UNAVAILABLE', retryable: true }),
    ]);
    await pass(5_000);
    expect(await rest(url, token)).toBe(503);
    await provider.start();
    expect(await rest(url, token)).toBe(503);
    await pass(5_000);
    expect(await everyWay(url, token)).toEqual(good);
    expect(provider.fetched()).toBe(1);
    expect(log.said('the keys of an identity provider cannot be fetched')).toMatchObject([
      { level: 'warn', jwks_url, why: expect.stringContaining('ECONNREFUSED') },
    ]);
    expect(log.said('the keys of an identity provider can be fetched again')).toHaveLength(1);
  });

  test('that goes down later: its keys are good for an hour more', async () => {
    const provider = await startProvider();
    const { issuer, jwks_url } = provider;
    const { url, pass } = await gatewayFor([{ issuer, jwks_url, audience }]);
    expect(await rest(url, await provider.tokenFor('ada'))).toBe(200);
    await pass(600_000);
    await provider.stop();
    await pass(3_600_000);
    const token = await provider.tokenFor('ada');
    expect(await rest(url, token)).toBe(200);
    await pass(1_000);
    expect(await everyWay(url, token)).toEqual(unavailable);
    await provider.start();
    await pass(30_000);
    expect(await rest(url, token)).toBe(200);
  });

  test('that hangs later holds up the first who comes, and nobody else', async () => {
    const provider = await startProvider();
    const { issuer, jwks_url } = provider;
    const { url, pass } = await gatewayFor([{ issuer, jwks_url, audience }]);
    expect(await rest(url, await provider.tokenFor('ada'))).toBe(200);
    await provider.stop();
    await pass(600_001);
    expect(await rest(url, await provider.tokenFor('ada'))).toBe(200);
    await provider.start();
    const { release, left } = provider.hold();
    await pass(30_000);
    expect(await Promise.race([provider.tokenFor('ada').then((token) => rest(url, token)), left])).toBe(200);
    release();
  });

  test('with new keys, while it is down: nobody knows whether a token is good', async () => {
    const provider = await startProvider();
    const { issuer, jwks_url, tokenFor } = provider;
    const { url, pass } = await gatewayFor([{ issuer, jwks_url, audience }]);
    expect(await rest(url, await tokenFor('ada'))).toBe(200);
    await provider.rotate('second');
    const token = await tokenFor('ada');
    await provider.stop();
    await pass(30_000);
    expect(await rest(url, token)).toBe(503);
  });

  test('beside another: each has its users, and only those', async () => {
    const [plain, corp] = [await startProvider(), await startProvider({ robot: { kind: 'device', owner: 'ada' } })];
    const { url } = await gatewayFor(
      [
        { issuer: plain.issuer, jwks_url: plain.jwks_url, audience },
        {
          issuer: corp.issuer,
          jwks_url: corp.jwks_url,
          audience,
          namespace: 'corp',
          kinds: ['user', 'device'],
          kind_claim: 'kind',
          user_claim: 'owner',
        },
      ],
      [key],
    );
    expect(await whoIs(url, await plain.tokenFor('ada'))).toMatchObject({ identity: 'ada', user_identity: 'ada' });
    expect(await whoIs(url, await corp.tokenFor('ada'))).toMatchObject({ identity: 'corp:ada', user_identity: 'corp:ada' });
    expect(await whoIs(url, await corp.tokenOf('robot'))).toMatchObject({ identity: 'corp:robot', user_identity: 'corp:ada' });
    // nobody chooses a name that makes him somebody of the other
    expect(await whoIs(url, await plain.tokenFor('corp:ada'))).toBe('UNAUTHENTICATED');
    // longer than an identity with the namespace alone
    expect(await whoIs(url, await corp.tokenFor('a'.repeat(125)))).toBe('UNAUTHENTICATED');
  });

  test('has programs of which none takes over the service of another', async () => {
    const { issuer, jwks_url, tokenOf } = await startProvider({ asr: {}, tts: {} });
    const { url } = await gatewayFor([{ issuer, jwks_url, audience, kinds: ['service'], service_prefix: 'x-' }]);
    const register = async (client: string, service_id: string) => {
      const socket = await TestClient.connect(url, [], authorized(await tokenOf(client)));
      const { success, code } = await socket.ask({ type: 'RegisterServiceRequest', service_id, instance_id: 'one' });
      return code ?? success;
    };
    expect([await register('asr', 'x-asr'), await register('tts', 'x-asr'), await register('asr', 'x-asr')]).toEqual([
      true,
      'FORBIDDEN',
      true,
    ]);
    expect(await register('asr', 'asr')).toBe('FORBIDDEN');
  });
});

const issuer = 'https://login.example.com/';
const now = () => Math.floor(new ManualClock().now() / 1_000);
type Claims = { [claim in keyof JWTPayload]: JWTPayload[claim] | undefined };
const claims = (more: Claims = {}) => ({ iss: issuer, aud: audience, sub: 'ada', iat: now(), exp: now() + 600, ...more });
const signed = (privateKey: CryptoKey | KeyObject | Uint8Array, more: Claims = {}, header: object = {}) =>
  new SignJWT(claims(more) as JWTPayload).setProtectedHeader({ alg: 'RS256', kid: 'rsa', typ: 'at+jwt', ...header }).sign(privateKey);
const part = (value: object) => base64url.encode(JSON.stringify(value));

describe('of tokens that look like those of an identity provider', async () => {
  const rsa = await generateKeyPair('RS256', { extractable: true });
  const other = await generateKeyPair('RS256', { extractable: true });
  const ps = await generateKeyPair('PS256');
  const ec = await generateKeyPair('ES256', { extractable: true });
  const publicKeys = async () => ({
    keys: [
      { ...(await exportJWK(rsa.publicKey)), kid: 'rsa', alg: 'RS256' },
      { ...(await exportJWK(ec.publicKey)), kid: 'ec', alg: 'ES256' },
      // of no use: not public, made for something else
      { ...(await exportJWK(other.privateKey)), kid: 'private', alg: 'RS256' },
      { ...(await exportJWK(ps.publicKey)), kid: 'ps', alg: 'PS256' },
      { ...(await exportJWK(other.publicKey)), kid: 'rs512', alg: 'RS512' },
      { ...(await exportJWK(other.publicKey)), kid: 'enc', use: 'enc' },
      { kty: 'oct', k: base64url.encode('a-secret-that-stands-in-a-set-of-keys'), kid: 'secret', alg: 'HS256' },
    ],
  });
  const gateway = async (more: Table = {}) => {
    const keys = JSON.stringify(await publicKeys());
    const server = await loopbackServer((_, response) => void response.end(keys));
    const table = { issuer, jwks_url: `${server.url}/keys`, audience, typ: 'at+jwt', algorithms: ['RS256', 'ES256'], ...more };
    return { ...(await gatewayFor([table])), fetched: () => server.asked('/keys') };
  };
  const hs256 = (secret: string, kid: string) => {
    const text = `${part({ alg: 'HS256', kid, typ: 'at+jwt' })}.${part(claims())}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };

  test('the right ones are taken', async () => {
    const { url } = await gateway();
    const ecToken = signed(ec.privateKey, { aud: ['elsewhere', audience] }, { alg: 'ES256', kid: 'ec', typ: 'application/at+jwt' });
    const unnamed = signed(ec.privateKey, {}, { alg: 'ES256', kid: undefined });
    for (const token of [signed(rsa.privateKey), ecToken, unnamed, signed(rsa.privateKey, { iat: now() + 29, nbf: now() + 29 })])
      expect(await everyWay(url, await token)).toEqual(good);
  });

  test.each<[string, () => string | Promise<string>, string?]>([
    ['for somebody else', () => signed(rsa.privateKey, { aud: 'other' })],
    ['for nobody', () => signed(rsa.privateKey, { aud: undefined })],
    ['of another type', () => signed(rsa.privateKey, {}, { typ: 'JWT' })],
    ['of no type', () => signed(rsa.privateKey, {}, { typ: undefined })],
    ['of no issuer', () => signed(rsa.privateKey, { iss: undefined })],
    ['of an issuer that nobody knows', () => signed(rsa.privateKey, { iss: 'https://login.example.com' })],
    ['of nobody', () => signed(rsa.privateKey, { sub: undefined })],
    ['of what is no identity', () => signed(rsa.privateKey, { sub: { toString: 'ada' } } as never)],
    ['without an end', () => signed(rsa.privateKey, { exp: undefined })],
    ['without a beginning', () => signed(rsa.privateKey, { iat: undefined })],
    ['from the future', () => signed(rsa.privateKey, { iat: now() + 31 })],
    ['not yet good', () => signed(rsa.privateKey, { nbf: now() + 31 })],
    ['good for too long', () => signed(rsa.privateKey, { exp: now() + 86_401 })],
    ['signed by somebody else', () => signed(other.privateKey)],
    ['with a key that is not there', () => signed(other.privateKey, {}, { kid: 'elsewhere' })],
    ['with a key that is a path', () => signed(other.privateKey, {}, { kid: '../../../../dev/null' })],
    ['with a key that every object has', () => signed(other.privateKey, {}, { kid: '__proto__' })],
    ['with a private key of the set', () => signed(other.privateKey, {}, { kid: 'private' })],
    ['with a key for another algorithm', () => signed(other.privateKey, {}, { kid: 'rs512' })],
    ['with a key for encryption', () => signed(other.privateKey, {}, { kid: 'enc' })],
    ['with a key of their own', async () => signed(other.privateKey, {}, { kid: undefined, jwk: await exportJWK(other.publicKey) })],
    ['with a key at their own address', () => signed(other.privateKey, {}, { jku: 'http://127.0.0.1:9/', x5u: 'http://127.0.0.1:9/' })],
    ['with the public key as a secret', async () => hs256(await exportSPKI(rsa.publicKey), 'rsa')],
    ['with a secret of the set', () => hs256('a-secret-that-stands-in-a-set-of-keys', 'secret')],
    ['with an algorithm that is not configured', () => signed(ps.privateKey, {}, { alg: 'PS256', kid: 'ps' })],
    ['with the key of another algorithm', () => signed(rsa.privateKey, {}, { kid: 'ec' })],
    [
      'with r and s of zero',
      () => `${part({ alg: 'ES256', kid: 'ec', typ: 'at+jwt' })}.${part(claims())}.${base64url.encode(new Uint8Array(64))}`,
    ],
    ['with no signature', () => `${part({ alg: 'none', typ: 'at+jwt' })}.${part(claims())}.`],
    ['with something critical that nobody knows', () => signedWithCrit()],
    ['that were changed', async () => (await signed(rsa.privateKey)).replace(/\.[^.]+\./, `.${part(claims({ sub: 'bob' }))}.`)],
  ])('those %s are not', async (_, make) => {
    const { url, fetched } = await gateway();
    expect(await everyWay(url, await make())).toEqual(invalid);
    expect(fetched()).toBeLessThanOrEqual(1);
  });
  const signedWithCrit = () =>
    new SignJWT(claims() as JWTPayload)
      .setProtectedHeader({ alg: 'RS256', kid: 'rsa', typ: 'at+jwt', crit: ['exp2'], exp2: 1 })
      .sign(rsa.privateKey, { crit: { exp2: true } });

  test('none has keys fetched unless it names a configured issuer and an algorithm of it', async () => {
    const { url, fetched } = await gateway();
    for (const token of [signed(rsa.privateKey, { iss: 'https://elsewhere.example.com/' }), hs256('x', 'rsa'), 'a.b.c', 'nothing'])
      expect(await rest(url, await token)).toBe(401);
    expect(fetched()).toBe(0);
  });

  test('no line of the log holds one', async () => {
    const { url, log } = await gateway();
    const tokens = await Promise.all([signed(rsa.privateKey), signed(other.privateKey), signed(rsa.privateKey, { aud: 'other' })]);
    for (const token of tokens) await everyWay(url, token);
    expect(log.said('credential refused')).toContainEqual(expect.objectContaining({ why: expect.stringContaining(`issuer:${issuer}: `) }));
    for (const token of tokens) expect(JSON.stringify(log.lines)).not.toContain(token.split('.')[2]);
  });

  test('a clock that is set back keeps no key from being fetched', async () => {
    const { url, clock, fetched } = await gateway();
    expect(await rest(url, await signed(rsa.privateKey))).toBe(200);
    clock.setBack(20_000);
    expect(await rest(url, await signed(rsa.privateKey))).toBe(200);
    expect(fetched()).toBe(2);
  });

  test.each<[string, (respond: (status: number, headers: object, body: string) => void) => void, string]>([
    ['are too many bytes', (respond) => respond(200, {}, `{"keys":[]${' '.repeat(70_000)}}`), 'exceeded'],
    ['are somewhere else', (respond) => respond(302, { location: '/right' }, ''), 'HTTP 302'],
    ['are not there', (respond) => respond(404, {}, ' '.repeat(60_000)), 'HTTP 404'],
    ['are no JSON', (respond) => respond(200, {}, '<html>'), 'JSON'],
    ['are no keys', (respond) => respond(200, {}, '{"keys":{}}'), 'malformed'],
    ['are nothing', (respond) => respond(200, {}, 'null'), 'malformed'],
  ])('none can be judged by keys that %s', async (_, answer, why) => {
    const right = JSON.stringify(await publicKeys());
    const server = await loopbackServer(({ url }, response) =>
      url === '/right'
        ? void response.end(right)
        : answer((status, headers, body) => void response.writeHead(status, { ...headers }).end(body)),
    );
    const { url, log } = await gatewayFor([{ issuer, jwks_url: `${server.url}/keys`, audience }]);
    expect(await everyWay(url, await signed(rsa.privateKey))).toEqual(unavailable);
    expect(log.said('the keys of an identity provider cannot be fetched')).toMatchObject([{ why: expect.stringContaining(why) }]);
    expect(server.asked('/right')).toBe(0);
  });

  test('none waits longer than 5 s for their issuer to answer, or to end its answer', async () => {
    const server = await loopbackServer(({ url }, response) => void (url === '/half' && response.write('{"keys":[')));
    const tables = ['none', 'half'].map((name) => ({ issuer: name, namespace: name, jwks_url: `${server.url}/${name}`, audience }));
    const { url, log } = await gatewayFor(tables);
    const statuses = tables.map(async (table) => rest(url, await signed(rsa.privateKey, { iss: table.issuer })));
    expect(await Promise.all(statuses)).toEqual([503, 503]);
    const line = { why: 'no answer in time' };
    expect(log.said('the keys of an identity provider cannot be fetched')).toMatchObject([line, line]);
  }, 20_000);
});

describe('settings', () => {
  const table = { issuer, jwks_url: 'https://login.example.com/keys', audience };

  test.each<[string, Table[], string]>([
    ['the same issuer twice', [table, { ...table, namespace: 'b' }], 'no. 2: https://login.example.com/ is there twice'],
    ['two without a namespace', [table, { ...table, issuer: 'b' }], 'no. 2: namespace: another issuer has none, either'],
    [
      'two with the same',
      [
        { ...table, namespace: 'b' },
        { ...table, issuer: 'b', namespace: 'b' },
      ],
      'no. 2: namespace: another issuer has b, too',
    ],
    ['the id of a key', [{ ...table, issuer: 'app' }], 'no. 1: app is the id of a gateway key, too'],
    ['devices of nobody', [{ ...table, kinds: ['user', 'device'] }], 'no. 1: user_claim: is needed where kinds has device'],
  ])('%s stop the start', async (_, issuers, why) => {
    await expect(gatewayFor(issuers, [key])).rejects.toThrow(`auth.issuers: ${why}`);
  });

  test.each<[string, string]>([
    ['jwks_url = "http://login.example.com/keys"', 'jwks_url: must be https, or http on this machine'],
    ['jwks_url = "https://a:b@login.example.com/keys"', 'jwks_url: must be https, or http on this machine, without user name'],
    ['jwks_url = "file:///etc/keys"', 'jwks_url: must be an https URL'],
    ['algorithms = ["HS256"]', 'algorithms'],
    ['algorithms = []', 'algorithms: must name at least one'],
    ['audience = []', 'audience: must name at least one'],
    ['namespace = "a:b"', 'namespace: must be at most 64 letters'],
    ['kinds = ["root"]', 'kinds'],
    ['audiences = "x"', 'did you mean audience?'],
  ])('%s is refused', (line, why) => {
    const own = line.split(' ')[0];
    const lines = Object.entries(table).flatMap(([name, value]) => (name === own ? [] : [`${name} = "${value}"`]));
    const text = `[auth]\nmode = "required"\n[[auth.issuers]]\n${[...lines, line].join('\n')}`;
    expect(() => loadConfig({}, {}, [{ name: 'a.toml', text }])).toThrow(why);
  });

  test('an audience may be one text, or a list', () => {
    const of = (value: string) => {
      const text = `[auth]\nmode = "required"\n[[auth.issuers]]\nissuer = "a"\njwks_url = "https://a/"\naudience = ${value}`;
      return (loadConfig({}, {}, [{ name: 'a.toml', text }]).auth as { issuers: { audience: unknown }[] }).issuers[0]?.audience;
    };
    expect([of('"x"'), of('["x", "y"]')]).toEqual([['x'], ['x', 'y']]);
  });
});

describe('new settings', () => {
  const settingsOf = (issuers: Table[], keys: Table[] = [key]) =>
    testConfig({ auth: { mode: 'required', issuers, keys } }).auth as Record<string, unknown>;

  /** The mode with these issuers, and somebody of the first. */
  async function start() {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'rsa' }] });
    const server = await loopbackServer((_, response) => void response.end(jwks));
    const table = {
      issuer,
      jwks_url: `${server.url}/keys`,
      audience: ['gateway', 'app'],
      kinds: ['user', 'operator'],
      kind_claim: 'kind',
      algorithms: ['RS256', 'ES256'],
      max_ttl: '1h',
    };
    const clock = new ManualClock();
    const auth = await authModes.required.start(settingsOf([table]), { clock, log: pino({ enabled: false }), taken: [] });
    const token = await signed(privateKey, { kind: 'operator' });
    const verified = async () => (await auth.identify({ token })) as Verified & { principal: Principal };
    const { principal } = await verified();
    const isGoodAfter = async (issuers: Table[]) => {
      await auth.replace?.(settingsOf(issuers));
      return auth.isStillGood?.(principal);
    };
    return { table, auth, verified, isGoodAfter, fetched: () => server.asked('/keys') };
  }

  test('that say the same, or more, change nothing for those who are there; keys are not fetched again', async () => {
    const { table, verified, isGoodAfter, fetched } = await start();
    expect(await isGoodAfter([table])).toBe(true);
    const wider = {
      audience: ['gateway', 'app', 'more'],
      kinds: ['user', 'service', 'operator'],
      scopes: ['read', 'manage', 'tokens'],
      max_ttl: '2h',
    };
    expect(
      await isGoodAfter([
        { ...table, ...wider },
        { ...table, issuer: 'b', namespace: 'b' },
      ]),
    ).toBe(true);
    expect(await verified()).toHaveProperty('principal');
    expect(fetched()).toBe(1);
  });

  test.each<[string, Table]>([
    ['audience', { audience: 'gateway' }],
    ['algorithm', { algorithms: ['RS256'] }],
    ['kind', { kinds: ['user'] }],
    ['scope', { scopes: ['read'] }],
    ['time', { max_ttl: '59m' }],
    ['type', { typ: 'at+jwt' }],
    ['address of keys', { jwks_url: 'https://login.example.com/keys' }],
    ['namespace', { namespace: 'b' }],
    ['claim', { subject_claim: 'email' }],
    ['issuer', { issuer: 'https://elsewhere.example.com/' }],
  ])('that give less (%s) end what came by it', async (_, less) => {
    const { table, isGoodAfter } = await start();
    expect(await isGoodAfter([{ ...table, ...less }])).toBe(false);
  });

  test('close what came by an issuer that is gone', async () => {
    const provider = await startProvider();
    const settings = { issuer: provider.issuer, jwks_url: provider.jwks_url, audience, kinds: ['operator'] };
    const program = await startProvider();
    const own = { issuer: program.issuer, jwks_url: program.jwks_url, audience, namespace: 'b' };
    const auth = { mode: 'required', issuers: [settings, own] };
    const { url } = await startGateway({ auth }, undefined, { readConfig: () => testConfig({ auth }) });
    const client = await TestClient.connect(url, [], authorized(await program.tokenFor('ada')));
    await client.caughtUp();
    auth.issuers = [settings];
    const reloaded = await fetch(`${url}/api/v1/auth/reload`, { method: 'POST', ...authorized(await provider.tokenFor('op')) });
    expect(await reloaded.json()).toEqual({ closed_sockets: 1 });
    expect((await client.closed).code).toBe(4401);
  });

  test('that cannot be used leave everything as it was; methods follow those that can', async () => {
    const { table, auth, verified } = await start();
    await expect(auth.replace?.(settingsOf([table, table]))).rejects.toThrow('twice');
    await expect(auth.replace?.(settingsOf([], [key, key]))).rejects.toThrow('no. 2');
    expect(await verified()).toHaveProperty('principal');
    expect(auth.methods).toEqual(['key', 'jwt']);
    await auth.replace?.(settingsOf([]));
    expect(await verified()).toMatchObject({ refused: 'invalid' });
    expect(auth.methods).toEqual(['key']);
  });
});
