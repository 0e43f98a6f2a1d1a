import { describe, expect, test } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import type { Wanted } from '../../protocol/fields.ts';
import { StorageError } from '../../src/errors.ts';
import { makeLog } from '../../src/log/log.ts';
import { Dispatcher } from '../../src/services/dispatcher.ts';
import type { Link } from '../../src/services/links.ts';
import { Registrations } from '../../src/services/registration.ts';
import type { Instance } from '../../src/services/registry.ts';
import { Sessions } from '../../src/sessions/commits.ts';
import type { Input } from '../../src/sessions/inputs.ts';
import type { Commit, StoreProvider } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { withVerbs } from '../../src/store/verbs.ts';
import { ManualClock, settled } from '../support/clock.ts';
import { FakeRooms } from '../support/rooms.ts';
import { spec } from './build.ts';

const services = ['asr', 'llm', 'tts'];

/** A node's sessions and services over a storage whose commits are seen, and can be spoilt. */
function node() {
  const clock = new ManualClock();
  const rooms = new FakeRooms(() => clock.now());
  const memory = memoryStore();
  const commits: { session: Session; events: readonly LogEvent[] }[] = [];
  const spoil: { before?: (session: Session) => Promise<void> | void; read?: (() => Promise<void>) | undefined } = {};
  const reads: string[] = [];
  const provider: StoreProvider = {
    ...memory,
    async loadSession(id) {
      reads.push(id);
      await spoil.read?.();
      return memory.loadSession(id);
    },
    async saveSession(session, expected, events) {
      await spoil.before?.(session);
      await memory.saveSession(session, expected, events);
      commits.push({ session, events });
    },
  };
  const store = withVerbs(provider, clock);
  const log = makeLog('silent');
  const sessions = new Sessions({ store, rooms, offers: () => dispatcher, clock, log, timeouts: { registrationMs: 30_000 } });
  const dispatcher: Dispatcher = new Dispatcher({ sessions, rooms, clock, log, nodeId: 'node-1', maxServices: 1_024 });
  const registrations = new Registrations({ dispatcher, sessions, clock, log, nodeId: 'node-1' });
  const told: unknown[] = [];
  const link: Link = {
    offerMs: 10_000,
    async offer({ assignment_id }) {
      told.push(`offer ${assignment_id}`);
      return { outcome: 'sent' };
    },
    send: (command) => {
      if (command.type === 'LeaveRoomRequest') told.push(`leave ${command.assignment_id}`);
    },
    replaced: () => {},
    saysLeft: true,
  };
  const register = (service_id: string, max_sessions?: number, held?: { session_id: string; assignment_id: string }[], metadata = {}) =>
    registrations.register({ service_id, metadata, max_sessions }, link, { held });
  const make = (session_id = 's1', required: Wanted[] = services) =>
    sessions.create(spec({ session_id, required, made_on_join: { registrationMs: 30_000 } }));
  const assignmentOf = async (service_id: string, id = 's1') =>
    (await sessions.get(id)).requirements.find(({ assignment }) => assignment?.service_id === service_id)?.assignment?.assignment_id ?? '';
  const ready = (service_id: string, assignment_id: string): Input => ({ type: 'ServiceReady', service_id, assignment_id });
  return { clock, memory, sessions, dispatcher, registrations, commits, reads, spoil, told, link, register, make, assignmentOf, ready };
}

/** A session that has asked its three services. */
async function asked() {
  const all = node();
  for (const service_id of services) await all.register(service_id);
  await all.make();
  const ids = await Promise.all(services.map((service_id) => all.assignmentOf(service_id)));
  all.commits.length = 0;
  return { ...all, ids };
}

