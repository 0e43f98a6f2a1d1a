import { expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { keptLog } from '../support/log.ts';

const open = async (url: string, more: object = {}) => {
  const client = await TestClient.connect(url);
  const { session_id, ...made } = await client.ask({
    type: 'NewSessionRequest',
    user_identity: 'ada',
    required_services: ['asr'],
    ...more,
  });
  return { client, session_id: session_id as string, made };
};

test('a session that waits for services nobody registered says so at once, after its answer', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr', { metadata: { type: 'ASR' } });
  const { client, made, session_id } = await open(url, { required_services: ['asr', 'nope', { type: 'LLM' }] });
  expect(made).toMatchObject({ type: 'NewSessionResponse', status: 'WaitingForServices' });
  for (const service_id of ['nope', 'type=LLM']) {
    expect(await client.next((f) => f.attempt === 0)).toMatchObject({
      type: 'ServiceStatusChanged',
      service_id,
      status: 'Disconnected',
      error: 'no registered service fits',
    });
  }
  const { body } = await rest(`${url}/api/v1/sessions/${session_id}`);
  expect(body.services).toMatchObject([
    {},
    { service_id: 'nope', status: 'Disconnected' },
    { service_id: 'type=LLM', status: 'Disconnected' },
  ]);
  expect(client.all.filter((f) => f.attempt === 0)).toHaveLength(2);
});

test('a session that waits for a busy service says so, and is served when it is free', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr', { max_sessions: 1 });
  const first = await open(url);
  await first.client.next('SessionReady');
  const second = await open(url);
  expect(await second.client.next((f) => f.attempt === 0)).toMatchObject({ status: 'Registered', error: 'no service that fits is free' });
  await first.client.ask({ type: 'EndSessionRequest' });
  expect((await second.client.next('SessionReady')).session_id).toBe(second.session_id);
  expect((await second.client.ask({ type: 'GetSessionRequest' })).services[0]).not.toHaveProperty('error');
});

test('an optional service that nobody registered is not waited for, and nothing is said', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr');
  const { client } = await open(url, { optional_services: ['nope'] });
  await client.next('SessionReady');
  expect(client.all.filter((f) => f.attempt === 0)).toEqual([]);
  const { services } = await client.ask({ type: 'GetSessionRequest' });
  expect(services[1]).toMatchObject({ service_id: 'nope', status: 'Disconnected', error: 'no registered service fits' });
});

test('a session whose services were not ready ends with the reason of each, everywhere', async () => {
  const { url, clock } = await startGateway();
  const late = await connectService(url, 'late', { auto: false });
  await connectService(url, 'mute', { auto: false });
  const asr = await connectService(url, 'asr', { auto: false });
  asr.ws.on('message', (data) => {
    const { type, assignment_id } = JSON.parse(String(data));
    if (type === 'JoinRoomRequest') asr.send({ type: 'ServiceFailed', assignment_id, error: `CUDA out of memory${' '.repeat(400)}` });
  });
  const declining = await connectService(url, 'llm', { auto: false });
  declining.ws.on('message', (data) => {
    const { type, assignment_id } = JSON.parse(String(data));
    if (type === 'JoinRoomRequest') declining.send({ type: 'JoinRoomResponse', assignment_id, accepted: false });
  });
  const services = [{ type: 'TTS' }, 'late', 'mute', 'asr', 'llm'];
  const { client, session_id } = await open(url, { required_services: services, on_join_timeout: 'fail' });
  const { assignment_id } = await late.next('JoinRoomRequest');
  late.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
  await client.caughtUp();
  await clock.advance(65_000);
  const ended = await client.next('SessionEnded');
  const missing = ['type=TTS', 'late', 'mute', 'asr', 'llm'];
  const reasons = [
    { service: 'type=TTS', reason: 'never_registered' },
    { service: 'late', reason: 'not_ready' },
    { service: 'mute', reason: 'no_answer' },
    { service: 'asr', reason: 'failed', message: expect.stringMatching(/^CUDA out of memory *$/) },
    { service: 'llm', reason: 'declined' },
  ];
  expect(ended).toMatchObject({ reason: 'join_timeout', missing, failures: reasons });
  expect(ended.failures[3].message).toHaveLength(200);
  const { body } = await rest(`${url}/api/v1/sessions/${session_id}`);
  expect(body).toMatchObject({ end_reason: 'join_timeout', missing, failures: reasons });
  const list = await rest(`${url}/api/v1/sessions`);
  expect(list.body.items[0]).toMatchObject({ missing, failures: reasons });
});

test('the log names what a session waits for, and what it ended for', async () => {
  const { log, lines } = keptLog('info');
  const { url, clock } = await startGateway({}, log);
  const asr = await connectService(url, 'asr', { auto: false });
  asr.ws.on('message', (data) => {
    const { type, assignment_id } = JSON.parse(String(data));
    if (type === 'JoinRoomRequest') asr.send({ type: 'ServiceFailed', assignment_id, error: 'CUDA out of memory' });
  });
  const { client } = await open(url, { required_services: ['nope', 'asr'], on_join_timeout: 'fail' });
  await client.next((f) => f.error === 'CUDA out of memory');
  await clock.advance(35_000);
  await client.next('SessionEnded');
  const warned = lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg);
  expect(warned[0]).toBe('no registered service fits nope (registered: asr)');
  expect(warned).toContain('not ready within 30 s: nope (never registered), asr (CUDA out of memory)');
});

