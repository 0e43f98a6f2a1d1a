import { hostname } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import { startGateway as start } from '../../src/gateway.ts';
import { mark } from '../../src/rooms/livekit.ts';
import type { StoreProvider, Wake } from '../../src/sessions/ports.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { liveKitSecret } from '../support/canary.ts';
import { connectService, TestClient } from '../support/client.ts';
import { ManualClock, settled } from '../support/clock.ts';
import { startGateway, testConfig } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { keptLog, quietLog } from '../support/log.ts';
import { comeBack, eventsAt } from '../support/resume.ts';
import { FakeRooms } from '../support/rooms.ts';

interface Life {
  dead: boolean;
  /** Until then this node does not hear that its commits are written. */
  hold: Promise<void> | undefined;
  /** Until then nothing it commits is written. */
  stuck: Promise<void> | undefined;
}

/** Nodes in this process that share one storage and one LiveKit; each has a clock of its own, so that one may stop. */
function deployment() {
  const store: StoreProvider = memoryStore();
  let made: Life = { dead: false, hold: undefined, stuck: undefined };
  /** The sessions that were read one by one. */
  const reads: string[] = [];
  /** While down, no node reaches the storage; heartbeats wait for `hang`; no record is dropped while `undeletable`. */
  const outage = { down: false, undeletable: false, hang: undefined as Promise<void> | undefined };
  registerStoreProvider('shared', async () => {
    const own = made;
    const heard = new WeakMap<Wake, Wake>();
    const up = async () => {
      if (outage.down) throw new StorageError('down');
    };
    return {
      ...store,
      shared: true,
      // what a dead node's storage tells it, nobody hears
      subscribe(id, wake) {
        const alive = heard.get(wake) ?? ((id) => !own.dead && wake(id));
        heard.set(wake, alive);
        store.subscribe(id, alive);
      },
      unsubscribe: (id, wake) => store.unsubscribe(id, heard.get(wake) ?? wake),
      saveSession: async (...args) => {
        await up();
        const { hold, stuck } = own;
        await stuck;
        await store.saveSession(...args);
        await hold;
      },
      loadSession: (id) => {
        reads.push(id);
        return up().then(() => store.loadSession(id));
      },
      deleteSession: async (id) => {
        if (outage.undeletable) throw new StorageError('down');
        await store.deleteSession(id);
      },
      listSessions: (filter) => up().then(() => store.listSessions(filter)),
      due: (before, limit) => up().then(() => store.due(before, limit)),
      beat: async (id, until) => {
        await up();
        await outage.hang;
        await store.beat(id, until);
      },
      nodes: (now) => up().then(() => store.nodes(now)),
      ping: up,
    };
  });
  const clocks: ManualClock[] = [];
  const rooms = new FakeRooms(() => Math.max(...clocks.map((clock) => clock.now())));
  const node = async (log = quietLog()) => {
    const clock = new ManualClock();
    clocks.push(clock);
    const life: Life = { dead: false, hold: undefined, stuck: undefined };
    made = life;
    const gateway = await start({
      config: testConfig({ storage: { url: 'shared:' }, server: { port: 0, drain_s: 0 } }),
      livekit: { apiKey: 'test', apiSecret: liveKitSecret, mode: 'create', serverUrl: rooms.url },
      log,
      clock,
      rooms,
    });
    let closed: Promise<void> | undefined;
    const close = () => {
      closed ??= gateway.close();
      return closed;
    };
    onTestFinished(close);
    const die = () => {
      life.dead = true;
    };
    return { ...gateway, close, die, life, clock, api: `${gateway.url}/api/v1/sessions` };
  };
  /** Time passes on these nodes; the others stand still, as if they had died. */
  const advance = async (ms: number, ...nodes: { clock: ManualClock }[]) => {
    for (let left = ms; left > 0; left -= 1_000) for (const { clock } of nodes) await clock.advance(Math.min(left, 1_000));
  };
  return { store, rooms, node, advance, outage, reads };
}
const wish = { user_identity: 'ada', room: false, visibility: 'public' };

