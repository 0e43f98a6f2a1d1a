import { beforeAll, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { openStore, registerStoreProvider } from '../../src/store/open.ts';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { launchRedis } from '../support/redis.ts';
import { eventsAt } from '../support/resume.ts';

/** The reads of `url` that follow a session: its events, and its record. */
function counted(url: string) {
  const reads = { eventsAfter: 0, loadSession: 0 };
  registerStoreProvider('counted', async (options): Promise<StoreProvider> => {
    const store = url === 'memory:' ? memoryStore() : await openStore({ url }, { ...options, keyPrefix: `own${Date.now()}:` });
    return {
      ...store,
      eventsAfter(...asked) {
        reads.eventsAfter += 1;
        return store.eventsAfter(...asked);
      },
      loadSession(id) {
        reads.loadSession += 1;
        return store.loadSession(id);
      },
    };
  });
  return { reads, storage: { url: 'counted:' } };
}

function suite(url: () => string): void {
  test('what a node commits it does not read back for the sockets that follow the session', async () => {
    const { reads, storage } = counted(url());
    const { url: at, rooms, clock } = await startGateway({ storage });
    const ids = ['asr', 'llm', 'tts'];
    const services = await Promise.all(ids.map((id) => connectService(at, id)));
    const ada = await TestClient.connect(at);
    const wish = { type: 'NewSessionRequest', user_identity: 'ada', required_services: ids, visibility: 'public' };
    const { session_id, livekit_room } = await ada.ask(wish);
    expect(await ada.next('SessionReady')).toMatchObject({ access_token: expect.any(String) });
    const bob = await TestClient.connect(at);
    await bob.ask({ type: 'WatchRequest', session_id });
    reads.eventsAfter = 0;
    for (const id of ids) rooms.join(livekit_room, id, 'agent');
    rooms.join(livekit_room, 'ada');
    await clock.advance(2_000);
    await ada.next('SessionActive');
    const before = reads.loadSession;
    for (let i = 0; i < 100; i++) ada.send({ type: 'AddMessageRequest', id: `m${i}`, role: 'user', content: `${i}` });
    ada.send({ type: 'UpdateSessionRequest', id: 'update', context_updates: { turn: 1 } });
    ada.send({ type: 'EndSessionRequest', id: 'end' });
    for (const client of [ada, bob]) await client.next('SessionEnded');
    for (const service of services) await service.next('LeaveRoomRequest');
    expect(reads.eventsAfter).toBe(0);
    // one where a request is checked, one where it is decided; none for the two that follow
    expect(reads.loadSession - before).toBeLessThanOrEqual(2 * 102 + 10);
    const seqs = eventsAt(ada).map(({ seq }) => seq);
    expect(seqs).toEqual(Array.from(seqs, (_, i) => seqs[0] + i));
    expect(eventsAt(bob).map(({ seq }) => seq)).toEqual(seqs.slice(-eventsAt(bob).length));
    expect(eventsAt(bob).length).toBeGreaterThan(101);
  });
}

describe('on memory', () => suite(() => 'memory:'));

describeWith(parts.redis)('on Redis', () => {
  let url = '';
  beforeAll(async () => {
    const redis = await launchRedis();
    url = redis.url;
    return () => redis.stop();
  });
  suite(() => url);
});

describeWith(parts.postgres)('on PostgreSQL', () => {
  const server = sharedPostgres();
  suite(() => server().url);
});

test('what a write did whose answer was lost comes to those who follow the session', async () => {
  let isLost = false;
  registerStoreProvider('forgetful', async (): Promise<StoreProvider> => {
    const memory = memoryStore();
    return {
      ...memory,
      async saveSession(...args) {
        await memory.saveSession(...args);
        if (isLost) throw new StorageError('no answer came');
      },
    };
  });
  const { url } = await startGateway({ storage: { url: 'forgetful:' } });
  const ada = await TestClient.connect(url);
  const { session_id } = await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false });
  isLost = true;
  const said = await rest(`${url}/api/v1/sessions/${session_id}/messages`, 'POST', { role: 'user', content: 'is it there?' });
  expect(said).toMatchObject({ status: 503, body: { code: 'STORAGE_ERROR' } });
  expect(await ada.next('MessageAdded')).toMatchObject({ content: 'is it there?' });
  isLost = false;
});
