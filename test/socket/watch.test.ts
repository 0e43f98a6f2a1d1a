import { expect, test } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { connectService, type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

const watch = (client: TestClient, session_id: string) => client.ask({ type: 'WatchRequest', session_id });
/** Events of a session that came here, the ones already taken too. */
const eventsOf = (client: TestClient, id: string): Frame[] =>
  client.all.filter((frame) => frame.session_id === id && frame.ts !== undefined && frame.type !== 'Error');

/** A store that says how many follow its logs. */
function counting() {
  let subscriptions = 0;
  registerStoreProvider('counting', async (): Promise<StoreProvider> => {
    const store = memoryStore();
    return {
      ...store,
      shared: true,
      subscribe(id, wake) {
        subscriptions += 1;
        store.subscribe(id, wake);
      },
      unsubscribe(id, wake) {
        subscriptions -= 1;
        store.unsubscribe(id, wake);
      },
    };
  });
  return { storage: { url: 'counting:' }, subscriptions: () => subscriptions };
}

/** A gateway with ada's session over REST, and bob, whose socket holds one of his own. */
async function stage(wish: object = {}, config: Parameters<typeof startGateway>[0] = {}) {
  const gateway = await startGateway(config);
  const api = `${gateway.url}/api/v1/sessions`;
  const { body } = await rest(api, 'POST', { user_identity: 'ada', room: false, visibility: 'public', ...wish });
  const bob = await TestClient.connect(gateway.url);
  await bob.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
  const id: string = body.session_id;
  const say = (content: string) => rest(`${api}/${id}/messages`, 'POST', { role: 'user', content });
  return { ...gateway, api, id, bob, say };
}

test('a watcher gets the session as it is, then each event once, in order, with that session s seq and without a token', async () => {
  const { url, rooms, clock } = await startGateway();
  const asr = await connectService(url, 'asr', { auto: false });
  const ada = await TestClient.connect(url);
  const made = await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], visibility: 'public' });
  const { session_id, room_name } = made;
  const bob = await TestClient.connect(url);
  await bob.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
  const { assignment_id } = await asr.next('JoinRoomRequest');

  const begun = await watch(bob, session_id);
  expect(begun).toMatchObject({
    type: 'WatchResponse',
    session_id,
    session: { session_id, status: 'WaitingForServices', owner_id: 'ada' },
  });
  expect(begun.seq).toBe(begun.session.seq);
  expect(begun.session).not.toHaveProperty('shares');

  asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
  await asr.ask({ type: 'ServiceReady', assignment_id });
  expect(await ada.next('SessionReady')).toMatchObject({ access_token: 'client-token-of-ada' });
  rooms.join(room_name, 'ada');
  await clock.advance(3_000);
  await ada.ask({ type: 'AddMessageRequest', role: 'user', content: 'hello' });
  await ada.ask({ type: 'UpdateSessionRequest', context_updates: { turn: 1 } });
  asr.send({ type: 'ServiceLeft', assignment_id });
  await ada.ask({ type: 'EndSessionRequest' });
  await clock.advance(11_000);
  await ada.next('SessionEnded');
  await bob.next((frame) => frame.type === 'SessionEnded' && frame.session_id === session_id);

  const seen = eventsOf(bob, session_id);
  expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, i) => begun.seq + 1 + i));
  const told = eventsOf(ada, session_id).filter(({ seq }) => seq > begun.seq);
  expect(seen).toEqual(told.map(({ access_token: _, ...event }) => event));
  expect(seen.map(({ type }) => type)).toEqual(
    expect.arrayContaining(['ServiceStatusChanged', 'SessionReady', 'SessionActive', 'MessageAdded', 'SessionUpdated', 'SessionEnded']),
  );
  expect(JSON.stringify(bob.all)).not.toContain('access_token');
  expect(JSON.stringify(bob.all)).not.toContain('client-token-of-ada');
});

test('the operator watches any session on a socket that holds none', async () => {
  const { url, id, say } = await stage({ visibility: 'private' });
  const operator = await TestClient.connect(url);
  expect(await watch(operator, id)).toMatchObject({ type: 'WatchResponse' });
  await say('hello');
  expect(await operator.next('MessageAdded')).toMatchObject({ session_id: id, content: 'hello' });
});

test('nothing comes after UnwatchRequest, which succeeds again', async () => {
  const { id, bob, say } = await stage();
  await watch(bob, id);
  await say('before');
  await bob.next('MessageAdded');
  for (let twice = 0; twice < 2; twice++)
    expect(await bob.ask({ type: 'UnwatchRequest', session_id: id })).toMatchObject({ type: 'UnwatchResponse', session_id: id });
  await say('after');
  await bob.caughtUp();
  expect(eventsOf(bob, id)).toHaveLength(1);
  expect(await bob.ask({ type: 'UnwatchRequest', session_id: 'nobody' })).toMatchObject({ type: 'UnwatchResponse' });
});

