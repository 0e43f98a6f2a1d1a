import { expect, test } from 'vitest';
import { makeLog } from '../../src/log/log.ts';
import { Reconciler } from '../../src/rooms/reconcile.ts';
import { Sessions } from '../../src/sessions/commits.ts';
import { create } from '../../src/sessions/create.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { withVerbs } from '../../src/store/verbs.ts';
import { spec, t0, timeouts } from '../sessions/build.ts';
import { TestClient } from '../support/client.ts';
import { ManualClock } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { noOffers } from '../support/offers.ts';
import { FakeRooms } from '../support/rooms.ts';

test('a room behind two hundred whose users are awaited is looked at in its turn', async () => {
  const { url, rooms, clock } = await startGateway();
  for (let i = 0; i < 200; i++) await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'somebody', required_services: [] });
  const last = await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'ada', required_services: [] });
  const { session_id, room_name } = last.body as { session_id: string; room_name: string };
  rooms.join(room_name, 'ada');
  await clock.advance(30_000);
  expect((await rest(`${url}/api/v1/sessions/${session_id}`)).body).toMatchObject({ status: 'Active' });
});

test('a room created on join that nobody ever saw outlives a LiveKit that comes and goes', async () => {
  const { url, rooms, clock } = await startGateway({ livekit: { lost_after_s: 10 } });
  Object.assign(rooms, { mode: 'on_join' });
  rooms.holdCreate();
  const client = await TestClient.connect(url);
  client.send({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: ['asr'] });
  rooms.letCreate();
  await client.next('NewSessionResponse');
  rooms.reachable = false;
  await clock.advance(25_000);
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'WaitingForServices' });
});

test('while LiveKit is out of reach few rooms are looked at, and all of them when it is back', async () => {
  const { url, rooms, clock } = await startGateway();
  const made = await Promise.all(
    Array.from({ length: 50 }, (_, i) => rest(`${url}/api/v1/sessions`, 'POST', { user_identity: `user-${i}`, required_services: [] })),
  );
  let looks = 0;
  const { participants } = rooms;
  rooms.participants = (room) => {
    looks += 1;
    return participants.call(rooms, room);
  };
  rooms.reachable = false;
  await clock.advance(20_000);
  // one every half second, and those that were under way
  expect(looks).toBeLessThan(100);
  rooms.reachable = true;
  for (const [i, { body }] of made.entries()) rooms.join((body as { room_name: string }).room_name, `user-${i}`);
  await clock.advance(5_000);
  for (const { body } of made) {
    const { session_id } = body as { session_id: string };
    expect((await rest(`${url}/api/v1/sessions/${session_id}`)).body).toMatchObject({ status: 'Active' });
  }
});

test('an end that is heard of late takes nothing from the next session in a room of that name', () => {
  const clock = new ManualClock();
  const rooms = new FakeRooms(() => clock.now());
  const log = makeLog('silent');
  const sessions = new Sessions({ store: withVerbs(memoryStore(), clock), rooms, offers: () => noOffers, clock, log, timeouts });
  const reconciler = new Reconciler({ sessions, rooms, clock, log, lostAfterMs: 60_000 });
  const inLobby = (session_id: string) =>
    create(spec({ session_id, room_name: 'lobby', made_on_join: { registrationMs: 30_000 } }), t0).session;
  const [old, young] = [inLobby('old'), inLobby('young')];
  sessions.showRemote(old);
  sessions.showRemote(young);
  sessions.showRemote({ ...old, status: 'Terminated' });
  expect(reconciler.size).toBe(1);
  sessions.showRemote({ ...young, status: 'Terminated' });
  expect(reconciler.size).toBe(0);
  reconciler.close();
});
