import { describe, expect, test } from 'vitest';
import { newSessionFields } from '../../protocol/requests.ts';
import { makeLog } from '../../src/log/log.ts';
import { Sessions } from '../../src/sessions/commits.ts';
import { Openings } from '../../src/sessions/open.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { withVerbs } from '../../src/store/verbs.ts';
import { connectService, TestClient } from '../support/client.ts';
import { ManualClock, settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { noOffers } from '../support/offers.ts';
import { FakeRooms } from '../support/rooms.ts';

const wish = { user_identity: 'ada', required_services: ['asr'], metadata: { topic: 'weather' } };
const keyed = { type: 'NewSessionRequest', idempotency_key: 'k', ...wish };
const takenOver = { code: 4409, reason: 'taken over' };

async function ask(url: string, more: object = {}) {
  const client = await TestClient.connect(url);
  return { client, made: await client.ask({ ...keyed, ...more }) };
}

const sessions = async (url: string) =>
  (await rest(`${url}/api/v1/sessions?limit=100`)).body.items as { session_id: string; status: string }[];

describe('over the socket, the same key and body', () => {
  test('give the same session, and the newer socket takes it over', async () => {
    const { url, holds } = await startGateway();
    const first = await ask(url);
    expect(first.made).toMatchObject({ type: 'NewSessionResponse', status: 'WaitingForServices', replayed: false });
    const second = await ask(url);
    expect(await first.client.closed).toEqual(takenOver);
    expect(second.made).toMatchObject({ type: 'NewSessionResponse', replayed: true, session_id: first.made.session_id });
    await settled();
    expect(await second.client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'WaitingForServices', link: 'attached' });
    await connectService(url, 'asr');
    await second.client.next('SessionReady');
    expect(await sessions(url)).toHaveLength(1);
    expect(holds()).toMatchObject({ live_sessions: 1 });
  });

  test('give a ready session with a token and the place in its log', async () => {
    const { url } = await startGateway();
    await connectService(url, 'asr');
    const first = await ask(url);
    await first.client.next('SessionReady');
    const second = await ask(url);
    expect(second.made).toMatchObject({ status: 'Ready', access_token: 'client-token-of-ada', replayed: true, ready_services: ['asr'] });
    expect(await first.client.closed).toEqual(takenOver);
    await second.client.ask({ type: 'EndSessionRequest' });
    expect(await second.client.next((f) => f.seq !== undefined)).toMatchObject({ seq: second.made.seq + 1 });
    expect(await second.client.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
  });

  test('while the room is in the making are answered when it is there', async () => {
    const { url, rooms } = await startGateway();
    rooms.holdCreate();
    const [one, other] = [await TestClient.connect(url), await TestClient.connect(url)];
    one.send({ ...keyed, id: 'a' });
    await one.caughtUp();
    other.send({ ...keyed, id: 'b' });
    expect(await one.closed).toEqual(takenOver);
    rooms.letCreate();
    expect(await other.next((f) => f.id === 'b')).toMatchObject({ type: 'NewSessionResponse', replayed: true });
    expect(one.types()).toEqual(['Pong']);
    expect(rooms.open.size).toBe(1);
  });

  test('on the socket that holds the session are refused', async () => {
    const { url } = await startGateway();
    const { client } = await ask(url);
    expect(await client.ask(keyed)).toMatchObject({ type: 'Error', code: 'SESSION_ALREADY_EXISTS' });
  });

  test('belong to the session until it ends, then the key is free', async () => {
    const { url } = await startGateway();
    const first = await ask(url);
    await first.client.ask({ type: 'EndSessionRequest' });
    await first.client.next('SessionEnded');
    const again = await first.client.ask({ ...keyed, metadata: { topic: 'another' } });
    expect(again).toMatchObject({ type: 'NewSessionResponse', replayed: false });
    expect(again.session_id).not.toBe(first.made.session_id);
  });

  test('whose holder went give a new session', async () => {
    const { url } = await startGateway();
    const first = await ask(url);
    first.client.ws.terminate();
    await first.client.closed;
    await expect.poll(async () => (await sessions(url))[0]?.status).toBe('Terminated');
    const second = await ask(url);
    expect(second.made).toMatchObject({ replayed: false });
    expect(second.made.session_id).not.toBe(first.made.session_id);
  });
});

test('the same key with another body is a conflict that names the session and leaves it alone', async () => {
  const { url } = await startGateway();
  const first = await ask(url);
  const second = await ask(url, { metadata: { topic: 'another' } });
  expect(second.made).toMatchObject({
    type: 'Error',
    code: 'IDEMPOTENCY_CONFLICT',
    error: 'Conflict',
    details: { session_id: first.made.session_id },
  });
  expect(await first.client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'WaitingForServices' });
  // the refused socket is free for something else
  expect(await second.client.ask({ ...keyed, idempotency_key: 'another' })).toMatchObject({ type: 'NewSessionResponse', replayed: false });
});

test('the same key of another user is another session', async () => {
  const { url } = await startGateway();
  const ada = await ask(url);
  const bob = await ask(url, { user_identity: 'bob' });
  expect(bob.made).toMatchObject({ replayed: false });
  expect(bob.made.session_id).not.toBe(ada.made.session_id);
  expect(await sessions(url)).toHaveLength(2);
});

test('no key means no replay', async () => {
  const { url } = await startGateway();
  const [one, other] = [await ask(url, { idempotency_key: undefined }), await ask(url, { idempotency_key: undefined })];
  expect(one.made.session_id).not.toBe(other.made.session_id);
});

