import { describe, expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

const nothingHeld = { live_sessions: 0, watched_rooms: 0, waiting: 0 };

test('a session waits for its services, gives its token when all are ready, follows the user and leaves nothing behind', async () => {
  const { url, rooms, clock, holds } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const tts = await connectService(url, 'tts', { auto: false });
  const client = await TestClient.connect(url);
  const made = await client.ask({
    type: 'NewSessionRequest',
    user_identity: 'ada',
    metadata: { purpose: 'talk', level: 3 },
    required_services: ['asr', 'tts'],
  });
  expect(made).toMatchObject({
    type: 'NewSessionResponse',
    status: 'WaitingForServices',
    pending_services: ['asr', 'tts'],
    livekit_url: rooms.url,
  });
  expect(made).not.toHaveProperty('access_token');
  const room = made.room_name;
  expect(room).toBe(`room-${made.session_id}`);

  const offer = await asr.next('JoinRoomRequest');
  expect(offer).toMatchObject({
    attempt: 1,
    session_id: made.session_id,
    room_name: room,
    service_identity: 'asr',
    livekit_url: rooms.url,
    access_token: 'service-token-of-asr',
    metadata: { purpose: 'talk', level: '3' },
    deadline_ms: 60_000,
    resuming: false,
  });
  asr.send({ type: 'JoinRoomResponse', assignment_id: offer.assignment_id, accepted: true });
  expect(await asr.ask({ type: 'ServiceReady', assignment_id: offer.assignment_id })).toMatchObject({
    type: 'ServiceReadyResponse',
    success: true,
    all_ready: false,
  });
  // by session and service, without an assignment, and sent twice
  const withoutAssignment = { type: 'ServiceReady', session_id: made.session_id, service_id: 'tts' };
  await tts.next('JoinRoomRequest');
  expect(await tts.ask(withoutAssignment)).toMatchObject({ success: true, service_id: 'tts', all_ready: true });
  expect(await tts.ask(withoutAssignment)).toMatchObject({ success: true, service_id: 'tts', all_ready: true });

  expect(await client.next('SessionReady')).toMatchObject({
    access_token: 'client-token-of-ada',
    room_name: room,
    timings: { total_ms: 0 },
  });
  rooms.join(room, 'ada');
  rooms.join(room, 'asr', 'agent');
  await clock.advance(3_000);
  expect(await client.next('SessionActive')).toMatchObject({ participant: { identity: 'ada', kind: 'standard' } });

  expect(await client.ask({ type: 'EndSessionRequest' })).toMatchObject({ type: 'EndSessionResponse', status: 'Terminating' });
  for (const service of [asr, tts]) {
    const { assignment_id, reason } = await service.next('LeaveRoomRequest');
    expect(reason).toBe('client_ended');
    service.send({ type: 'ServiceLeft', assignment_id });
  }
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended', by: 'client', duration_s: 3 });
  expect(rooms.open.size).toBe(0);
  expect(holds()).toMatchObject(nothingHeld);
  const seqs = client.all.filter((frame) => frame.seq !== undefined && frame.type !== 'NewSessionResponse').map((frame) => frame.seq);
  expect(seqs).toEqual(seqs.map((_, i) => made.seq + 1 + i));
});

test('the same socket starts its next session after SessionEnded', async () => {
  const { url, holds } = await startGateway();
  const client = await TestClient.connect(url);
  const ids = new Set<string>();
  for (let round = 0; round < 3; round++) {
    const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' });
    expect(made).toMatchObject({ type: 'NewSessionResponse', status: 'Ready', access_token: 'client-token-of-ada' });
    ids.add(made.session_id);
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
  }
  expect(ids.size).toBe(3);
  expect(holds()).toMatchObject(nothingHeld);
});

test('without required_services every available service is asked, but none that is named like the user', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr');
  await connectService(url, 'ada');
  const full = await connectService(url, 'tts', { max_sessions: 1 });
  const first = await TestClient.connect(url);
  await first.ask({ type: 'NewSessionRequest', user_identity: 'bob', required_services: ['tts'] });
  await full.next('JoinRoomRequest');
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' });
  expect(made.pending_services).toEqual(['asr']);
});

test('a session without a room has no LiveKit and no services', async () => {
  const { url, rooms } = await startGateway();
  await connectService(url, 'asr');
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false });
  expect(made).toMatchObject({ status: 'Active', pending_services: [] });
  expect(made).not.toHaveProperty('access_token');
  expect(rooms.open.size).toBe(0);
});

test('token_policy immediate hands the token out before the services are ready', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], token_policy: 'immediate' });
  expect(made).toMatchObject({ status: 'WaitingForServices', access_token: 'client-token-of-ada' });
});

const inParlour = { type: 'NewSessionRequest', user_identity: 'ada', room_name: 'parlour', required_services: [] };