test('a session created on one node is read, messaged, changed and watched over the other', async () => {
  const { node } = deployment();
  const [a, b] = [await node(), await node()];
  const { body } = await rest(a.api, 'POST', wish);
  const watcher = await TestClient.connect(b.url);
  const begun = await watcher.ask({ type: 'WatchRequest', session_id: body.session_id });
  expect(begun).toMatchObject({ type: 'WatchResponse', session: { status: 'Active', owner_id: 'ada' } });
  expect((await rest(`${b.api}/${body.session_id}?user_identity=ada`)).body).toMatchObject({ session_id: body.session_id });
  await rest(`${a.api}/${body.session_id}/messages`, 'POST', { role: 'user', content: 'over a' });
  await rest(`${b.api}/${body.session_id}/messages`, 'POST', { role: 'user', content: 'over b' });
  await rest(`${a.api}/${body.session_id}`, 'PATCH', { context_updates: { turn: 1 } });
  await rest(`${a.api}/${body.session_id}`, 'DELETE');
  await watcher.next('SessionEnded');
  const seen = watcher.all.filter(({ ts }) => ts !== undefined);
  expect(seen.map(({ type, content }) => content ?? type)).toEqual([
    'over a',
    'over b',
    'SessionUpdated',
    'SessionStatusChanged',
    'SessionStatusChanged',
    'SessionEnded',
  ]);
  expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, i) => begun.seq + 1 + i));
});

test('a session held by a socket of one node is ended over the other, and its client is notified', async () => {
  const { node } = deployment();
  const [a, b] = [await node(), await node()];
  const ada = await TestClient.connect(a.url);
  const { session_id } = await ada.ask({ type: 'NewSessionRequest', ...wish });
  expect((await rest(`${b.api}/${session_id}/terminate`, 'POST')).status).toBe(200);
  expect(await ada.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
  expect(a.holds()).toMatchObject({ live_sessions: 0 });
  expect(await ada.ask({ type: 'NewSessionRequest', ...wish })).toMatchObject({ type: 'NewSessionResponse' });
});

const unasked = (client: TestClient) => client.all.filter(({ attempt }) => attempt === 0).map(({ status, error }) => `${status}: ${error}`);
const here = 'Disconnected: no service registered at this node fits; other nodes are asked';
const nowhere = 'Disconnected: no registered service fits';

test('the only node on a storage reports at once that no registered service fits', async () => {
  const { node } = deployment();
  const a = await node();
  const ada = await TestClient.connect(a.url);
  await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['nope'] });
  await ada.next((f) => f.attempt === 0);
  expect(unasked(ada)).toEqual([nowhere]);
});

test('beside other nodes it is reported at once that they are asked, and then that none of them has one', async () => {
  const { node, advance } = deployment();
  const { log, lines } = keptLog('info');
  const [a, b] = [await node(log), await node()];
  await advance(10_000, a, b);
  const ada = await TestClient.connect(a.url);
  const { session_id } = await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['nope'] });
  await ada.next((f) => f.attempt === 0);
  expect(unasked(ada)).toEqual([here]);
  const { body } = await rest(`${a.api}/${session_id}?user_identity=ada`);
  expect(body.services).toMatchObject([{ service_id: 'nope', status: 'Disconnected', error: here.slice('Disconnected: '.length) }]);
  await advance(12_000, a, b);
  await ada.caughtUp();
  expect(unasked(ada)).toEqual([here, nowhere]);
  const said = lines.map(({ msg }) => msg).filter((msg) => msg.startsWith('no '));
  expect(said).toEqual([
    'no service registered at this node fits nope: other nodes are asked',
    'no registered service fits nope (registered: none)',
  ]);
});

test('a service that another node has is offered a session that its own node has none for', async () => {
  const { node, advance } = deployment();
  const [a, b] = [await node(), await node()];
  await advance(10_000, a, b);
  await connectService(b.url, 'asr');
  const ada = await TestClient.connect(a.url);
  await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  await ada.next((f) => f.attempt === 0);
  await advance(12_000, a, b);
  await ada.next('SessionReady');
  expect(unasked(ada)).toEqual([here]);
});