test('watching twice begins anew, and each event still comes once', async () => {
  const { id, bob, say } = await stage();
  const first = await watch(bob, id);
  await say('one');
  await bob.next('MessageAdded');
  const second = await watch(bob, id);
  expect(second.seq).toBe(first.seq + 1);
  await say('two');
  await bob.caughtUp();
  expect(eventsOf(bob, id).map(({ content }) => content)).toEqual(['one', 'two']);
});

test('two requests to watch in one breath are both answered, and each event comes once', async () => {
  const { id, bob, say } = await stage();
  bob.send({ type: 'WatchRequest', id: 'w1', session_id: id });
  bob.send({ type: 'WatchRequest', id: 'w2', session_id: id });
  for (const asked of ['w1', 'w2']) expect(await bob.next((frame) => frame.id === asked)).toMatchObject({ type: 'WatchResponse' });
  await say('one');
  await bob.caughtUp();
  expect(eventsOf(bob, id)).toHaveLength(1);
});

test('events that come while a watch begins are neither lost nor doubled', async () => {
  const { id, bob, say } = await stage();
  const says = Array.from({ length: 40 }, (_, i) => i).map((i) => say(`${i}`));
  const { seq } = await watch(bob, id);
  const seqs = (await Promise.all(says)).map(({ body }) => body.seq as number).sort((a, b) => a - b);
  await bob.caughtUp();
  expect(eventsOf(bob, id).map((event) => event.seq)).toEqual(seqs.filter((one) => one > seq));
});

test('thirty-two sessions are watched at once, and one more is refused until one is given back', async () => {
  const { api, bob } = await stage();
  const ids: string[] = [];
  for (let i = 0; i < 33; i++)
    ids.push((await rest(api, 'POST', { user_identity: 'ada', room: false, visibility: 'public' })).body.session_id);
  for (const id of ids.slice(0, 32)) expect(await watch(bob, id)).toMatchObject({ type: 'WatchResponse' });
  const [first = '', last = ''] = [ids[0], ids[32]];
  expect(await watch(bob, last)).toMatchObject({ type: 'Error', code: 'ILLEGAL_STATE' });
  expect(await watch(bob, first)).toMatchObject({ type: 'WatchResponse' });
  await bob.ask({ type: 'UnwatchRequest', session_id: first });
  expect(await watch(bob, last)).toMatchObject({ type: 'WatchResponse' });
  // the end of one frees its place as well
  expect(await watch(bob, first)).toMatchObject({ type: 'Error', code: 'ILLEGAL_STATE' });
  await rest(`${api}/${last}`, 'DELETE');
  await bob.next((frame) => frame.type === 'SessionEnded' && frame.session_id === last);
  expect(await watch(bob, first)).toMatchObject({ type: 'WatchResponse' });
});

test.each([
  ['made private', 'PATCH', '', { visibility: 'private' }],
  ['unshared', 'DELETE', '/share/bob', undefined],
] as const)('a session that is %s is not reported from then on', async (_, method, suffix, body) => {
  const { api, id, bob, say, subscriptions } = await (async () => {
    const { storage, subscriptions } = counting();
    return { ...(await stage({ visibility: 'private' }, { storage })), subscriptions };
  })();
  await rest(`${api}/${id}/share`, 'POST', { target_user_id: 'bob' });
  await watch(bob, id);
  await say('for bob too');
  await bob.next('MessageAdded');
  const before = subscriptions();
  expect((await rest(`${api}/${id}`, 'GET')).status).toBe(200);
  expect((await rest(`${api}/${id}${suffix}`, method, body)).status).toBe(200);
  await say('not for bob');
  await rest(`${api}/${id}`, 'DELETE');
  await bob.caughtUp();
  expect(eventsOf(bob, id).map(({ content }) => content)).toEqual(['for bob too']);
  // the watcher's, and the node's own of the session that has ended
  expect(subscriptions()).toBe(before - 2);
  expect(await watch(bob, id)).toMatchObject({ code: 'SESSION_NOT_FOUND' });
});

test('one whose place is taken by a lesser one still watches', async () => {
  const { api, id, bob, say } = await stage({ visibility: 'private' });
  await rest(`${api}/${id}/share`, 'POST', { target_user_id: 'bob' });
  await watch(bob, id);
  await rest(`${api}/${id}/share`, 'POST', { target_user_id: 'bob', role: 'viewer' });
  await say('for bob too');
  expect(await bob.next('MessageAdded')).toMatchObject({ content: 'for bob too' });
});