test('REST answers which services were missing, and why', async () => {
  const { url, clock } = await startGateway();
  const asked = rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'ada', required_services: ['nope'] });
  await expect.poll(async () => (await rest(`${url}/api/v1/stats`)).body.by_status).toEqual({ WaitingForServices: 1 });
  await clock.advance(31_000);
  expect(await asked).toMatchObject({
    status: 408,
    body: {
      code: 'REGISTRATION_TIMEOUT',
      message: 'Timeout waiting for microservices to register: nope (never registered)',
      details: { missing: ['nope'], failures: [{ service: 'nope', reason: 'never_registered' }] },
    },
  });
});

test('a room that could not be made names no service: none was asked', async () => {
  const { url, rooms } = await startGateway();
  rooms.reachable = false;
  await connectService(url, 'asr');
  const client = await TestClient.connect(url);
  const refused = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  expect(refused).toMatchObject({ code: 'LIVEKIT_ERROR', details: { session_id: expect.any(String), reason: 'livekit_error' } });
  const { body } = await rest(`${url}/api/v1/sessions/${refused.details.session_id}`);
  for (const told of [refused.details, body]) {
    expect(told).not.toHaveProperty('missing');
    expect(told).not.toHaveProperty('failures');
  }
});

test('a session that ends as it should names nothing', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr');
  const { client } = await open(url);
  await client.next('SessionReady');
  await client.ask({ type: 'EndSessionRequest' });
  const ended = await client.next('SessionEnded');
  expect(ended).not.toHaveProperty('missing');
  expect(ended).not.toHaveProperty('failures');
});

test('a service that declined or failed is shown as registered, one that is gone as disconnected', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const { client } = await open(url);
  const { assignment_id } = await asr.next('JoinRoomRequest');
  asr.send({ type: 'ServiceFailed', assignment_id, error: 'no model' });
  expect(await client.next((f) => f.error)).toMatchObject({ status: 'Registered', error: 'no model' });
  expect((await client.ask({ type: 'GetSessionRequest' })).services).toMatchObject([{ status: 'Registered', error: 'no model' }]);
  await clock.advance(2_000);
  await asr.next('JoinRoomRequest');
  asr.ws.terminate();
  expect(await client.next((f) => f.error)).toMatchObject({ status: 'Disconnected' });
  expect((await client.ask({ type: 'GetSessionRequest' })).services).toMatchObject([{ status: 'Disconnected' }]);
});

test('a session that names no services takes those that are there, unless they are too many to be meant', async () => {
  const { url } = await startGateway();
  for (let n = 0; n < 33; n++) await connectService(url, `s${n}`, { auto: false });
  const client = await TestClient.connect(url);
  expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({
    code: 'VALIDATION_FAILED',
    message: 'required_services: 33 services are available: name those that are needed, at most 32',
    details: { issues: [{ path: 'required_services' }] },
  });
  expect(await client.ask({ type: 'NewSessionRequest', user_identity: 's32' })).toMatchObject({ type: 'NewSessionResponse' });
});

test('a service is sent whom it serves', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr');
  await open(url, { user_name: 'Ada L.' });
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ user_identity: 'ada', user_name: 'Ada L.' });
});

test("what LiveKit's TokenSource has for an agent is passed on to it", async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr');
  const agents = [{ agent_name: 'asr', metadata: '{"voice":"low"}', deployment: 'staging' }];
  await rest(`${url}/livekit/token`, 'POST', { room_config: { agents } });
  const { place_metadata } = await asr.next('JoinRoomRequest');
  expect(place_metadata).toEqual({ agent_metadata: '{"voice":"low"}', deployment: 'staging' });
});

test('the heaviest JoinRoomRequest fits into 256 KiB', async () => {
  const { url, clock } = await startGateway({ limits: { frame_bytes: 1_000_000, body_bytes: 1_000_000 } });
  const heavy = '\u0001'.repeat(1_024);
  const fields = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`key-${i}`, heavy]));
  const client = await TestClient.connect(url);
  const refused = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', metadata: fields(11) });
  expect(refused).toMatchObject({ code: 'VALIDATION_FAILED', message: expect.stringContaining('must have at most 65536 bytes as JSON') });
  const asr = await connectService(url, 'asr', { auto: false });
  const agents = [{ agent_name: 'asr', metadata: '\u0001'.repeat(16_384), deployment: '\u0001'.repeat(256) }];
  const user = { participant_identity: 'a'.repeat(128), participant_name: '\u0001'.repeat(256) };
  const { body } = await rest(`${url}/livekit/token`, 'POST', { ...user, room_name: 'r'.repeat(128), room_config: { agents } });
  const session_id = (await rest(`${url}/api/v1/sessions`)).body.items[0].session_id;
  expect(body).toHaveProperty('participant_token');
  const first = await asr.next('JoinRoomRequest');
  const path = `${url}/api/v1/sessions/${session_id}`;
  expect(await rest(path, 'PATCH', { metadata_updates: fields(10), context_updates: { a: 'y'.repeat(65_000) } })).toMatchObject({
    status: 200,
  });
  expect(await rest(path, 'PATCH', { metadata_updates: { more: heavy } })).toMatchObject({
    status: 400,
    body: { message: 'metadata_updates: the metadata would be larger than 65536 bytes' },
  });
  asr.send({ type: 'ServiceFailed', assignment_id: first.assignment_id });
  asr.send({ type: 'DeregisterServiceRequest', drain: false });
  const again = await connectService(url, 'asr', { auto: false });
  await clock.advance(2_000);
  const second = await again.next('JoinRoomRequest');
  expect(Buffer.byteLength(JSON.stringify(second))).toBeGreaterThan(220_000);
  expect(Buffer.byteLength(JSON.stringify(second)) + 6 * 4_096).toBeLessThan(262_144);
});