test('a hundred messages over two nodes at once have a hundred places', async () => {
  const { node } = deployment();
  const nodes = [await node(), await node()];
  const [{ api = '' } = {}] = nodes;
  const { body } = await rest(api, 'POST', wish);
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      rest(`${nodes[i % 2]?.api}/${body.session_id}/messages`, 'POST', { role: 'user', content: `${i}`, message_id: `m${i >> 1}` }),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(201));
  expect(answers.filter((answer) => answer.body.duplicate)).toHaveLength(50);
  expect(new Set(answers.map((answer) => answer.body.seq)).size).toBe(50);
});

test('of a node that died the sessions its sockets held end within 40 s, and those made over REST live on', async () => {
  const { node, advance } = deployment();
  const [a, b] = [await node(), await node()];
  const onA = await TestClient.connect(a.url);
  const held = await onA.ask({ type: 'NewSessionRequest', ...wish });
  const onB = await TestClient.connect(b.url);
  const heldByB = await onB.ask({ type: 'NewSessionRequest', ...wish });
  const { body: free } = await rest(a.api, 'POST', wish);
  const watcher = await TestClient.connect(b.url);
  await watcher.ask({ type: 'WatchRequest', session_id: held.session_id });
  // both beat: nothing happens
  await advance(60_000, a, b);
  expect((await rest(`${b.api}/${held.session_id}`)).body.status).toBe('Active');
  // a pause that is shorter than its life changes nothing either
  await advance(20_000, b);
  await advance(20_000, a);
  expect((await rest(`${b.api}/${held.session_id}`)).body.status).toBe('Active');

  await advance(40_000, b);
  expect(await watcher.next('SessionEnded')).toMatchObject({ session_id: held.session_id, reason: 'node_lost', by: 'gateway' });
  for (const id of [heldByB.session_id, free.session_id]) expect((await rest(`${b.api}/${id}`)).body.status).toBe('Active');
  expect(await rest(`${b.api}/${free.session_id}/messages`, 'POST', { role: 'user', content: 'on' })).toMatchObject({ status: 201 });
});

test('a node whose own heartbeat did not arrive declares nobody dead, itself included', async () => {
  const { node, outage } = deployment();
  const { url, clock } = await node();
  const client = await TestClient.connect(url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  await clock.advance(15_000);
  let arrives = () => {};
  outage.hang = new Promise((done) => {
    arrives = done;
  });
  await clock.advance(60_000);
  expect(await client.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ link: 'attached' });
  outage.hang = undefined;
  arrives();
  await clock.advance(60_000);
  expect(await client.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ link: 'attached' });
});

test('nodes that all stood still for a minute, as the machines of one host do, hold none of each other for dead', async () => {
  const { node } = deployment();
  const [n1, n2] = [await node(), await node()];
  const client = await TestClient.connect(n1.url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  await n1.clock.advance(15_000);
  await n2.clock.advance(15_000);
  await n2.clock.standStill(60_000);
  await n1.clock.standStill(60_000);
  await n2.clock.advance(20_000);
  await n1.clock.advance(20_000);
  expect(await client.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ link: 'attached' });
});

test('the services that a dead node reached are lost, and others take their places', async () => {
  const { node, advance } = deployment();
  const [a, b] = [await node(), await node()];
  await connectService(a.url, 'asr-a', { metadata: { type: 'ASR' } });
  const { body } = await rest(a.api, 'POST', { user_identity: 'ada', required_services: [{ type: 'ASR' }] });
  expect(body).toMatchObject({ status: 'Ready', ready_services: ['asr-a'] });
  const successor = await connectService(b.url, 'asr-b', { metadata: { type: 'ASR' } });
  const watcher = await TestClient.connect(b.url);
  await watcher.ask({ type: 'WatchRequest', session_id: body.session_id });
  a.die();
  await advance(50_000, b);
  expect(await watcher.next('ServiceStatusChanged')).toMatchObject({
    service_id: 'asr-a',
    status: 'Disconnected',
    error: 'the service is gone',
  });
  expect(await watcher.next('SessionDegraded')).toMatchObject({ missing: ['type=ASR'] });
  expect(await successor.next('JoinRoomRequest')).toMatchObject({ session_id: body.session_id, resuming: true });
  await watcher.next('SessionRestored');
  expect((await rest(`${b.api}/${body.session_id}`)).body).toMatchObject({ health: 'ok', ready_services: ['asr-b'] });
});