test('a room name is one live session’s at a time, and the next one gets a room of LiveKit that no earlier token opens', async () => {
  const { url, rooms } = await startGateway();
  const first = await TestClient.connect(url);
  const second = await TestClient.connect(url);
  const made = await first.ask(inParlour);
  expect(made).toMatchObject({ room_name: 'parlour', livekit_room: expect.stringMatching(/^parlour~[a-z2-7]{8}$/), status: 'Ready' });
  expect(await first.ask({ type: 'GetSessionRequest' })).toMatchObject({ room_name: 'parlour', livekit_room: made.livekit_room });
  expect([...rooms.open.keys()]).toEqual([made.livekit_room]);
  expect(await second.ask(inParlour)).toMatchObject({ type: 'Error', code: 'ROOM_NAME_IN_USE', retryable: true });
  await first.ask({ type: 'EndSessionRequest' });
  const next = await second.ask(inParlour);
  expect(next).toMatchObject({ room_name: 'parlour', livekit_room: expect.stringMatching(/^parlour~/), status: 'Ready' });
  expect(next.livekit_room).not.toBe(made.livekit_room);
  // the user is seen in LiveKit's room, and it is that one which goes
  rooms.join(next.livekit_room, 'ada');
  await first.next('SessionEnded');
  expect([...rooms.open.keys()]).toEqual([next.livekit_room]);
});

test('a service and a waiting client are sent both names of the room', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr');
  const client = await TestClient.connect(url);
  const { livekit_room } = await client.ask({ ...inParlour, required_services: ['asr'] });
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ room_name: 'parlour', livekit_room });
  expect(await client.next('SessionReady')).toMatchObject({ room_name: 'parlour', livekit_room });
});

describe('with exact room names', () => {
  const exact = { livekit: { exact_room_names: true } };

  test('a room name that another session holds, or held moments ago, is refused', async () => {
    const { url, clock } = await startGateway(exact);
    const first = await TestClient.connect(url);
    const second = await TestClient.connect(url);
    expect(await first.ask(inParlour)).toMatchObject({ room_name: 'parlour', livekit_room: 'parlour', status: 'Ready' });
    const refusal = { type: 'Error', code: 'ROOM_NAME_IN_USE', retryable: true, retry_after_ms: 30_000 };
    expect(await second.ask(inParlour)).toMatchObject(refusal);
    await first.ask({ type: 'EndSessionRequest' });
    await first.next('SessionEnded');
    expect(await second.ask(inParlour)).toMatchObject({ code: 'ROOM_NAME_IN_USE' });
    await clock.advance(31_000);
    expect(await second.ask(inParlour)).toMatchObject({ room_name: 'parlour' });
  });

  test("somebody else's room of the chosen name is left alone", async () => {
    const { url, rooms, holds } = await startGateway(exact);
    rooms.foreign.add('parlour');
    const client = await TestClient.connect(url);
    expect(await client.ask(inParlour)).toMatchObject({ type: 'Error', code: 'ROOM_NAME_IN_USE' });
    expect(holds()).toMatchObject(nothingHeld);
    rooms.foreign.clear();
    expect(await client.ask(inParlour)).toMatchObject({ room_name: 'parlour' });
  });
});

test('an unreachable LiveKit is an error in the answer, and the socket is free for the next try', async () => {
  const { url, rooms, holds } = await startGateway();
  rooms.reachable = false;
  const client = await TestClient.connect(url);
  const refused = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' });
  expect(refused).toMatchObject({ type: 'Error', code: 'LIVEKIT_ERROR', retryable: true });
  expect(refused.message).toBe('LiveKit is unreachable');
  expect(holds()).toMatchObject(nothingHeld);
  rooms.reachable = true;
  expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({ status: 'Ready' });
});

test('a room that is not there in ten seconds fails the session, and is deleted when it comes after all', async () => {
  const { url, rooms, clock, holds } = await startGateway();
  rooms.holdCreate();
  const client = await TestClient.connect(url);
  client.send({ type: 'NewSessionRequest', id: '1', user_identity: 'ada' });
  await client.caughtUp();
  await clock.advance(11_000);
  expect(await client.next('Error')).toMatchObject({ id: '1', code: 'LIVEKIT_ERROR' });
  rooms.letCreate();
  await clock.advance(1_000);
  expect(rooms.open.size).toBe(0);
  expect(holds()).toMatchObject(nothingHeld);
});

test('a socket that breaks while its room is being made leaves no room and no entry', async () => {
  const { url, rooms, clock, holds } = await startGateway();
  rooms.holdCreate();
  const client = await TestClient.connect(url);
  client.send({ type: 'NewSessionRequest', user_identity: 'ada' });
  await client.caughtUp();
  expect(holds().live_sessions).toBe(1);
  client.ws.terminate();
  await expect.poll(() => holds().live_sessions).toBe(0);
  rooms.letCreate();
  await clock.advance(1_000);
  expect(rooms.open.size).toBe(0);
});

