import { describe, expect, test } from 'vitest';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

async function waiting(url: string, more: object = {}) {
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], ...more });
  return { client, session_id: made.session_id as string, room: made.room_name as string };
}

test('a service that registers late is offered what waits for it', async () => {
  const { url } = await startGateway();
  const { client } = await waiting(url);
  await connectService(url, 'asr');
  await client.next('SessionReady');
});

test('a service id is held by one live instance', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr', { instance_id: 'a' });
  const other = await TestClient.connect(url);
  const refused = await other.ask({ type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'b' });
  expect(refused).toMatchObject({
    type: 'Error',
    code: 'SERVICE_ID_EXISTS',
    error: 'InvalidRequest',
    message:
      'Service ID already exists: another process holds this service_id; give each process its own id and ask for services by metadata, or send its instance_id if it is the same service',
  });
  expect(await other.ask({ type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'a' })).toMatchObject({ success: true });
  expect(await other.ask({ type: 'RegisterServiceRequest', service_id: 'tts' })).toMatchObject({ code: 'FORBIDDEN' });
});

test('a registration that comes late, over a socket that its service has given up, takes nothing from the newer one', async () => {
  const { url } = await startGateway();
  const late = await TestClient.connect(url);
  await connectService(url, 'asr', { instance_id: 'a' });
  late.send({ type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'a' });
  expect(await late.closed).toEqual({ code: 4409, reason: 'taken over' });
  const { client } = await waiting(url);
  await client.next('SessionReady');
});

/** A gateway whose storage takes what is given to it when a test says so; `isHeld` tells what waits for that. */
async function slowStage(isHeld: (session: Session) => boolean = () => true) {
  let slow: Promise<void> | undefined;
  let letGo = () => {};
  registerStoreProvider('taking-its-time', async (): Promise<StoreProvider> => {
    const memory = memoryStore();
    return {
      ...memory,
      async saveSession(session, ...more) {
        if (isHeld(session)) await slow;
        await memory.saveSession(session, ...more);
      },
    };
  });
  const hold = () => {
    slow = new Promise((go) => {
      letGo = go;
    });
  };
  return { ...(await startGateway({ storage: { url: 'taking-its-time:' } })), hold, letGo: () => letGo() };
}

test('nothing is offered to a service before its registration is answered', async () => {
  let held = '';
  const { url, hold, letGo } = await slowStage(({ session_id }) => session_id === held);
  const old = await connectService(url, 'asr', { instance_id: 'a' });
  const { client, session_id } = await waiting(url);
  const { assignment_id } = await old.next('JoinRoomRequest');
  await client.next('SessionReady');
  const fresh = await TestClient.connect(url);
  held = session_id;
  hold();
  fresh.send({ type: 'RegisterServiceRequest', id: 'r', service_id: 'asr', instance_id: 'a', held: [{ session_id, assignment_id }] });
  await old.closed;
  const other = await TestClient.connect(url);
  await other.ask({ type: 'NewSessionRequest', user_identity: 'eve', required_services: ['asr'] });
  await other.caughtUp();
  letGo();
  await fresh.next('JoinRoomRequest');
  const types = fresh.types().filter((type) => type !== 'Hello');
  expect(types.slice(0, 2)).toEqual(['RegisterServiceResponse', 'JoinRoomRequest']);
});

test('a late registration is known as such also while the storage takes what the newer socket holds', async () => {
  const { url, hold, letGo } = await slowStage();
  const old = await connectService(url, 'asr', { instance_id: 'a' });
  const { client, session_id } = await waiting(url);
  const { assignment_id } = await old.next('JoinRoomRequest');
  await client.next('SessionReady');
  const late = await TestClient.connect(url);
  const fresh = await TestClient.connect(url);
  hold();
  const register = { type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'a' };
  const answer = fresh.ask({ ...register, held: [{ session_id, assignment_id }] });
  await old.closed;
  late.send(register);
  await Promise.race([late.closed, fresh.closed]);
  letGo();
  expect(await answer).toMatchObject({ type: 'RegisterServiceResponse', keep: [assignment_id] });
  expect(await late.closed).toEqual({ code: 4409, reason: 'taken over' });
});