test('each deadline has one effect, however many nodes find it', async () => {
  const { node, advance, store, rooms } = deployment();
  const nodes = [await node(), await node(), await node()];
  const [{ api = '' } = {}] = nodes;
  let deletions = 0;
  const remove = rooms.remove.bind(rooms);
  rooms.remove = (room) => {
    deletions += 1;
    return remove(room);
  };
  const { body } = await rest(api, 'POST', { user_identity: 'ada', required_services: [], ttl_hours: 0.05 });
  await advance(185_000, ...nodes);
  const log = await store.eventsAfter(body.session_id, 0, 100);
  const count = (name: string) => log?.filter(({ type }) => type === name).length;
  expect({ expiring: count('SessionExpiring'), ended: count('SessionEnded'), deletions }).toEqual({ expiring: 2, ended: 1, deletions: 1 });
  expect((await rest(`${api}/${body.session_id}`)).body).toMatchObject({ status: 'Terminated', end_reason: 'ttl' });
  // and one forgets it for all
  await advance(3_602_000, ...nodes);
  expect((await rest(`${api}/${body.session_id}`)).status).toBe(404);
});

test('a node that is stopped ends what its own sockets hold, and leaves the rest alone', async () => {
  const { node } = deployment();
  const [a, b] = [await node(), await node()];
  const [onA, onB] = [await TestClient.connect(a.url), await TestClient.connect(b.url)];
  const own = await onA.ask({ type: 'NewSessionRequest', ...wish });
  const others = await onB.ask({ type: 'NewSessionRequest', ...wish });
  const { body: free } = await rest(a.api, 'POST', wish);
  // a word on the other's session makes it no session of this node
  await rest(`${a.api}/${others.session_id}/messages`, 'POST', { role: 'user', content: 'hello' });
  await a.close();
  const read = async (id: string) => (await rest(`${b.api}/${id}`)).body;
  expect(await read(own.session_id)).toMatchObject({ status: 'Terminated', end_reason: 'shutdown' });
  for (const id of [others.session_id, free.session_id]) expect(await read(id)).toMatchObject({ status: 'Active' });
  expect(await onB.ask({ type: 'AddMessageRequest', role: 'user', content: 'still here' })).toMatchObject({ type: 'AddMessageResponse' });
});

test('a service is no part of a session that a service of another node serves', async () => {
  const { node } = deployment();
  const [a, b] = [await node(), await node()];
  // the first registration on either node
  const serving = await connectService(a.url, 'asr');
  const stranger = await connectService(b.url, 'tts');
  const { body } = await rest(a.api, 'POST', { user_identity: 'ada', required_services: ['asr'] });
  const { session_id } = body;
  expect(await serving.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ ready_services: ['asr'] });
  expect(await stranger.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
  // nor is one that has its name there
  const namesake = await connectService((await node()).url, 'asr');
  expect(await namesake.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
});

test('a service reached by one node is asked to leave, and its slot freed, when the session ends over the other', async () => {
  const { node, rooms } = deployment();
  const [a, b] = [await node(), await node()];
  const asr = await connectService(a.url, 'asr', { max_sessions: 1 });
  const { body } = await rest(a.api, 'POST', { user_identity: 'ada', required_services: ['asr'] });
  await asr.next('JoinRoomRequest');
  await rest(`${b.api}/${body.session_id}/terminate`, 'POST');
  expect(await asr.next('LeaveRoomRequest')).toMatchObject({ reason: 'client_ended' });
  await expect.poll(() => rooms.open.size).toBe(0);
  await expect.poll(() => a.holds()).toMatchObject({ watched_rooms: 0, waiting: 0 });
  const next = await rest(a.api, 'POST', { user_identity: 'bob', required_services: ['asr'] });
  expect(next.body).toMatchObject({ status: 'Ready', ready_services: ['asr'] });
});

test('a session that waits on one node is served by a service of the other', async () => {
  const { node, advance } = deployment();
  const [a, b] = [await node(), await node()];
  const { body } = await rest(`${a.api}?wait=none`, 'POST', { user_identity: 'ada', required_services: [{ type: 'ASR' }] });
  expect(body).toMatchObject({ status: 'WaitingForServices' });
  await advance(11_000, a, b);
  const asr = await connectService(b.url, 'asr-b', { metadata: { type: 'ASR' } });
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ session_id: body.session_id });
  await expect
    .poll(async () => (await rest(`${a.api}/${body.session_id}`)).body)
    .toMatchObject({ status: 'Ready', ready_services: ['asr-b'] });
});