describe('what happens to a session in one turn', () => {
  test('is one commit, decided in its order, and everybody has the session as it was after theirs', async () => {
    const { sessions, commits, ids, ready } = await asked();
    const accepted = ids.map((assignment_id) => sessions.apply('s1', { type: 'Accepted', assignment_id }));
    const served = await Promise.all(services.map((service_id, i) => sessions.apply('s1', ready(service_id, ids[i] ?? ''))));
    expect(commits).toHaveLength(1);
    expect((await Promise.all(accepted)).map(({ version }) => version)).toEqual([2, 3, 4].map((version) => version + 1));
    expect(served.map(({ status }) => status)).toEqual(['WaitingForServices', 'WaitingForServices', 'Ready']);
    const { session, events } = commits[0] ?? { session: undefined, events: [] };
    expect(session).toEqual(served[2]);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => (session?.seq ?? 0) - events.length + 1 + i));
    expect(events.map(({ type }) => type)).toEqual([...services.map(() => 'ServiceStatusChanged'), 'SessionStatusChanged', 'SessionReady']);
  });

  test('and is refused, is refused alone: also for what the others did before it', async () => {
    const { sessions, commits, ids } = await asked();
    const outcomes = await Promise.allSettled([
      sessions.apply('s1', { type: 'Accepted', assignment_id: 'nobody' }),
      sessions.apply('s1', { type: 'End', reason: 'client_ended', by: 'client' }),
      sessions.apply('s1', { type: 'ServiceReady', service_id: 'asr', assignment_id: ids[0] ?? '' }),
    ]);
    expect(outcomes).toMatchObject([
      { status: 'rejected', reason: { code: 'ASSIGNMENT_NOT_FOUND' } },
      { status: 'fulfilled', value: { status: 'Terminating' } },
      { status: 'rejected', reason: { code: 'ILLEGAL_STATE', details: { reason: 'client_ended' } } },
    ]);
    expect(commits).toHaveLength(1);
  });

  test('is decided anew, all of it, where another node was faster', async () => {
    const { sessions, commits, ids, ready, spoil, memory } = await asked();
    spoil.before = async (session) => {
      spoil.before = () => {};
      const now = await memory.loadSession('s1');
      if (now) await memory.saveSession({ ...now, version: now.version + 1, commit_id: 'of another', messages: 7 }, now.version, []);
      expect(session.messages).toBe(0);
    };
    const served = await Promise.all(services.map((service_id, i) => sessions.apply('s1', ready(service_id, ids[i] ?? ''))));
    expect(served.at(-1)).toMatchObject({ status: 'Ready', messages: 7 });
    expect(commits).toHaveLength(1);
  });

  test('fails as a whole where the storage does, and nothing of it was sent', async () => {
    const { sessions, commits, ids, ready, spoil } = await asked();
    spoil.before = () => {
      throw new StorageError('no answer');
    };
    const outcomes = await Promise.allSettled([
      ...services.map((service_id, i) => sessions.apply('s1', ready(service_id, ids[i] ?? ''))),
      sessions.apply('s1', { type: 'Accepted', assignment_id: 'nobody' }),
    ]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(StorageError) });
    expect(commits).toHaveLength(0);
    spoil.before = () => {};
    expect(await sessions.apply('s1', ready('asr', ids[0] ?? ''))).toMatchObject({ status: 'WaitingForServices' });
  });

  test('does not wait for what has to be found out first', async () => {
    const { sessions, ids, ready } = await asked();
    let found = () => {};
    const isFound = new Promise<void>((done) => {
      found = done;
    });
    const slow = sessions.change('s1', async () => {
      await isFound;
      return { type: 'End', reason: 'client_ended', by: 'client' };
    });
    expect(await sessions.apply('s1', ready('asr', ids[0] ?? ''))).toMatchObject({ status: 'WaitingForServices' });
    found();
    expect(await slow).toMatchObject({ status: 'Terminating' });
  });

  test('and while that is written, is written next, together', async () => {
    const { sessions, commits, ids, ready, spoil } = await asked();
    let letGo = () => {};
    spoil.before = () => {
      spoil.before = () => {};
      return new Promise<void>((go) => {
        letGo = go;
      });
    };
    const first = sessions.apply('s1', ready('asr', ids[0] ?? ''));
    await settled();
    const others = [sessions.apply('s1', ready('llm', ids[1] ?? '')), sessions.apply('s1', ready('tts', ids[2] ?? ''))];
    await settled();
    expect(commits).toHaveLength(0);
    letGo();
    await Promise.all([first, ...others]);
    expect(commits.map(({ session }) => session.status)).toEqual(['WaitingForServices', 'Ready']);
  });
});

test('every watcher gets what a commit did, after its write', async () => {
  const { sessions, commits, ids, ready, spoil, memory } = await asked();
  const seen: Commit[] = [];
  sessions.onCommit((commit) => {
    expect(commits.at(-1)?.session).toBe(commit.session);
    seen.push(commit);
  });
  spoil.before = async () => {
    spoil.before = () => {};
    const now = await memory.loadSession('s1');
    if (now) await memory.saveSession({ ...now, version: now.version + 1, commit_id: 'of another' }, now.version, []);
  };
  await sessions.apply('s1', ready('asr', ids[0] ?? ''));
  expect(seen).toMatchObject([{ before: { commit_id: 'of another' }, session: { version: 4 }, conflicts: 1, remote: false }]);
  expect(seen[0]?.events).toEqual(commits[0]?.events);
  expect(seen[0]?.ms).toBeGreaterThan(0);
  // what changes nothing is no commit
  await sessions.apply('s1', ready('asr', ids[0] ?? ''));
  expect(seen).toHaveLength(1);
  const last = seen[0]?.session as Session;
  commits.push({ session: last, events: [] });
  sessions.showRemote(last, seen[0]?.before);
  expect(seen[1]).toMatchObject({ before: { commit_id: 'of another' }, events: [], effects: [], remote: true });
});

