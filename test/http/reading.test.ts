import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { connectService } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { head, raw } from '../support/raw.ts';

// biome-ignore lint/suspicious/noExplicitAny: an answer is what the test says it is
type Body = any;

async function call(url: string, method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const sent = body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(`${url}${path}`, {
    method,
    ...(sent !== undefined && { body: sent as string }),
    headers: { ...(sent !== undefined && { 'content-type': 'application/json' }), ...headers },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: (text === '' ? {} : JSON.parse(text)) as Body };
}

/** A session of ada's, and a way to call it. */
async function open() {
  const { url } = await startGateway();
  const { body } = await call(url, 'POST', '/api/v1/sessions', { user_identity: 'ada', required_services: [] });
  const path = `/api/v1/sessions/${body.session_id}`;
  return { url, path, ask: (method: string, rest = '', given?: unknown, headers = {}) => call(url, method, path + rest, given, headers) };
}

describe('user_identity', () => {
  const calls = [
    ['PATCH', '', { context_updates: { turn: 1 } }],
    ['POST', '/extend', { ttl_hours: 1 }],
    ['POST', '/share', { target_user_id: 'bob' }],
    ['DELETE', '/share/bob', {}],
    ['POST', '/messages', { role: 'user', content: 'hello' }],
    ['POST', '/token', {}],
    ['POST', '/terminate', {}],
    ['DELETE', '', {}],
  ] as const;

  test.each(calls)('counts in the body of %s %s as in its query', async (method, rest, body) => {
    const { ask } = await open();
    expect(await ask(method, rest, { ...body, user_identity: 'mallory' })).toMatchObject({
      status: 404,
      body: { code: 'SESSION_NOT_FOUND' },
    });
    expect(await ask(method, `${rest}?user_identity=mallory`, body)).toMatchObject({ status: 404 });
    expect(await ask(method, `${rest}?user_identity=ada`, { ...body, user_identity: 'mallory' })).toMatchObject({
      status: 400,
      body: { code: 'VALIDATION_FAILED', message: expect.stringContaining('user_identity') },
    });
    expect(await ask(method, rest, { ...body, user_identity: 5 })).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED' } });
    expect((await ask('GET')).body).toMatchObject({ status: 'Ready', messages: 0, context: {} });
    expect((await ask(method, `${rest}?user_identity=ada`, { ...body, user_identity: 'ada' })).status).toBeLessThan(300);
  });

  test('is kept with a message that names it in its body', async () => {
    const { ask } = await open();
    expect((await ask('POST', '/messages', { role: 'user', content: 'hello', user_identity: 'ada' })).body).toMatchObject({
      user_id: 'ada',
    });
  });

  test('given twice in a query counts where it is the same', async () => {
    const { ask } = await open();
    expect((await ask('GET', '?user_identity=ada&user_identity=ada')).status).toBe(200);
    expect(await ask('GET', '?user_identity=ada&user_identity=mallory')).toMatchObject({
      status: 400,
      body: { code: 'VALIDATION_FAILED' },
    });
  });

  test('in a body that is not read as JSON is refused, not overlooked', async () => {
    const { ask } = await open();
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(await ask('POST', '/terminate', '{"user_identity":"mallory"}', form)).toMatchObject({ status: 415 });
    expect(await ask('DELETE', '', '{"user_identity":', {})).toMatchObject({ status: 400, body: { code: 'INVALID_JSON' } });
    expect((await ask('GET')).body).toMatchObject({ status: 'Ready' });
  });

  test.each(['/api/v1/sessions', '/api/v1/create-session'])('of POST %s may stand in either', async (path) => {
    const { url } = await startGateway();
    const wish = { required_services: [] };
    const { status, body } = await call(url, 'POST', `${path}?user_identity=ada`, wish);
    expect(status).toBe(201);
    expect((await call(url, 'GET', `/api/v1/sessions/${body.session_id}?user_identity=ada`)).status).toBe(200);
    expect((await call(url, 'POST', `${path}?user_identity=bob`, { ...wish, user_identity: 'ada' })).status).toBe(400);
  });
});

describe('a body', () => {
  const wish = '{"user_identity":"Jürgen","required_services":[]}';

  test('in another encoding than UTF-8 is refused', async () => {
    const { url } = await startGateway();
    expect(await call(url, 'POST', '/api/v1/sessions', Buffer.from(wish, 'latin1'))).toMatchObject({
      status: 400,
      body: { code: 'INVALID_JSON' },
    });
    expect((await call(url, 'GET', '/api/v1/sessions')).body.items).toEqual([]);
  });

  test('that names another encoding than UTF-8 is refused', async () => {
    const { url } = await startGateway();
    const as = (type: string) => call(url, 'POST', '/api/v1/sessions', wish, { 'content-type': type }).then(({ status }) => status);
    expect(await as('application/json; charset=utf-16')).toBe(415);
    expect(await as('application/json;charset="UTF-8"')).toBe(201);
  });

  test('may begin with a byte order mark', async () => {
    const { url } = await startGateway();
    expect((await call(url, 'POST', '/api/v1/sessions', `\ufeff${wish}`)).status).toBe(201);
  });

  test.each(['gzip', 'br', 'identity, gzip', ''])('with Content-Encoding "%s" is refused', async (encoding) => {
    const { url } = await startGateway();
    const body = gzipSync(wish);
    const sent = { 'Content-Type': 'application/json', 'Content-Length': String(body.length), 'Content-Encoding': encoding };
    const [answer] = await raw(url, Buffer.concat([Buffer.from(head('POST /api/v1/sessions', sent)), body]));
    expect(answer).toMatchObject({ status: 415, headers: { 'accept-encoding': 'identity' } });
  });

  test('of Content-Encoding identity is read', async () => {
    const { url } = await startGateway();
    expect((await call(url, 'POST', '/api/v1/sessions', wish, { 'content-encoding': 'Identity' })).status).toBe(201);
  });
});

describe('an idempotency key', () => {
  const wish = { user_identity: 'ada', required_services: [] };

  test('is the same text in the header and in the body', async () => {
    const { url } = await startGateway();
    const { body } = await call(url, 'POST', '/api/v1/sessions', { ...wish, idempotency_key: 'schlüssel' });
    const sent = JSON.stringify(wish);
    const headers = { 'Content-Type': 'application/json', 'Content-Length': String(sent.length), 'Idempotency-Key': 'schlüssel' };
    const [again] = await raw(url, Buffer.from(head('POST /api/v1/sessions', headers) + sent));
    expect(JSON.parse(again?.body ?? '')).toMatchObject({ session_id: body.session_id, replayed: true });
    const [latin] = await raw(url, Buffer.from(head('POST /api/v1/sessions', headers) + sent, 'latin1'));
    expect(JSON.parse(latin?.body ?? '')).toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test('in the header must not differ from one in the body', async () => {
    const { url } = await startGateway();
    const both = (key: string) => call(url, 'POST', '/api/v1/sessions', { ...wish, idempotency_key: 'one' }, { 'idempotency-key': key });
    expect((await both('one')).status).toBe(201);
    expect(await both('two')).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED' } });
  });
});

test.each(['0x5', '1e1', '%205', '', '5.0', '+5', '5&limit=6'])('limit=%s is no number', async (limit) => {
  const { url } = await startGateway();
  for (const path of ['/api/v1/sessions', '/api/v1/sessions/x/messages'])
    expect(await call(url, 'GET', `${path}?limit=${limit}`), path).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED' } });
});

describe('the version of a session', () => {
  test('is its ETag, for If-Match and If-None-Match', async () => {
    const { ask } = await open();
    const { headers, body } = await ask('GET');
    const etag = headers.get('etag') ?? '';
    expect(etag).toBe(`"${body.version}"`);
    expect((await ask('GET', '', undefined, { 'if-none-match': `"x", W/${etag}` })).status).toBe(304);
    expect((await ask('GET', '', undefined, { 'if-none-match': '"0"' })).status).toBe(200);
    const changed = await ask('PATCH', '', { context_updates: { turn: 1 } }, { 'if-match': etag });
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, `"${changed.body.version}"`]);
    for (const stale of [etag, `W/"${changed.body.version}"`, '"abc"', `${body.version}`])
      expect(await ask('PATCH', '', { context_updates: { turn: 9 } }, { 'if-match': stale }), stale).toMatchObject({
        status: 412,
        body: { code: 'PRECONDITION_FAILED', retryable: false },
      });
    expect(
      (await ask('PATCH', '', { context_updates: { turn: 2 } }, { 'if-match': `${etag}, ${changed.headers.get('etag')}` })).status,
    ).toBe(200);
    expect((await ask('PATCH', '', { context_updates: { turn: 3 } }, { 'if-match': '*' })).status).toBe(200);
    expect((await ask('GET')).body.context).toEqual({ turn: 3 });
    expect(await ask('PATCH', '', { context_updates: { turn: 9 }, if_version: body.version })).toMatchObject({
      status: 409,
      body: { code: 'VERSION_CONFLICT' },
    });
  });
});

test('whatever an allowed page asks for in its preflight is allowed', async () => {
  const { url } = await startGateway();
  const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'baggage,sentry-trace,authorization' };
  const preflight = (origin: string) => call(url, 'OPTIONS', '/livekit/token', undefined, { ...asked, origin });
  const { status, headers } = await preflight('http://localhost:3000');
  expect(status).toBe(204);
  expect(headers.get('access-control-allow-headers')).toBe('baggage,sentry-trace,authorization');
  expect(headers.get('vary')).toContain('Access-Control-Request-Headers');
  const refused = await preflight('https://evil.example');
  expect([refused.status, refused.headers.get('access-control-allow-headers')]).toEqual([403, null]);
});