test('an outage of the storage longer than a node may be silent costs no session', async () => {
  const { node, advance, outage } = deployment();
  const [a, b] = [await node(), await node()];
  // their rounds do not fall together
  await advance(5_000, b);
  const [ada, bob] = [await TestClient.connect(a.url), await TestClient.connect(b.url)];
  await ada.ask({ type: 'NewSessionRequest', ...wish });
  await bob.ask({ type: 'NewSessionRequest', ...wish });
  outage.down = true;
  await advance(45_000, a, b);
  outage.down = false;
  await advance(60_000, a, b);
  for (const client of [ada, bob]) expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Active' });
});

test('a socket that closed while the storage was down ends its session when the storage is back', async () => {
  const { node, advance, outage, store } = deployment();
  const a = await node();
  const ada = await TestClient.connect(a.url);
  const { session_id } = await ada.ask({ type: 'NewSessionRequest', ...wish });
  outage.down = true;
  ada.ws.terminate();
  await ada.closed;
  await expect.poll(() => a.holds().live_sessions).toBe(0);
  await advance(3_000, a);
  outage.down = false;
  await advance(3_000, a);
  expect(await store.loadSession(session_id)).toMatchObject({ status: 'Terminated', ended: { reason: 'client_gone' } });
});

test('a session taken over at another node leaves the socket that held it, with 4409, and goes on', async () => {
  const { node } = deployment();
  const [a, b] = [await node(), await node()];
  const [old, fresh] = [await TestClient.connect(a.url), await TestClient.connect(b.url)];
  const keyed = { type: 'NewSessionRequest', ...wish, idempotency_key: 'k' };
  const { session_id } = await old.ask(keyed);
  expect(await fresh.ask(keyed)).toMatchObject({ session_id, replayed: true });
  expect(await old.closed).toEqual({ code: 4409, reason: 'taken over' });
  expect(await fresh.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, status: 'Active', link: 'attached' });
  expect([a.holds().live_sessions, b.holds().live_sessions]).toEqual([0, 1]);
});

test('of an ended session a node keeps nothing, also when it reads an older record late', async () => {
  const { node, advance } = deployment();
  const [a, b] = [await node(), await node()];
  for (let i = 0; i < 5; i++) {
    const { body } = await rest(a.api, 'POST', { user_identity: 'ada', required_services: [] });
    await advance(11_000, a, b);
    await rest(`${b.api}/${body.session_id}/terminate`, 'POST');
  }
  await advance(40_000, a, b);
  for (const each of [a, b]) expect(each.holds()).toMatchObject({ watched_rooms: 0, waiting: 0, live_sessions: 0 });
});