test('a service whose socket has gone may be replaced by any instance of its id', async () => {
  const { url } = await startGateway();
  const old = await connectService(url, 'asr', { instance_id: 'a' });
  old.ws.terminate();
  await old.closed;
  const fresh = await TestClient.connect(url);
  await expect
    .poll(async () => (await fresh.ask({ type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'b' })).type)
    .toBe('RegisterServiceResponse');
});

test('a declined offer is made again after the asked pause, and the client is sent each step', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const { client } = await waiting(url);
  const first = await asr.next('JoinRoomRequest');
  asr.send({ type: 'JoinRoomResponse', assignment_id: first.assignment_id, accepted: false, reason: 'warming up', retry_after_ms: 4_000 });
  expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr', status: 'Registered', attempt: 1, error: 'warming up' });
  await clock.advance(3_000);
  await asr.caughtUp();
  expect(asr.frames.filter((f) => f.type === 'JoinRoomRequest')).toEqual([]);
  await clock.advance(2_000);
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ attempt: 2, resuming: false });
});

describe('an offer nobody answers in ten seconds', () => {
  const timedOut = async (more: object = {}) => {
    const { url, clock } = await startGateway();
    const asr = await connectService(url, 'asr', { auto: false, ...more });
    const { client, session_id } = await waiting(url);
    const { assignment_id } = await asr.next('JoinRoomRequest');
    await clock.advance(10_000);
    expect(await asr.next('LeaveRoomRequest')).toMatchObject({ assignment_id });
    expect(await client.next((f) => f.error)).toMatchObject({ status: 'Registered', error: 'the service did not answer the offer' });
    return { url, clock, asr, client, session_id, assignment_id };
  };

  test('has failed, and a late accept is taken while nobody else was asked', async () => {
    const { clock, asr, client, assignment_id } = await timedOut();
    asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    expect(await client.next('ServiceStatusChanged')).toMatchObject({ status: 'Joining', assignment_id, attempt: 1 });
    await clock.advance(20_000);
    expect(await asr.ask({ type: 'ServiceReady', assignment_id })).toMatchObject({ all_ready: true });
    await client.next('SessionReady');
    expect(asr.types()).not.toContain('Error');
    expect(asr.all.filter((f) => f.type === 'JoinRoomRequest')).toHaveLength(1);
  });

  test.each(
    [1, 2, 3, 4].flatMap((pause) => [
      { pause, over: 'the socket', name: 'session_id' },
      { pause, over: 'the socket', name: 'assignment_id' },
      { pause, over: 'REST', name: 'session_id' },
    ]),
  )('is taken by a late ready over $over that names its $name, in the pause after offer $pause', async ({ pause, over, name }) => {
    const { url, clock, asr, client, session_id, assignment_id: first } = await timedOut();
    let assignment_id = first;
    for (let offer = 2; offer <= pause; offer++) {
      await clock.advance(1_000 * 2 ** (offer - 2));
      ({ assignment_id } = await asr.next('JoinRoomRequest'));
      await clock.advance(10_000);
      expect(await asr.next('LeaveRoomRequest')).toMatchObject({ assignment_id });
    }
    const names = name === 'session_id' ? { session_id, service_id: 'asr' } : { assignment_id };
    const said =
      over === 'REST'
        ? (await rest(`${url}/api/v1/sessions/${session_id}/ready`, 'POST', { service_id: 'asr' })).body
        : await asr.ask({ type: 'ServiceReady', ...names });
    expect(said).toMatchObject({ success: true, session_id, all_ready: true });
    await client.next('SessionReady');
    expect((await client.ask({ type: 'GetSessionRequest' })).services).toMatchObject([{ status: 'Ready', assignment_id }]);
  });

  test('is taken for the place that still waits, where another of the same session was offered to somebody else', async () => {
    const { url, clock } = await startGateway();
    const asr = await connectService(url, 'asr', { auto: false, metadata: { type: 'ASR', language: 'zh-CN' } });
    const { client, session_id } = await waiting(url, { required_services: [{ type: 'ASR', language: 'zh-CN' }, { type: 'ASR' }] });
    const first = await asr.next('JoinRoomRequest');
    await clock.advance(10_000);
    await asr.next('JoinRoomRequest');
    asr.send({ type: 'ServiceStatus', status: 'full' });
    await asr.caughtUp();
    await clock.advance(10_000);
    await client.next((f) => f.error && f.assignment_id !== first.assignment_id);
    const other = await connectService(url, 'other', { metadata: { type: 'ASR' } });
    await other.next('JoinRoomRequest');
    expect(await asr.ask({ type: 'ServiceReady', session_id, service_id: 'asr' })).toMatchObject({ success: true });
    expect((await client.ask({ type: 'GetSessionRequest' })).services[0]).toMatchObject({ assignment_id: first.assignment_id });
  });

  test('is over once its place was offered again', async () => {
    const { clock, asr, assignment_id } = await timedOut();
    await clock.advance(2_000);
    expect((await asr.next('JoinRoomRequest')).assignment_id).not.toBe(assignment_id);
    asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    expect(await asr.next('LeaveRoomRequest')).toMatchObject({ assignment_id, reason: 'the offer is over' });
    expect(await asr.ask({ type: 'ServiceReady', assignment_id })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
  });

  test('is over where its slot was taken meanwhile', async () => {
    const { url, asr, assignment_id } = await timedOut({ max_sessions: 1 });
    await waiting(url);
    await asr.next('JoinRoomRequest');
    expect(await asr.ask({ type: 'ServiceReady', assignment_id })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
  });

  test('is over with its session', async () => {
    const { asr, client, assignment_id, session_id } = await timedOut();
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    expect(await asr.next('LeaveRoomRequest')).toMatchObject({ assignment_id });
    expect(await asr.ask({ type: 'ServiceReady', session_id, service_id: 'asr' })).toMatchObject({ code: 'ILLEGAL_STATE' });
  });
});

test('a full service takes its next session when a slot is free', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr', { max_sessions: 1 });
  const first = await waiting(url);
  await first.client.next('SessionReady');
  const second = await waiting(url);
  await second.client.caughtUp();
  expect(second.client.types()).not.toContain('SessionReady');
  await first.client.ask({ type: 'EndSessionRequest' });
  await second.client.next('SessionReady');
});

test('a service that comes back within five seconds with what it holds is kept', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false, instance_id: 'a' });
  const { client, session_id } = await waiting(url);
  const { assignment_id } = await asr.next('JoinRoomRequest');
  await asr.ask({ type: 'ServiceReady', assignment_id });
  await client.next('SessionReady');
  asr.ws.terminate();
  await asr.closed;
  await clock.advance(2_000);
  const back = await TestClient.connect(url);
  const held = [
    { session_id, assignment_id },
    { session_id, assignment_id: 'long-over' },
  ];
  expect(await back.ask({ type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'a', held })).toMatchObject({
    keep: [assignment_id],
    release: ['long-over'],
  });
  await clock.advance(10_000);
  await client.caughtUp();
  expect(client.types()).not.toContain('SessionDegraded');
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health: 'ok', ready_services: ['asr'] });
});

