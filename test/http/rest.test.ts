import { expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

type Answer = {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: an answer is what the test says it is
  body: any;
};

/** Calls a gateway's REST API with JSON. */
async function call(url: string, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
}

const wish = { user_identity: 'user123', user_name: '张三' };

test('POST /sessions answers when every service is ready, with the token', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr-service-1');
  const { status, body } = await call(url, 'POST', '/api/v1/sessions', { ...wish, required_services: ['asr-service-1'] });
  expect(status).toBe(201);
  expect(body).toMatchObject({
    status: 'Ready',
    access_token: 'client-token-of-user123',
    livekit_url: 'ws://livekit.test',
    ready_services: ['asr-service-1'],
    pending_services: [],
  });
  expect(body.room_name).toBe(`room-${body.session_id}`);
});

test('a body that is not as it should be is refused in plain words', async () => {
  const { url } = await startGateway();
  const { status, body } = await call(url, 'POST', '/api/v1/microservices/register', { endpoint: 'ftp://x' });
  expect(status).toBe(400);
  expect(body.message).toBe('body: service_id: is required');
  expect(body.details.issues).toEqual([
    { path: 'service_id', message: 'is required' },
    { path: 'endpoint', message: 'must be an http or https URL' },
  ]);
});

test('POST /create-session answers at once with the token, and the status shows the rest', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr-service-1', { auto: false });
  const { status, body } = await call(url, 'POST', '/api/v1/create-session', { ...wish, required_services: ['asr-service-1'] });
  expect(status).toBe(201);
  expect(body).toMatchObject({
    status: 'WaitingForServices',
    access_token: 'client-token-of-user123',
    pending_services: ['asr-service-1'],
  });
  await asr.next('JoinRoomRequest');
  const ready = await call(url, 'POST', `/api/v1/sessions/${body.session_id}/ready`, { service_id: 'asr-service-1' });
  expect(ready).toMatchObject({ status: 200, body: { success: true, all_ready: true } });
  expect(await call(url, 'GET', `/api/v1/sessions/${body.session_id}`)).toMatchObject({
    status: 200,
    body: {
      session_id: body.session_id,
      room_name: body.room_name,
      status: 'Ready',
      ready_services: ['asr-service-1'],
      pending_services: [],
      created_at: expect.any(String),
    },
  });
});

test.each([
  ['/api/v1/sessions?wait=none', { status: 'WaitingForServices', access_token: expect.any(String) }],
  ['/api/v1/create-session?wait=ready', { status: 'Ready', access_token: expect.any(String) }],
])('%s turns the other way', async (path, expected) => {
  const { url } = await startGateway();
  await connectService(url, 'asr', { auto: path.endsWith('ready') });
  expect(await call(url, 'POST', path, { ...wish, required_services: ['asr'] })).toMatchObject({ status: 201, body: expected });
});

test('a token asked for on ready is not given before', async () => {
  const { url } = await startGateway();
  const { body } = await call(url, 'POST', '/api/v1/create-session', { ...wish, required_services: ['asr'], token_policy: 'on_ready' });
  expect(body).not.toHaveProperty('access_token');
});

test.each([
  [[], 31_000, { code: 'REGISTRATION_TIMEOUT', message: 'Timeout waiting for microservices to register: asr (never registered)' }],
  [['asr'], 61_000, { code: 'MICROSERVICE_JOIN_TIMEOUT', message: 'Timeout waiting for microservices to join: asr (not ready)' }],
])(
  'a waiting caller whose services %j do not come gets 408 with the missing, on a connection that is closed',
  async (registered, ms, error) => {
    const { url, clock, rooms } = await startGateway({ heartbeat: { service_s: 600 } });
    for (const id of registered) {
      const service = await connectService(url, id, { auto: false });
      service.ws.on('message', (data) => {
        const { type, assignment_id } = JSON.parse(String(data));
        if (type === 'JoinRoomRequest') service.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
      });
    }
    const answer = call(url, 'POST', '/api/v1/sessions', { ...wish, required_services: ['asr'] });
    await expect.poll(() => rooms.open.size).toBe(1);
    await clock.advance(ms);
    const { status, headers, body } = await answer;
    expect({ status, connection: headers.get('connection') }).toEqual({ status: 408, connection: 'close' });
    expect(body).toMatchObject({
      error: 'Timeout',
      ...error,
      timestamp: expect.any(String),
      retryable: true,
      details: { missing: ['asr'] },
    });
  },
);