describe('a session whose client may come back', () => {
  const waits = { type: 'NewSessionRequest', ...wish, resume_window_s: 60 };
  const linkOf = async (api: string, id: string) => (await rest(`${api}/${id}`)).body;

  test('is resumed at another node: what was missed comes there, and the old socket gets 4409', async () => {
    const { node } = deployment();
    const [a, b] = [await node(), await node()];
    const old = await TestClient.connect(a.url);
    const made = await old.ask(waits);
    await rest(`${a.api}/${made.session_id}/messages`, 'POST', { role: 'user', content: 'missed' });
    const { client, answer } = await comeBack(b.url, made, made.seq);
    expect(answer).toMatchObject({ recovered: true, from_seq: made.seq + 1, to_seq: made.seq + 1 });
    expect(await old.closed).toEqual({ code: 4409, reason: 'taken over' });
    await client.next('ResumeComplete');
    await rest(`${a.api}/${made.session_id}/messages`, 'POST', { role: 'user', content: 'new' });
    await client.next((frame) => frame.content === 'new');
    expect(eventsAt(client).map(({ content }) => content)).toEqual(['missed', 'new']);
    expect([a.holds().live_sessions, b.holds().live_sessions]).toEqual([0, 1]);
    expect(await linkOf(a.api, made.session_id)).toMatchObject({ status: 'Active', link: 'attached' });
    // and back again, with the other half open
    const { client: third } = await comeBack(a.url, made, made.seq);
    expect(await client.closed).toEqual({ code: 4409, reason: 'taken over' });
    await third.next('ResumeComplete');
    expect([a.holds().live_sessions, b.holds().live_sessions]).toEqual([1, 0]);
  });

  test('is resumed at another node by a socket that was opened before the one that holds it', async () => {
    const { node } = deployment();
    const [a, b] = [await node(), await node()];
    const earlier = await TestClient.connect(b.url);
    await earlier.caughtUp();
    const old = await TestClient.connect(a.url);
    const { session_id, resume_token, seq } = await old.ask(waits);
    const answer = await earlier.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: seq });
    expect(answer).toMatchObject({ type: 'ResumeResponse', recovered: true });
    expect(await old.closed).toEqual({ code: 4409, reason: 'taken over' });
    expect([a.holds().live_sessions, b.holds().live_sessions]).toEqual([0, 1]);
  });

  test('that is resumed at two nodes at once is held by one of them', async () => {
    const { node } = deployment();
    const [a, b] = [await node(), await node()];
    const old = await TestClient.connect(a.url);
    const made = await old.ask(waits);
    const sockets = await Promise.all([a, b, a, b].map(({ url }) => TestClient.connect(url)));
    const { session_id, resume_token } = made;
    for (const socket of sockets) socket.send({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq });
    await expect.poll(() => a.holds().live_sessions + b.holds().live_sessions).toBe(1);
    await expect.poll(() => sockets.filter(({ ws }) => ws.readyState === ws.OPEN).length).toBe(1);
    const [winner] = sockets.filter(({ ws }) => ws.readyState === ws.OPEN);
    for (const socket of [old, ...sockets]) if (socket !== winner) expect(await socket.closed).toMatchObject({ code: 4409 });
    expect(await winner?.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, link: 'attached' });
  });

  test('that is resumed at another node before a slow storage has answered its own resume, is the other s', async () => {
    const { node } = deployment();
    const [a, b] = [await node(), await node()];
    const old = await TestClient.connect(a.url);
    const made = await old.ask(waits);
    let letGo = () => {};
    a.life.hold = new Promise((go) => {
      letGo = go;
    });
    const slow = await TestClient.connect(a.url);
    const { session_id, resume_token } = made;
    slow.send({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq });
    await expect.poll(async () => (await linkOf(b.api, session_id)).version).toBe(2);
    const { client } = await comeBack(b.url, made, made.seq);
    a.life.hold = undefined;
    letGo();
    expect(await slow.closed).toEqual({ code: 4409, reason: 'taken over' });
    expect(slow.types()).toEqual([]);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, link: 'attached' });
    expect([a.holds().live_sessions, b.holds().live_sessions]).toEqual([0, 1]);
  });

  test('is away when its node died, and resumed at another then; before that as well', async () => {
    const { node, advance } = deployment();
    const [a, b] = [await node(), await node()];
    const [early, late] = [await TestClient.connect(a.url), await TestClient.connect(a.url)];
    const soon = await early.ask(waits);
    const then = await late.ask(waits);
    a.die();
    // before anybody has noticed
    const { answer } = await comeBack(b.url, soon, soon.seq);
    expect(answer).toMatchObject({ recovered: true });
    await advance(41_000, b);
    expect(await linkOf(b.api, soon.session_id)).toMatchObject({ status: 'Active', link: 'attached' });
    expect(await linkOf(b.api, then.session_id)).toMatchObject({ status: 'Active', link: 'away' });
    await advance(50_000, b);
    expect((await comeBack(b.url, then, then.seq)).answer).toMatchObject({ recovered: true });
    await advance(60_000, b);
    expect(await linkOf(b.api, then.session_id)).toMatchObject({ status: 'Active', link: 'attached' });
  });

  test('and is away, is not read at each look at its dead node: that its socket is lost is known', async () => {
    const { node, advance, reads } = deployment();
    const [a, b] = [await node(), await node()];
    const { session_id } = await (await TestClient.connect(a.url)).ask(waits);
    a.die();
    await advance(41_000, b);
    expect(await linkOf(b.api, session_id)).toMatchObject({ link: 'away' });
    reads.length = 0;
    await advance(40_000, b);
    expect(reads).toEqual([]);
  });

  test('and does not, ends as resume_expired after the death of its node and its window', async () => {
    const { node, advance } = deployment();
    const [a, b] = [await node(), await node()];
    const { session_id } = await (await TestClient.connect(a.url)).ask(waits);
    a.die();
    await advance(90_000, b);
    expect(await linkOf(b.api, session_id)).toMatchObject({ status: 'Active', link: 'away' });
    await advance(15_000, b);
    expect(await linkOf(b.api, session_id)).toMatchObject({ status: 'Terminated', end_reason: 'resume_expired' });
  });

  test('whose node was considered dead, and lives, is kept with its socket', async () => {
    const { node, advance } = deployment();
    const [a, b] = [await node(), await node()];
    const client = await TestClient.connect(a.url);
    const made = await client.ask(waits);
    // its beats do not come through for a while
    await advance(45_000, b);
    await expect.poll(() => linkOf(b.api, made.session_id)).toMatchObject({ link: 'attached' });
    await advance(120_000, a, b);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Active', link: 'attached' });
    expect(client.types()).not.toContain('SessionEnded');
  });

  test('lives on when its node is stopped, and is resumed at another one', async () => {
    const { node, advance } = deployment();
    const [a, b] = [await node(), await node()];
    const [here, gone] = [await TestClient.connect(a.url), await TestClient.connect(a.url)];
    const made = await here.ask(waits);
    const away = await gone.ask(waits);
    gone.ws.terminate();
    await expect.poll(() => linkOf(a.api, away.session_id)).toMatchObject({ link: 'away' });
    // the stop sees to it that they are known to be away
    let write = () => {};
    a.life.stuck = new Promise((go) => {
      write = go;
    });
    const stopped = a.close().then(() => 'stopped');
    expect(await here.closed).toEqual({ code: 4452, reason: 'draining' });
    expect(here.types()).toEqual(['NewSessionResponse', 'GoAway']);
    expect(await Promise.race([stopped, settled(200)])).toBeUndefined();
    write();
    await stopped;
    for (const { session_id } of [made, away]) expect(await linkOf(b.api, session_id)).toMatchObject({ status: 'Active', link: 'away' });
    await advance(50_000, b);
    for (const each of [made, away]) expect((await comeBack(b.url, each, each.seq)).answer).toMatchObject({ recovered: true });
  });

  test('notifies a service of another node that its client is away, and back', async () => {
    const { node, advance } = deployment();
    const [a, b] = [await node(), await node()];
    const asr = await connectService(b.url, 'asr');
    const client = await TestClient.connect(a.url);
    const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s: 60 });
    await advance(11_000, a, b);
    await client.next('SessionReady');
    client.ws.terminate();
    expect(await asr.next('ClientPresence')).toMatchObject({ session_id: made.session_id, status: 'away' });
    await comeBack(a.url, made, made.seq);
    expect(await asr.next('ClientPresence')).toMatchObject({ status: 'connected' });
    await asr.caughtUp();
    expect(asr.all.filter(({ type }) => type === 'ClientPresence')).toHaveLength(2);
  });

  test('remembers its commands at every node', async () => {
    const { node } = deployment();
    const [a, b] = [await node(), await node()];
    const client = await TestClient.connect(a.url);
    const made = await client.ask(waits);
    const frame = { type: 'AddMessageRequest', id: 'c', role: 'user', content: 'hello' };
    const first = await client.ask(frame);
    client.ws.terminate();
    const { client: fresh } = await comeBack(b.url, made, made.seq);
    expect(await fresh.ask(frame)).toEqual(first);
    expect(await linkOf(b.api, made.session_id)).toMatchObject({ messages: 1 });
  });
});