test('a session ended while it is created is answered by ILLEGAL_STATE with the reason', async () => {
  const { url, rooms, holds } = await startGateway();
  rooms.holdCreate();
  const client = await TestClient.connect(url);
  client.send({ type: 'NewSessionRequest', id: 'new', user_identity: 'ada' });
  expect(await client.ask({ type: 'EndSessionRequest' })).toMatchObject({ type: 'EndSessionResponse', status: 'Terminating' });
  rooms.letCreate();
  expect(await client.next((frame) => frame.id === 'new')).toMatchObject({
    type: 'Error',
    code: 'ILLEGAL_STATE',
    details: { reason: 'client_ended' },
  });
  await expect.poll(() => rooms.open.size).toBe(0);
  expect(holds()).toMatchObject(nothingHeld);
});

test.each([
  ['an id nobody ever registered', [], 31_000, 'registration_timeout'],
  ['a service that never says ready', ['asr'], 61_000, 'join_timeout'],
])('%s ends the session in time', async (_, registered, ms, reason) => {
  const { url, rooms, clock, holds } = await startGateway();
  for (const id of registered) {
    const service = await connectService(url, id, { auto: false });
    service.ws.on('message', (data) => {
      const { type, assignment_id } = JSON.parse(String(data));
      if (type === 'JoinRoomRequest') service.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
      if (type === 'LeaveRoomRequest') service.send({ type: 'ServiceLeft', assignment_id });
    });
  }
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  // its sockets would be pinged in this time: they answer as real ones do
  await clock.advance(ms);
  expect(await client.next('SessionEnded')).toMatchObject({ reason, by: 'gateway' });
  expect(rooms.open.size).toBe(0);
  expect(holds()).toMatchObject(nothingHeld);
});

test('the session ends with its time, with the limit in its metadata, and when the user never comes', async () => {
  const { url, clock, rooms } = await startGateway();
  const open = async (more: object) => {
    const client = await TestClient.connect(url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [], ...more });
    return client;
  };
  const ttl = await open({ ttl_hours: 0.01 });
  const limit = await open({ metadata: { duration_limit: '40' } });
  const never = await open({ client_join_timeout_s: 20 });
  await clock.advance(40_000);
  expect(await ttl.next('SessionEnded')).toMatchObject({ reason: 'ttl' });
  expect(await limit.next('SessionEnded')).toMatchObject({ reason: 'duration_limit' });
  expect(await never.next('SessionEnded')).toMatchObject({ reason: 'client_never_joined' });
  expect(rooms.open.size).toBe(0);
});

test('a user who leaves may come back within twenty seconds', async () => {
  const { url, clock, rooms } = await startGateway();
  const client = await TestClient.connect(url);
  const { room_name } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  rooms.join(room_name, 'ada');
  await clock.advance(3_000);
  await client.next('SessionActive');
  rooms.leave(room_name, 'ada');
  await clock.advance(31_000);
  expect(await client.next((f) => f.type === 'SessionStatusChanged' && f.from === 'Active')).toMatchObject({ to: 'Ready' });
  rooms.join(room_name, 'ada');
  await clock.advance(3_000);
  await client.next('SessionActive');
  rooms.leave(room_name, 'ada');
  await clock.advance(60_000);
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_gone' });
});

test('an unreachable LiveKit is not an absent one, until it has been lost for a minute', async () => {
  const { url, clock, rooms } = await startGateway();
  const client = await TestClient.connect(url);
  const { room_name } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  rooms.join(room_name, 'ada');
  await clock.advance(3_000);
  await client.next('SessionActive');
  rooms.reachable = false;
  await clock.advance(60_000);
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Active' });
  await clock.advance(60_000);
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'livekit_error' });
  rooms.reachable = true;
  await clock.advance(31_000);
  expect(rooms.open.size).toBe(0);
});

test('a bound socket sees its own session and those of its user, an unbound one is the operator', async () => {
  const { url } = await startGateway();
  const [ada, alsoAda, bob, operator] = await Promise.all([1, 2, 3, 4].map(() => TestClient.connect(url)));
  if (!ada || !alsoAda || !bob || !operator) throw new Error('not connected');
  const wish = { type: 'NewSessionRequest', required_services: [] };
  const { session_id } = await ada.ask({ ...wish, user_identity: 'ada' });
  await alsoAda.ask({ ...wish, user_identity: 'ada' });
  await bob.ask({ ...wish, user_identity: 'bob' });
  expect(await ada.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, owner_id: 'ada' });
  expect(await alsoAda.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ session_id });
  expect(await operator.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ session_id });
  expect(await bob.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ type: 'Error', code: 'SESSION_NOT_FOUND' });
  expect(await bob.ask({ type: 'EndSessionRequest', session_id })).toMatchObject({ type: 'Error', code: 'SESSION_NOT_FOUND' });
  expect(await operator.ask({ type: 'GetSessionRequest', session_id: 'nobody' })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  expect(await operator.ask({ type: 'GetSessionRequest' })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  expect(await operator.ask({ type: 'EndSessionRequest', session_id })).toMatchObject({ type: 'EndSessionResponse' });
  expect(await operator.ask({ type: 'EndSessionRequest', session_id })).toMatchObject({ type: 'EndSessionResponse' });
});