test('a LiveKit that cannot be reached is 502, a taken room name 409', async () => {
  const { url, rooms } = await startGateway();
  expect(await call(url, 'POST', '/api/v1/sessions', { ...wish, room_name: 'my-room' })).toMatchObject({
    status: 201,
    body: { room_name: 'my-room', livekit_room: expect.stringMatching(/^my-room~[a-z2-7]{8}$/) },
  });
  const taken = await call(url, 'POST', '/api/v1/sessions', { ...wish, room_name: 'my-room' });
  expect(taken).toMatchObject({ status: 409, body: { error: 'Conflict', code: 'ROOM_NAME_IN_USE', retryable: true } });
  rooms.reachable = false;
  expect(await call(url, 'POST', '/api/v1/create-session', wish)).toMatchObject({
    status: 502,
    body: { error: 'LiveKitError', code: 'LIVEKIT_ERROR' },
  });
});

test.each([
  ['no JSON', '{', {}, 400, 'INVALID_JSON'],
  ['JSON nested too deep', '['.repeat(20), {}, 400, 'INVALID_JSON'],
  ['a missing user', {}, {}, 400, 'VALIDATION_FAILED'],
  ['a list', [], {}, 400, 'VALIDATION_FAILED'],
  ['another content type', '{}', { 'content-type': 'text/plain' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['too many bytes', { ...wish, user_name: 'x'.repeat(70_000) }, {}, 413, 'PAYLOAD_TOO_LARGE'],
  ['a folder outside', { ...wish, workspace_dir: '/' }, {}, 400, 'WORKSPACE_FORBIDDEN'],
  ['a user named like a service', { ...wish, required_services: ['user123'] }, {}, 400, 'VALIDATION_FAILED'],
  ['a key that is too long', wish, { 'idempotency-key': 'k'.repeat(129) }, 400, 'VALIDATION_FAILED'],
])('%s is refused in the one shape', async (_, body, headers, status, code) => {
  const { url, holds } = await startGateway();
  const answer = await call(url, 'POST', '/api/v1/sessions', body, headers as Record<string, string>);
  expect(answer).toMatchObject({
    status,
    body: { error: 'InvalidRequest', code, message: expect.any(String), timestamp: expect.any(String), retryable: false },
  });
  expect(holds()).toMatchObject({ watched_rooms: 0, waiting: 0 });
});

test('what is unknown is 404 in the one shape', async () => {
  const { url } = await startGateway();
  expect(await call(url, 'GET', '/api/v1/nothing')).toMatchObject({ status: 404, body: { error: 'NotFound', code: 'NOT_FOUND' } });
  for (const [method, path, body] of [
    ['GET', '/api/v1/sessions/nobody'],
    ['DELETE', '/api/v1/sessions/nobody'],
    ['POST', '/api/v1/sessions/nobody/terminate'],
    ['POST', '/api/v1/sessions/nobody/ready', { service_id: 'asr' }],
    ['POST', '/api/v1/sessions/nobody/token', {}],
  ] as const) {
    expect(await call(url, method, path, body)).toMatchObject({
      status: 404,
      body: { error: 'SessionNotFound', code: 'SESSION_NOT_FOUND' },
    });
  }
  expect(await call(url, 'DELETE', '/api/v1/microservices/nobody')).toMatchObject({ status: 404, body: { code: 'SERVICE_NOT_FOUND' } });
});

test('a session is ended by DELETE or terminate, twice as well', async () => {
  const { url, rooms } = await startGateway();
  for (const [method, suffix, reason] of [
    ['DELETE', '', 'owner_deleted'],
    ['POST', '/terminate', 'client_ended'],
  ] as const) {
    const { body } = await call(url, 'POST', '/api/v1/sessions', { ...wish, required_services: [] });
    const path = `/api/v1/sessions/${body.session_id}`;
    for (let twice = 0; twice < 2; twice++)
      expect(await call(url, method, path + suffix)).toMatchObject({ status: 200, body: { end_reason: reason } });
    await expect.poll(async () => (await call(url, 'GET', path)).body).toMatchObject({ status: 'Terminated', end_reason: reason });
  }
  expect(rooms.open.size).toBe(0);
});

test("a call that names a user is that user's, one that names none the operator's", async () => {
  const { url } = await startGateway();
  const { body } = await call(url, 'POST', '/api/v1/sessions', { ...wish, required_services: [] });
  const path = `/api/v1/sessions/${body.session_id}`;
  expect((await call(url, 'GET', `${path}?user_identity=user123`)).status).toBe(200);
  for (const [method, suffix] of [
    ['GET', ''],
    ['DELETE', ''],
    ['POST', '/terminate'],
    ['POST', '/token'],
  ] as const) {
    expect((await call(url, method, `${path}${suffix}?user_identity=mallory`)).status, `${method} ${suffix}`).toBe(404);
  }
  expect((await call(url, 'GET', path)).body).toMatchObject({ status: 'Ready' });
});

test('sessions are listed newest first, by status and user, page by page', async () => {
  const { url, clock } = await startGateway();
  const ids: unknown[] = [];
  for (let i = 0; i < 7; i++) {
    const { body } = await call(url, 'POST', '/api/v1/sessions', { user_identity: i % 2 ? 'odd' : 'even', required_services: [] });
    ids.unshift(body.session_id);
    await clock.advance(1_000);
  }
  const list = async (query: string) =>
    (await call(url, 'GET', `/api/v1/sessions?${query}`)).body as { items: { session_id: string }[]; next_cursor?: string };
  const named = (page: { items: { session_id: string }[] }) => page.items.map(({ session_id }) => session_id);
  expect(named(await list(''))).toEqual(ids);
  expect(named(await list('user_identity=odd'))).toEqual(ids.filter((_, i) => (6 - i) % 2 === 1));
  expect(named(await list('limit=3&offset=2'))).toEqual(ids.slice(2, 5));
  await call(url, 'DELETE', `/api/v1/sessions/${ids[0]}`);
  expect(named(await list('status=Ready'))).toEqual(ids.slice(1));
  // by cursor nothing is lost or doubled when new ones come in between
  const first = await list('limit=3');
  await call(url, 'POST', '/api/v1/sessions', wish);
  const second = await list(`limit=3&cursor=${first.next_cursor}`);
  const third = await list(`limit=3&cursor=${second.next_cursor}`);
  expect([...named(first), ...named(second), ...named(third)]).toEqual(ids);
  expect(third).not.toHaveProperty('next_cursor');
  for (const query of ['limit=0', 'limit=101', 'status=Sleeping', 'cursor=nonsense', 'offset=-1']) {
    expect(await call(url, 'GET', `/api/v1/sessions?${query}`), query).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED' } });
  }
});

test('a fresh token is given to the user, a manager token to the operator', async () => {
  const { url } = await startGateway();
  const { body } = await call(url, 'POST', '/api/v1/create-session', { ...wish, required_services: [] });
  const path = `/api/v1/sessions/${body.session_id}/token`;
  expect(await call(url, 'POST', path)).toMatchObject({
    status: 201,
    body: { access_token: 'client-token-of-user123', livekit_url: 'ws://livekit.test' },
  });
  expect(await call(url, 'POST', path, { role: 'manager' })).toMatchObject({
    status: 201,
    body: { access_token: `manager-token-of-${body.session_id}` },
  });
  expect(await call(url, 'POST', `${path}?user_identity=user123`, { role: 'manager' })).toMatchObject({
    status: 403,
    body: { code: 'FORBIDDEN' },
  });
  await call(url, 'DELETE', `/api/v1/sessions/${body.session_id}`);
  expect(await call(url, 'POST', path)).toMatchObject({ status: 409, body: { code: 'ILLEGAL_STATE' } });
});

test('a page of an allowed origin may call, and its preflight is answered', async () => {
  const { url } = await startGateway();
  const origin = 'http://localhost:5173';
  const preflight = await fetch(`${url}/api/v1/create-session`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
  });
  expect(preflight.status).toBe(204);
  expect(Object.fromEntries(preflight.headers)).toMatchObject({
    'access-control-allow-origin': origin,
    'access-control-allow-headers': expect.stringContaining('content-type'),
    vary: expect.stringContaining('Origin'),
  });
  const answer = await call(url, 'POST', '/api/v1/create-session', {}, { origin });
  expect(answer.status).toBe(400);
  expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
  expect((await call(url, 'GET', '/api/v1/stats', undefined, { origin: 'https://example.org' })).status).toBe(403);
});

test("LiveKit's TokenSource starts a session with the agents it names, and renews the token of a live one", async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr');
  const tts = await connectService(url, 'tts');
  const body = {
    room_name: 'parlour',
    participant_identity: 'ada',
    participant_name: 'Ada',
    room_config: { agents: [{ agent_name: 'asr' }] },
  };
  const first = await call(url, 'POST', '/livekit/token', body);
  expect(first).toMatchObject({
    status: 201,
    body: { server_url: 'ws://livekit.test', participant_token: 'client-token-of-ada', room_name: 'parlour' },
  });
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ room_name: 'parlour' });
  const second = await call(url, 'POST', '/livekit/token', body);
  expect(second).toMatchObject({ status: 201, body: { participant_token: 'client-token-of-ada', room_name: 'parlour' } });
  expect((await call(url, 'GET', '/api/v1/sessions')).body.items).toHaveLength(1);
  expect(await call(url, 'POST', '/livekit/token', { ...body, participant_identity: 'bob' })).toMatchObject({
    status: 409,
    body: { code: 'ROOM_NAME_IN_USE' },
  });
  // named nothing at all: everybody available, and a user of its own
  expect(await call(url, 'POST', '/livekit/token')).toMatchObject({
    status: 201,
    body: { participant_token: expect.stringMatching(/^client-token-of-user-/) },
  });
  await Promise.all([asr.next('JoinRoomRequest'), tts.next('JoinRoomRequest')]);
});