test('a service that is asked for and given up at once hears nothing of it, and nobody waits for it', async () => {
  const { sessions, dispatcher, commits, told, register, make } = node();
  await make('s1', ['asr']);
  await register('asr', 1);
  const dispatched = dispatcher.dispatch(await sessions.get('s1'));
  const ended = sessions.apply('s1', { type: 'End', reason: 'client_ended', by: 'client' });
  await Promise.all([dispatched, ended]);
  await settled();
  expect(told).toEqual([]);
  expect(dispatcher.get('asr').slots.size).toBe(0);
  expect(commits.at(-1)?.session).toMatchObject({ status: 'Terminated', leaving: [] });
});

test('an input that the machine cannot stand fails alone', async () => {
  const { sessions, ids, ready } = await asked();
  const broken = sessions.apply('s1', { type: 'no such thing' } as unknown as Input);
  expect(await sessions.apply('s1', ready('asr', ids[0] ?? ''))).toMatchObject({ status: 'WaitingForServices' });
  await expect(broken).rejects.toThrow(TypeError);
});

test('news that the storage could not take with the rest is said again when it answers', async () => {
  const { sessions, clock, ids, ready, spoil } = await asked();
  spoil.before = () => {
    throw new StorageError('no answer');
  };
  const refused = sessions.apply('s1', ready('asr', ids[0] ?? ''));
  const told = sessions.report('s1', { type: 'End', reason: 'client_ended', by: 'client' });
  await expect(refused).rejects.toThrow(StorageError);
  await told;
  spoil.before = () => {};
  await clock.advance(1_000);
  expect(await sessions.get('s1')).toMatchObject({ status: 'Terminating', ended: { reason: 'client_ended' } });
});

test('a service that comes back with all it holds, and one that many wait for, need a few turns and not one for each session', async () => {
  const { sessions, dispatcher, registrations, register, make } = node();
  const names = Array.from({ length: 300 }, (_, i) => `s${i}`);
  for (const name of names) await make(name, ['asr']);
  const turnsOf = async (what: () => Promise<unknown>) => {
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    await what();
    isOver = true;
    return turns;
  };
  let instance: Instance | undefined;
  const servesAll = async () => {
    ({ instance } = await register('asr'));
    while (dispatcher.waiting > 0) await settled(1);
  };
  expect(await turnsOf(servesAll)).toBeLessThan(30);
  if (!instance) throw new Error('not registered');
  expect(instance.slots.size).toBe(300);
  for (const name of names) await sessions.apply(name, { type: 'ServiceReady', service_id: 'asr' });
  const held = [...instance.slots].map(([assignment_id, session_id]) => ({ assignment_id, session_id }));
  registrations.disconnected(instance);
  await settled();
  let keep: string[] = [];
  expect(await turnsOf(async () => ({ keep } = await register('asr', undefined, held)))).toBeLessThan(30);
  expect(keep).toEqual(held.map(({ assignment_id }) => assignment_id));
});