describe('a call that waits for a session to be ready', () => {
  const slow = { user_identity: 'ada', required_services: ['asr'], join_timeout_s: 600 };
  /** A service that accepts and is never ready. */
  const hesitant = async (url: string) => {
    const service = await connectService(url, 'asr', { auto: false });
    service.ws.on('message', (data) => {
      const { type, assignment_id } = JSON.parse(String(data));
      if (type === 'JoinRoomRequest') service.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    });
    return service;
  };

  test('is answered after 55 s whatever the body asks for, and the session ends as join_timeout', async () => {
    const { url, clock, rooms } = await startGateway({ heartbeat: { service_s: 600 } });
    await hesitant(url);
    // the room takes its time as well
    rooms.holdCreate();
    const answer = call(url, 'POST', '/api/v1/sessions', slow);
    await expect.poll(async () => (await call(url, 'GET', '/api/v1/sessions')).body.items.length).toBe(1);
    await clock.advance(6_000);
    rooms.letCreate();
    await expect.poll(async () => (await call(url, 'GET', '/api/v1/sessions')).body.items[0].status).toBe('WaitingForServices');
    await clock.advance(48_000);
    expect((await call(url, 'GET', '/api/v1/sessions')).body.items[0].status).toBe('WaitingForServices');
    await clock.advance(2_000);
    expect(await answer).toMatchObject({
      status: 408,
      body: { code: 'MICROSERVICE_JOIN_TIMEOUT', details: { reason: 'join_timeout', missing: ['asr'] } },
    });
  });

  test('goes on without what is missing where that was asked for', async () => {
    const { url, clock } = await startGateway({ server: { port: 0, max_wait_s: 20 }, heartbeat: { service_s: 600 } });
    await hesitant(url);
    await connectService(url, 'tts');
    const answer = call(url, 'POST', '/api/v1/sessions', { ...slow, required_services: ['asr', 'tts'], on_join_timeout: 'degrade' });
    await expect.poll(async () => (await call(url, 'GET', '/api/v1/sessions')).body.items[0]?.ready_services).toEqual(['tts']);
    await clock.advance(21_000);
    expect(await answer).toMatchObject({ status: 201, body: { status: 'Ready', pending_services: ['asr'] } });
  });

  test('for a session of another call is answered, and the session stays', async () => {
    const { url, clock } = await startGateway({ heartbeat: { service_s: 600 } });
    const asr = await hesitant(url);
    const key = { 'idempotency-key': 'one' };
    const { body } = await call(url, 'POST', '/api/v1/create-session', slow, key);
    const { assignment_id } = await asr.next('JoinRoomRequest');
    const answer = call(url, 'POST', '/api/v1/sessions', slow, key);
    let isAnswered = false;
    void answer.finally(() => {
      isAnswered = true;
    });
    while (!isAnswered) await clock.advance(1_000);
    expect(await answer).toMatchObject({ status: 408, body: { code: 'MICROSERVICE_JOIN_TIMEOUT', details: { missing: ['asr'] } } });
    expect((await call(url, 'GET', `/api/v1/sessions/${body.session_id}`)).body.status).toBe('WaitingForServices');
    asr.send({ type: 'ServiceReady', assignment_id });
    expect(await call(url, 'POST', '/api/v1/sessions', slow, key)).toMatchObject({
      status: 201,
      body: { replayed: true, status: 'Ready' },
    });
  });
});