test('a request id is taken over, and made where there is none', async () => {
  const { url } = await startGateway();
  expect((await call(url, 'GET', '/health', undefined, { 'x-request-id': 'abc-1' })).headers.get('x-request-id')).toBe('abc-1');
  expect((await call(url, 'GET', '/health')).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
});

test('a REST session ends by its own deadlines, not with any socket', async () => {
  const { url, clock } = await startGateway();
  const { body } = await call(url, 'POST', '/api/v1/sessions', { ...wish, required_services: [], client_join_timeout_s: 30 });
  const watcher = await TestClient.connect(url);
  watcher.ws.terminate();
  await clock.advance(29_000);
  expect((await call(url, 'GET', `/api/v1/sessions/${body.session_id}`)).body).toMatchObject({ status: 'Ready', link: 'none' });
  await clock.advance(3_000);
  expect((await call(url, 'GET', `/api/v1/sessions/${body.session_id}`)).body).toMatchObject({
    status: 'Terminated',
    end_reason: 'client_never_joined',
  });
});

test('an app that asks the TokenSource endpoint several times at once gets one session', async () => {
  const { url, rooms } = await startGateway();
  rooms.holdCreate();
  const body = { room_name: 'parlour', participant_identity: 'ada', participant_metadata: '' };
  const asked = Array.from({ length: 4 }, () => call(url, 'POST', '/livekit/token', body));
  await expect.poll(async () => (await call(url, 'GET', '/api/v1/sessions')).body.items.length).toBe(1);
  rooms.letCreate();
  for (const answer of await Promise.all(asked))
    expect(answer).toMatchObject({ status: 201, body: { room_name: 'parlour', participant_token: 'client-token-of-ada' } });
  expect((await call(url, 'GET', '/api/v1/sessions')).body.items).toHaveLength(1);
});

test('an empty text in a TokenSource request is a missing one', async () => {
  const { url } = await startGateway();
  const answer = await call(url, 'POST', '/livekit/token', {
    room_name: '',
    participant_identity: '',
    room_config: { agents: [{ agent_name: '' }] },
  });
  expect(answer).toMatchObject({
    status: 201,
    body: { participant_token: expect.stringMatching(/^client-token-of-user-/), room_name: expect.stringMatching(/^room-/) },
  });
});