describe('those that wait for a service', () => {
  const names = Array.from({ length: 100 }, (_, i) => `s${i}`);
  const declined = (assignment_id: string) => ({ type: 'Declined', assignment_id, reason: 'declined', error: 'busy' }) as const;

  test('are not all looked through again for each that it declines', async () => {
    const { sessions, dispatcher, reads, register, make } = node();
    for (const name of names) await make(name, ['asr']);
    const { instance } = await register('asr');
    await settled();
    const offers = [...instance.slots];
    expect(offers).toHaveLength(100);
    reads.length = 0;
    await Promise.all(offers.map(([assignment_id, id]) => sessions.apply(id, declined(assignment_id))));
    await settled();
    expect(dispatcher.waiting).toBe(100);
    expect(reads.length).toBeLessThanOrEqual(400);
  });

  test('are looked through once more, however often that is asked for meanwhile', async () => {
    const { registrations, reads, spoil, register, make } = node();
    for (const name of names.slice(0, 10)) await make(name, ['asr']);
    const { instance } = await register('asr');
    reads.length = 0;
    let open = () => {};
    const opened = new Promise<void>((done) => {
      open = done;
    });
    spoil.read = () => opened;
    for (let i = 0; i < 20; i++) registrations.setAvailability(instance, 'available');
    await settled();
    expect(reads).toEqual(names.slice(0, 10));
    open();
    await settled();
    expect([...instance.slots.values()]).toEqual(names.slice(0, 10));
  });

  test('get the slots in the order in which they wait, when many get free at once', async () => {
    const { sessions, dispatcher, register, make } = node();
    const { instance } = await register('asr', 4);
    for (const name of names.slice(0, 12)) await make(name, ['asr']);
    expect([...instance.slots.values()]).toEqual(['s0', 's1', 's2', 's3']);
    await Promise.all([...instance.slots].map(([assignment_id, id]) => sessions.apply(id, declined(assignment_id))));
    await settled();
    expect([...instance.slots.values()]).toEqual(['s4', 's5', 's6', 's7']);
    expect(dispatcher.waiting).toBe(8);
  });

  test('are looked for again after a storage that did not answer', async () => {
    const { sessions, registrations, spoil, register, make, assignmentOf } = node();
    const { instance } = await register('asr');
    await make('s0', ['asr']);
    registrations.setAvailability(instance, 'full');
    await make('s1', ['asr']);
    spoil.read = () => Promise.reject(new StorageError('away'));
    registrations.setAvailability(instance, 'available');
    await settled();
    spoil.read = undefined;
    expect(await assignmentOf('asr', 's1')).toBe('');
    await sessions.apply('s0', declined(await assignmentOf('asr', 's0')));
    await settled();
    expect(await assignmentOf('asr', 's1')).not.toBe('');
  });
});

describe('services that are there', () => {
  test('are asked for in the commit that creates the session, and sent after it', async () => {
    const { commits, told, register, make, assignmentOf } = node();
    for (const service_id of services) await register(service_id);
    await make();
    expect(commits).toHaveLength(1);
    const ids = await Promise.all(services.map((service_id) => assignmentOf(service_id)));
    await settled();
    expect(told).toEqual(ids.map((id) => `offer ${id}`));
  });

  test('have as long to answer an offer as their link gives them', async () => {
    const { clock, sessions, registrations, link, make } = node();
    await registrations.register({ service_id: 'asr', metadata: {} }, { ...link, offerMs: 2_000 });
    await registrations.register({ service_id: 'llm', metadata: {} }, { ...link, offerMs: 30_000 });
    await make('s1', ['asr', 'llm']);
    const { requirements } = await sessions.get('s1');
    expect(requirements.map(({ assignment }) => (assignment?.offer_by ?? 0) - clock.now())).toEqual([2_000, 30_000]);
  });

  test('keep no slot for a session that could not be written', async () => {
    const { dispatcher, spoil, told, register, make } = node();
    await register('asr', 1);
    spoil.before = () => {
      throw new StorageError('no answer');
    };
    await expect(make('s1', ['asr'])).rejects.toThrow(StorageError);
    spoil.before = () => {};
    expect(dispatcher.get('asr').slots.size).toBe(0);
    expect(await make('s2', ['asr'])).toMatchObject({ requirements: [{ assignment: { service_id: 'asr' } }] });
    await settled();
    expect(told).toHaveLength(1);
  });

  test('are looked for when the one that failed has given its slot back, and not before', async () => {
    const { sessions, clock, register, make, assignmentOf, ready } = node();
    await register('asr-2', undefined, [], { type: 'ASR' });
    await make('s0', [{ type: 'ASR' }]);
    await clock.advance(1_000);
    await register('asr-1', undefined, [], { type: 'ASR' });
    await make('s1', [{ type: 'ASR' }]);
    const assignment_id = await assignmentOf('asr-1', 's1');
    await sessions.apply('s1', ready('asr-1', assignment_id));
    // it is the least loaded again, and one that served may be asked at once
    await sessions.apply('s1', { type: 'ServiceFailed', assignment_id, reason: 'failed', error: 'out of memory' });
    await settled();
    expect(await sessions.get('s1')).toMatchObject({ requirements: [{ assignment: { service_id: 'asr-1', attempt: 2 } }] });
  });

  test('and come while the session is being written, are asked anyway', async () => {
    const { spoil, register, make, assignmentOf } = node();
    await register('asr');
    spoil.before = async () => {
      spoil.before = () => {};
      await register('llm');
    };
    await make('s1', ['asr', 'llm']);
    await settled();
    expect(await assignmentOf('llm')).not.toBe('');
  });
});