test('a node that sees its own commit before it hears that it is written asks each service to leave once', async () => {
  const { node } = deployment();
  const one = await node();
  const asr = await connectService(one.url, 'asr');
  const client = await TestClient.connect(one.url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  await client.next('SessionReady');
  let confirm = () => {};
  one.life.hold = new Promise<void>((done) => {
    confirm = done;
  });
  client.send({ type: 'EndSessionRequest' });
  await settled();
  await asr.caughtUp();
  one.life.hold = undefined;
  confirm();
  await client.next('SessionEnded');
  await asr.caughtUp();
  expect(asr.types().filter((type) => type === 'LeaveRoomRequest')).toHaveLength(1);
});

test('a node that stops while a session lives on with its service warns of nothing', async () => {
  const { node } = deployment();
  const { log, lines } = keptLog();
  const { url, close } = await node(log);
  const service = await connectService(url, 'asr');
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s: 60 });
  await client.next('SessionReady');
  await close();
  expect((await service.closed).code).toBe(4452);
  expect(lines).toContainEqual(expect.objectContaining({ msg: 'service disconnected', sessions: 1 }));
  expect(lines.filter(({ level }) => level !== 'info')).toEqual([]);
});

test('an outage of the storage is one line at its start and one at its end, whoever meets it', async () => {
  const { node, outage, advance } = deployment();
  const { log, lines } = keptLog();
  const a = await node(log);
  const client = await TestClient.connect(a.url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', ...wish });
  const before = lines.length;
  outage.down = true;
  for (let i = 0; i < 5; i++) {
    expect(await client.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ code: 'STORAGE_ERROR' });
    expect((await rest(`${a.api}/${session_id}`)).status).toBe(503);
  }
  await advance(15_000, a);
  outage.down = false;
  await advance(15_000, a);
  expect(lines.slice(before).map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
    'error: storage does not answer; until it does, requests get STORAGE_ERROR',
    'info: storage works again',
  ]);
});

