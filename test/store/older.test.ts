import { readFileSync } from 'node:fs';
import { createClient } from '@redis/client';
import { beforeAll, expect, test } from 'vitest';
import type { Participant } from '../../src/sessions/record.ts';
import { connectService, type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { patienceMs } from '../support/patience.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { launchRedis, type RedisServer } from '../support/redis.ts';
import { comeBack } from '../support/resume.ts';
import { connect, openStore } from './postgres-support.ts';

// What a gateway left in its storage before an assignment had an identity in the room and signals named the commit: three sessions on
// sockets, ada's with a service in the room, bob's that waits for a second one, cay's that has ended. It was killed.
interface Left {
  known: {
    shown: Record<'active' | 'waiting' | 'ended', Frame & { livekit_room: string; participants: Participant[] }>;
    resume: Record<'active' | 'waiting', string>;
    assignments: Record<'active' | 'waiting', string>;
    events: { active: Frame[] };
  };
}
const read = <T>(name: string) => JSON.parse(readFileSync(new URL(`older/${name}.json`, import.meta.url), 'utf8')) as Left & T;
const patience = { timeout: patienceMs, interval: 10 };
const storage = (url: string) => ({ url, key_prefix: 'older:' });

/** Everything that was going on goes on. */
async function goesOn(url: string, { known }: Left): Promise<void> {
  const { shown, resume, assignments, events } = known;
  const { active, waiting, ended } = shown;
  const { url: at, rooms, clock } = await startGateway({ storage: storage(url) });
  for (const { livekit_room, participants } of [active, waiting]) {
    await rooms.create({ name: livekit_room } as Parameters<typeof rooms.create>[0]);
    for (const { identity, kind } of participants) rooms.join(livekit_room, identity, kind);
  }
  const shownNow = async ({ session_id }: Frame) => (await rest(`${at}/api/v1/sessions/${session_id}`)).body;
  for (const each of [active, waiting, ended]) expect(await shownNow(each)).toEqual(each);

  const held = [active, waiting].map(({ session_id }, i) => ({ session_id, assignment_id: [assignments.active, assignments.waiting][i] }));
  const asr = await TestClient.connect(at);
  asr.send({ type: 'RegisterServiceRequest', id: 'again', service_id: 'asr', instance_id: 'asr-1', metadata: { type: 'ASR' }, held });
  expect(await asr.next('RegisterServiceResponse')).toMatchObject({
    keep: [assignments.active, assignments.waiting],
    release: [],
  });

  const last = events.active.at(-3)?.seq;
  const ada = await comeBack(at, { type: '', session_id: active.session_id, resume_token: resume.active }, last);
  expect(ada.answer).toMatchObject({ type: 'ResumeResponse', recovered: true });
  for (const missed of events.active.slice(-2)) expect(await ada.client.next(({ seq }) => seq === missed.seq)).toEqual(missed);
  expect((await ada.client.ask({ type: 'GetMessagesRequest' })).items.map(({ content }: Frame) => content)).toEqual([
    'hello',
    'hello, ada',
  ]);
  expect(await ada.client.ask({ type: 'AddMessageRequest', role: 'user', content: 'still here' })).toMatchObject({
    type: 'AddMessageResponse',
  });

  const bob = await comeBack(at, { type: '', session_id: waiting.session_id, resume_token: resume.waiting }, waiting.seq);
  expect(bob.answer).toMatchObject({ recovered: true });
  const llm = await connectService(at, 'llm', { auto: false });
  const offer = await llm.next('JoinRoomRequest');
  expect(offer).toMatchObject({ service_identity: 'llm', session_id: waiting.session_id });
  llm.send({ type: 'JoinRoomResponse', assignment_id: offer.assignment_id, accepted: true });
  llm.send({ type: 'ServiceReady', assignment_id: offer.assignment_id });
  expect(await bob.client.next('SessionReady')).toMatchObject({ access_token: expect.any(String) });

  // the service is known in the room by its id: that it leaves is noticed
  rooms.leave(active.livekit_room, 'asr');
  const cameTo = (client: TestClient, wanted: object) =>
    expect
      .poll(async () => {
        await clock.advance(1_000);
        return client.all;
      }, patience)
      .toContainEqual(expect.objectContaining(wanted));
  await cameTo(ada.client, { type: 'ParticipantChanged', present: false, participant: expect.objectContaining({ identity: 'asr' }) });
  await cameTo(asr, { type: 'LeaveRoomRequest', assignment_id: assignments.active });
  ada.client.send({ type: 'EndSessionRequest', id: 'end' });
  await cameTo(ada.client, { type: 'SessionEnded', reason: 'client_ended' });
}

describeWith(parts.redis)('a Redis that older code has filled', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await launchRedis();
    return () => redis.stop();
  });

  test('is read on: sessions, messages, keys and resume tokens hold', async () => {
    const left = read<{ keys: Record<string, [string, string[]]> }>('redis');
    const client = createClient({ url: redis.url });
    await client.connect();
    for (const [key, [write, words]] of Object.entries(left.keys)) await client.sendCommand([write, key, ...words]);
    await client.close();
    await goesOn(redis.url, left);
  });
});

describeWith(parts.postgres)('a PostgreSQL that older code has filled', () => {
  const server = sharedPostgres();

  test('is brought up to date and read on: sessions, messages, keys and resume tokens hold', async () => {
    const left = read<{ rows: Record<string, object[]> }>('postgres');
    const { url } = server();
    await (await openStore(url, { keyPrefix: 'older:' })).ping();
    const sql = await connect(url);
    await sql.query('TRUNCATE older_migrations');
    for (const [name, rows] of Object.entries(left.rows)) {
      await sql.query(`INSERT INTO ${name} SELECT * FROM json_populate_recordset(null::${name}, $1)`, [JSON.stringify(rows)]);
    }
    await goesOn(url, left);
  });
});