test('a service lost after ready leaves the session degraded until a fresh one serves', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr');
  const { client } = await waiting(url);
  await client.next('SessionReady');
  asr.ws.terminate();
  await asr.closed;
  await clock.advance(6_000);
  expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['asr'] });
  const fresh = await connectService(url, 'asr');
  expect(await fresh.next('JoinRoomRequest')).toMatchObject({ attempt: 2, resuming: true, deadline_ms: 60_000 });
  await client.next('SessionRestored');
});

test('a service that restarted without what it held is asked anew at once', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { instance_id: 'a' });
  const { client } = await waiting(url);
  await client.next('SessionReady');
  asr.ws.terminate();
  await asr.closed;
  await clock.advance(1_000);
  const fresh = await connectService(url, 'asr', { instance_id: 'b' });
  expect(await fresh.next('JoinRoomRequest')).toMatchObject({ resuming: true });
  await client.next('SessionRestored');
});

test('a lost service that nobody replaces ends the session', async () => {
  const { url, clock, rooms } = await startGateway();
  const asr = await connectService(url, 'asr');
  const { client, room } = await waiting(url);
  await client.next('SessionReady');
  rooms.join(room, 'ada');
  asr.ws.terminate();
  await asr.closed;
  await clock.advance(70_000);
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'service_lost' });
  expect(rooms.open.size).toBe(0);
});