test('twenty creations at once with one key make exactly one session, over sockets and REST alike', async () => {
  const { url, rooms, holds } = await startGateway();
  rooms.holdCreate();
  const clients = await Promise.all(Array.from({ length: 10 }, () => TestClient.connect(url)));
  const calls = Array.from({ length: 10 }, () =>
    rest(`${url}/api/v1/create-session`, 'POST', wish, { headers: { 'idempotency-key': 'k' } }),
  );
  const asked = clients.map((client) => client.ask(keyed).catch(() => 'taken over' as const));
  await expect.poll(() => holds().sockets).toBe(1);
  rooms.letCreate();
  const answers = [...(await Promise.all(calls)).map(({ body }) => body), ...(await Promise.all(asked))];
  const given = answers.filter((answer) => answer !== 'taken over');
  expect(given).toHaveLength(11);
  expect(new Set(given.map(({ session_id }) => session_id)).size).toBe(1);
  expect(given.filter(({ replayed }) => !replayed).length).toBeLessThanOrEqual(1);
  expect(await sessions(url)).toHaveLength(1);
  expect(rooms.open.size).toBe(1);
});

test('creations that look for the key at the same moment are one session anyway', async () => {
  const clock = new ManualClock();
  const rooms = new FakeRooms(() => clock.now());
  const memory = memoryStore();
  // as a store behind a network: everybody has looked before anybody has written
  const store = withVerbs(
    {
      ...memory,
      async holderOf(claim) {
        const holder = await memory.holderOf(claim);
        await settled(1);
        return holder;
      },
    },
    clock,
  );
  const sessions = new Sessions({
    store,
    rooms,
    offers: () => noOffers,
    clock,
    log: makeLog('silent'),
    timeouts: { registrationMs: 30_000 },
  });
  const openings = new Openings({
    sessions,
    store,
    rooms,
    offers: noOffers,
    nodeId: 'node-1',
    checkWorkspace: async (folder) => folder,
    draining: () => false,
    defaults: { registrationMs: 30_000, joinTimeoutMs: 60_000, ttlMs: 3_600_000 },
  });
  const body = newSessionFields.parse({ idempotency_key: 'k', ...wish });
  const opened = await Promise.all(
    Array.from({ length: 20 }, () => openings.open(body, { caller: { kind: 'operator' }, token_policy: 'on_ready' })),
  );
  expect(new Set(opened.map(({ session }) => session.session_id)).size).toBe(1);
  expect(opened.filter(({ replayed }) => !replayed)).toHaveLength(1);
});

describe('over REST, the header Idempotency-Key', () => {
  const create = (url: string, body: object, more: { key?: string; signal?: AbortSignal } = {}) =>
    rest(`${url}/api/v1/sessions`, 'POST', body, {
      ...(more.key !== undefined && { headers: { 'idempotency-key': more.key } }),
      ...(more.signal && { signal: more.signal }),
    });

  test('gives the same session for the same body, and a conflict for another', async () => {
    const { url } = await startGateway();
    await connectService(url, 'asr');
    const first = await create(url, wish, { key: 'k' });
    expect(first).toMatchObject({ status: 201, body: { status: 'Ready', replayed: false, access_token: 'client-token-of-ada' } });
    const { session_id } = first.body;
    expect(await create(url, wish, { key: 'k' })).toMatchObject({
      status: 201,
      body: { session_id, replayed: true, access_token: 'client-token-of-ada' },
    });
    expect(await create(url, { ...wish, user_name: 'Ada' }, { key: 'k' })).toMatchObject({
      status: 409,
      body: { error: 'Conflict', code: 'IDEMPOTENCY_CONFLICT', details: { session_id } },
    });
    expect(await create(url, { ...wish, user_identity: 'bob' }, { key: 'k' })).toMatchObject({ status: 201, body: { replayed: false } });
    expect((await create(url, wish)).body.session_id).not.toBe(session_id);
  });

  test('is free again when the session has ended', async () => {
    const { url } = await startGateway();
    await connectService(url, 'asr');
    const { session_id } = (await create(url, wish, { key: 'k' })).body;
    expect(await rest(`${url}/api/v1/sessions/${session_id}`, 'DELETE')).toMatchObject({ status: 200 });
    const again = await create(url, { ...wish, user_name: 'Ada' }, { key: 'k' });
    expect(again).toMatchObject({ status: 201, body: { replayed: false } });
    expect(again.body.session_id).not.toBe(session_id);
  });

  test('names the same sessions as the key of a socket', async () => {
    const { url } = await startGateway();
    await connectService(url, 'asr');
    const first = await create(url, wish, { key: 'k' });
    const { made, client } = await ask(url);
    expect(made).toMatchObject({ session_id: first.body.session_id, replayed: true });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
  });

  /** A caller that waits for its session and goes away. */
  const givesUp = async (url: string, key?: string) => {
    const caller = new AbortController();
    const call = create(url, wish, { ...(key !== undefined && { key }), signal: caller.signal });
    await expect.poll(async () => (await sessions(url))[0]?.status).toBe('WaitingForServices');
    caller.abort();
    await expect(call).rejects.toThrow();
  };

  test('absent, a caller that goes away while it waits takes its session along', async () => {
    const { url, rooms } = await startGateway();
    await givesUp(url);
    await expect.poll(async () => (await sessions(url))[0]).toMatchObject({ status: 'Terminated', end_reason: 'client_gone' });
    expect(rooms.open.size).toBe(0);
  });

  test('keeps the session of a caller that went away, and the retry gets it', async () => {
    const { url } = await startGateway();
    await givesUp(url, 'k');
    await settled(50);
    const retry = create(url, wish, { key: 'k' });
    await connectService(url, 'asr');
    expect(await retry).toMatchObject({ status: 201, body: { status: 'Ready', replayed: true } });
    expect(await sessions(url)).toHaveLength(1);
  });
});