test('what a gateway does by itself adds no line to those of an outage', async () => {
  const { node, outage, advance, rooms } = deployment();
  const { log, lines } = keptLog();
  const a = await node(log);
  const outageLines = ['error: storage does not answer; until it does, requests get STORAGE_ERROR', 'info: storage works again'];
  const seen = () =>
    lines
      .splice(0)
      .filter(({ level, msg }) => level !== 'info' || /storage/.test(String(msg)))
      .map(({ level, msg }) => `${level}: ${msg}`);
  const { body } = await rest(a.api, 'POST', wish);
  await rest(`${a.api}/${body.session_id}`, 'DELETE');
  // the rooms of earlier runs are looked for from the first minute on
  await advance(61_000, a);
  const client = await TestClient.connect(a.url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'bea', required_services: [], optional_services: ['asr'] });
  seen();
  outage.down = true;
  await connectService(a.url, 'asr');
  rooms.open.set('left', new Map());
  rooms.marks.set('left', mark(`${hostname()}:${new URL(a.url).port}`, 'nobody'));
  await advance(31_000, a);
  outage.down = false;
  await advance(2_000, a);
  expect(seen()).toEqual(outageLines);
  // ended sessions are dropped after an hour
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  outage.undeletable = true;
  await advance(3_600_000, a);
  expect(new Set(seen())).toEqual(new Set(outageLines));
  outage.undeletable = false;
  await advance(2_000, a);
  seen();
  outage.down = true;
  await a.close();
  expect(seen()).toEqual(outageLines.slice(0, 1));
});

test.each([
  [true, 'Active'],
  [undefined, 'Terminated'],
])('a provider of one s own that says shared: %j has a session without a socket %s after a stop', async (shared, status) => {
  const store = memoryStore();
  registerStoreProvider('own', async () => ({
    ...store,
    ...(shared && { shared }),
    beat: async () => {
      throw new StorageError('full');
    },
  }));
  const { log, lines } = keptLog();
  const { url, clock, close } = await startGateway({ storage: { url: 'own:' } }, log);
  const { body } = await rest(`${url}/api/v1/sessions`, 'POST', wish);
  // that it fails is noticed in any case
  await clock.advance(10_000);
  expect(lines).toContainEqual(expect.objectContaining({ level: 'error', call: 'beat', reason: 'full' }));
  await close();
  const kept = await store.loadSession(body.session_id);
  expect(kept?.status).toBe(status);
});