test('a service lost before ready stays wanted until the join deadline', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const { client } = await waiting(url);
  const { assignment_id } = await asr.next('JoinRoomRequest');
  asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
  await asr.caughtUp();
  asr.ws.terminate();
  await asr.closed;
  await clock.advance(20_000);
  await connectService(url, 'asr');
  await client.next('SessionReady');
});

test('ServiceFailed and ServiceLeft unasked make the service wanted again', async () => {
  const { url, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const { client } = await waiting(url);
  const first = await asr.next('JoinRoomRequest');
  asr.send({ type: 'ServiceFailed', assignment_id: first.assignment_id, error: 'no model' });
  expect(await client.next((f) => f.error === 'no model')).toMatchObject({ status: 'Registered' });
  await clock.advance(2_000);
  const second = await asr.next('JoinRoomRequest');
  await asr.ask({ type: 'ServiceReady', assignment_id: second.assignment_id });
  await client.next('SessionReady');
  asr.send({ type: 'ServiceLeft', assignment_id: second.assignment_id, clean: true });
  await client.next('SessionDegraded');
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ attempt: 3, resuming: true });
});

test('a registered socket speaks only for its own service and its own assignments', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const tts = await connectService(url, 'tts', { auto: false });
  const { session_id } = await waiting(url, { required_services: ['asr', 'tts'] });
  const { assignment_id } = await asr.next('JoinRoomRequest');
  expect(await tts.ask({ type: 'ServiceReady', session_id, service_id: 'asr' })).toMatchObject({ code: 'FORBIDDEN' });
  for (const type of ['ServiceReady', 'ServiceFailed']) {
    expect(await tts.ask({ type, assignment_id })).toMatchObject({ type: 'Error', code: 'ASSIGNMENT_NOT_FOUND' });
  }
  expect(await asr.ask({ type: 'ServiceReady', session_id: 'another', service_id: 'asr' })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  expect(await asr.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({ code: 'FORBIDDEN' });
});

test('without authentication ready may be said by a socket that registered nothing', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr', { auto: false });
  const { client, session_id } = await waiting(url);
  const hand = await TestClient.connect(url);
  expect(await hand.ask({ type: 'ServiceReady', session_id, service_id: 'asr' })).toMatchObject({ success: true, all_ready: true });
  await client.next('SessionReady');
  expect(await hand.ask({ type: 'ServiceReady', session_id, service_id: 'tts' })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
});

test('ready for a session that has ended is refused with the reason', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const { client, session_id } = await waiting(url);
  await asr.next('JoinRoomRequest');
  await client.ask({ type: 'EndSessionRequest' });
  expect(await asr.ask({ type: 'ServiceReady', session_id, service_id: 'asr' })).toMatchObject({
    code: 'ILLEGAL_STATE',
    details: { reason: 'client_ended' },
  });
});

test('services that do not leave are not waited for longer than three seconds', async () => {
  const { url, clock, holds } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const { client } = await waiting(url);
  await asr.next('JoinRoomRequest');
  await client.ask({ type: 'EndSessionRequest' });
  await asr.next('LeaveRoomRequest');
  await clock.advance(4_000);
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
  expect(holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });
});