test('the end of a watched session is the last that is sent of it, and frees its place', async () => {
  const { storage, subscriptions } = counting();
  const { api, id, bob } = await stage({}, { storage });
  const before = subscriptions();
  await watch(bob, id);
  expect(subscriptions()).toBe(before + 1);
  await rest(`${api}/${id}`, 'DELETE');
  expect(await bob.next('SessionEnded')).toMatchObject({ session_id: id, reason: 'owner_deleted' });
  await bob.caughtUp();
  // the node's own of the session that has ended went as well
  expect(subscriptions()).toBe(before - 1);
  // the watcher's own session goes on
  expect(await bob.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Active', owner_id: 'bob' });
});

test('a session that has ended is shown, and takes no place', async () => {
  const { storage, subscriptions } = counting();
  const { api, id, bob } = await stage({}, { storage });
  await rest(`${api}/${id}`, 'DELETE');
  const before = subscriptions();
  expect(await watch(bob, id)).toMatchObject({ type: 'WatchResponse', session: { status: 'Terminated', end_reason: 'owner_deleted' } });
  await bob.caughtUp();
  expect(subscriptions()).toBe(before);
});

test.each([
  ['closes', (client: TestClient) => client.ws.close()],
  ['breaks', (client: TestClient) => client.ws.terminate()],
])('a watcher whose socket %s leaves nothing behind', async (_, end) => {
  const { storage, subscriptions } = counting();
  const { url, id, bob, say, ...gateway } = await stage({}, { storage });
  const watcher = await TestClient.connect(url);
  const before = subscriptions();
  await watch(watcher, id);
  await watch(bob, id);
  // one for both
  expect(subscriptions()).toBe(before + 1);
  end(watcher);
  await expect.poll(() => gateway.holds().sockets).toBe(1);
  await say('bob is still there');
  expect(await bob.next('MessageAdded')).toMatchObject({ content: 'bob is still there' });
  await bob.ask({ type: 'UnwatchRequest', session_id: id });
  expect(subscriptions()).toBe(before);
});

test('one does not watch the session that the own socket holds, nor one that may not be read', async () => {
  const { api, id, bob } = await stage({ visibility: 'private' });
  const own = await bob.ask({ type: 'GetSessionRequest' });
  expect(await watch(bob, own.session_id)).toMatchObject({ code: 'ILLEGAL_STATE' });
  expect(await watch(bob, id)).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  expect(await watch(bob, 'nobody')).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  await rest(`${api}/${id}`, 'DELETE');
  await bob.caughtUp();
  expect(eventsOf(bob, id)).toEqual([]);
});

test('a session that is closed to its watcher while the watch begins is refused, and the socket stays', async () => {
  let store: StoreProvider | undefined;
  let loads = 0;
  let hide = '';
  registerStoreProvider('closing', async () => {
    const memory = memoryStore();
    // between the first look and the second, somebody makes it private
    store = {
      ...memory,
      loadSession: async (id) => {
        const session = await memory.loadSession(id);
        return session && id === hide && ++loads > 1 ? { ...session, visibility: 'private' } : session;
      },
    };
    return store;
  });
  const { id, bob } = await stage({}, { storage: { url: 'closing:' } });
  hide = id;
  expect(await watch(bob, id)).toMatchObject({ type: 'Error', code: 'SESSION_NOT_FOUND' });
  expect(await bob.ask({ type: 'GetSessionRequest' })).toMatchObject({ owner_id: 'bob' });
});

test('a watcher whose right cannot be looked up for a while is notified when it can', async () => {
  let failing = false;
  let failed = 0;
  const memory = memoryStore();
  registerStoreProvider('failing', async () => {
    return {
      ...memory,
      shared: true,
      eventsAfter: async (...asked) => {
        const events = await memory.eventsAfter(...asked);
        failing = failed < 2 && (events?.some(({ type }) => type === 'SessionUpdated') ?? false);
        return events;
      },
      loadSession: async (id) => {
        if (!failing) return memory.loadSession(id);
        failing = false;
        failed += 1;
        throw new StorageError('the storage is down');
      },
    };
  });
  const { url, id, clock } = await stage({}, { storage: { url: 'failing:' } });
  const other = await startGateway({ storage: { url: 'failing:' } });
  const operator = await TestClient.connect(url);
  await watch(operator, id);
  await rest(`${other.url}/api/v1/sessions/${id}`, 'PATCH', { context_updates: { turn: 1 } });
  await operator.caughtUp();
  expect({ failed, events: eventsOf(operator, id) }).toEqual({ failed: 1, events: [] });
  await clock.advance(3_000);
  expect(await operator.next('SessionUpdated')).toMatchObject({ session_id: id });
  expect(failed).toBe(2);
  expect(eventsOf(operator, id)).toHaveLength(1);
});