test('what a service says of one session waits for no other session, and what follows waits for all of it', async () => {
  let slow = '';
  let letGo = () => {};
  registerStoreProvider('slow-for-one', async (): Promise<StoreProvider> => {
    const memory = memoryStore();
    const isOver = new Promise<void>((go) => {
      letGo = go;
    });
    return {
      ...memory,
      async saveSession(session, ...rest) {
        if (session.session_id === slow) await isOver;
        await memory.saveSession(session, ...rest);
      },
    };
  });
  const { url } = await startGateway({ storage: { url: 'slow-for-one:' } });
  const asr = await connectService(url, 'asr', { auto: false });
  const [held, free] = [await waiting(url), await waiting(url)];
  slow = held.session_id;
  asr.send({ type: 'ServiceReady', id: 'held', session_id: held.session_id, service_id: 'asr' });
  expect(await asr.ask({ type: 'ServiceReady', session_id: free.session_id, service_id: 'asr' })).toMatchObject({ success: true });
  await free.client.next('SessionReady');
  asr.send({ type: 'GetSessionRequest', id: 'after', session_id: held.session_id });
  asr.send({ type: 'Ping', id: 'last' });
  // a later socket is answered at once, so this one would have been too
  await (await TestClient.connect(url)).ask({ type: 'Ping' });
  expect(asr.all.filter(({ id }) => id === 'held' || id === 'after' || id === 'last')).toEqual([]);
  letGo();
  await asr.next((frame) => frame.id === 'last');
  const answers = asr.all.filter(({ id }) => id === 'held' || id === 'after' || id === 'last');
  expect(answers).toMatchObject([{ type: 'ServiceReadyResponse' }, { type: 'GetSessionResponse', status: 'Ready' }, { type: 'Pong' }]);
});

test('what is refused is refused in its turn, behind what was said before it', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  await waiting(url);
  const { assignment_id } = await asr.next('JoinRoomRequest');
  const names = Array.from({ length: 25 }, (_, i) => [`good ${i}`, `bad ${i}`]).flat();
  for (const id of names) asr.send({ type: 'ServiceReady', id, assignment_id: id.startsWith('good') ? assignment_id : 7 });
  await asr.ask({ type: 'Ping' });
  expect(asr.all.map(({ id }) => id).filter((id) => names.includes(id))).toEqual(names);
  asr.send({ type: 'ServiceReady', id: 'last', assignment_id });
  asr.ws.send('{');
  expect(await asr.closed).toMatchObject({ code: 4400 });
  expect(asr.all.map(({ id }) => id)).toContain('last');
});

test('a socket that ends while a request waits for those before it does nothing more', async () => {
  let letGo = () => {};
  let isSlow = false;
  registerStoreProvider('slow-at-will', async (): Promise<StoreProvider> => {
    const memory = memoryStore();
    const isOver = new Promise<void>((go) => {
      letGo = go;
    });
    return {
      ...memory,
      async saveSession(...args) {
        if (isSlow) await isOver;
        await memory.saveSession(...args);
      },
    };
  });
  const { url } = await startGateway({ storage: { url: 'slow-at-will:' } });
  const asr = await connectService(url, 'asr', { auto: false });
  const { client } = await waiting(url);
  const { assignment_id } = await asr.next('JoinRoomRequest');
  isSlow = true;
  asr.send({ type: 'ServiceReady', assignment_id });
  asr.send({ type: 'DeregisterServiceRequest', drain: false });
  asr.ws.close();
  await asr.closed;
  letGo();
  await client.next('SessionReady');
  // it is away, and was not deregistered
  const { body } = await rest(`${url}/api/v1/microservices`, 'GET');
  expect(JSON.stringify(body)).toContain('"service_id":"asr"');
});

test('a room name that another live session has, by its id, is not given to anybody', async () => {
  const { url, rooms } = await startGateway();
  const { session_id, room } = await waiting(url);
  const other = await TestClient.connect(url);
  const wish = { type: 'NewSessionRequest', user_identity: 'bob', room_name: room, required_services: [] };
  expect(await other.ask(wish)).toMatchObject({ code: 'ROOM_NAME_IN_USE' });
  expect(room).toBe(`room-${session_id}`);
  expect(rooms.open.size).toBe(1);
  expect(await other.ask({ ...wish, room_name: 'room-of-bob' })).toMatchObject({ room_name: 'room-of-bob' });
});
