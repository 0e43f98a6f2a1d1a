import { describe, expect, test, vi } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import { create } from '../../src/sessions/create.ts';
import { ClaimTaken, type Message, type StoreProvider, VersionConflict } from '../../src/sessions/ports.ts';
import { roomClaim, type Session } from '../../src/sessions/record.ts';
import { spec, t0 } from '../sessions/build.ts';

/** A record as a commit would write it. Nothing is due for it unless `wish` says so. */
export const record = (session_id: string, wish: Partial<Session> = {}): Session => ({
  ...create(spec({ session_id }), t0).session,
  deadlines: {},
  commit_id: `commit-${++commits}`,
  ...wish,
});
let commits = 0;

const at = (session_id: string, expiry: number, version = 1) => record(session_id, { version, deadlines: { expiry } });

/** Events `from` to `to` of a log. */
const log = (session_id: string, from: number, to: number): LogEvent[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => ({
    type: 'SessionDegraded',
    seq: from + i,
    ts: new Date(t0).toISOString(),
    session_id,
    missing: [],
  }));

/** What was said, as the message of an event. */
export const said = (session_id: string, seq: number, message_id = `m${seq}`, content = `text ${seq}`): Message => ({
  type: 'MessageAdded',
  seq,
  ts: new Date(t0).toISOString(),
  session_id,
  message_id,
  role: 'user',
  content,
});

const labelled = (metadata: object) => metadata as Session['metadata'];

const ids = (sessions: readonly Session[]) => sessions.map((session) => session.session_id);

/** Text that has gone wrong somewhere before. */
const odd = {
  quotes: `"double" 'single' \\ back\\\\slash \`tick\``,
  emoji: '👩‍👩‍👧‍👦 🇩🇪 e\u0301',
  'right to left': 'שלום עולם \u202Eمرحبا\u202C',
  'line ends': 'a\r\nb\tc\u2028d\u2029e',
  controls: '\u0001\u001b[31m\u007f\ufeff',
  braces: '{a}:b.c*?[x] $1 %s }{',
  html: '<script>&amp;</script>--',
  long: 'ä漢'.repeat(16_000),
  digits: '007',
  empty: '',
};

const seqs = (events: readonly LogEvent[] | undefined) => events?.map((event) => event.seq);

/** What every provider of the SessionStore does. `make` gives an empty store; undefined: it cannot run here, and the report says so. */
export function storeContract(name: string, make: (() => Promise<StoreProvider>) | undefined): void {
  const open = make ?? (() => Promise.reject(new Error('no store')));

  describe.skipIf(make === undefined)(`${name} store`, () => {
    describe('a commit', () => {
      test('with 0 creates the record', async () => {
        const store = await open();
        const session = record('a');
        await store.saveSession(session, 0, []);
        expect(await store.loadSession('a')).toEqual(session);
      });

      test('with the stored version updates the record', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await store.saveSession(record('a', { version: 2, health: 'degraded' }), 1, []);
        expect(await store.loadSession('a')).toMatchObject({ version: 2, health: 'degraded' });
      });

      test('with 0 conflicts with a record that is there', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await expect(store.saveSession(record('a', { health: 'degraded' }), 0, [])).rejects.toThrow(VersionConflict);
        expect(await store.loadSession('a')).toMatchObject({ health: 'ok' });
      });

      test('with an older version conflicts', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await expect(store.saveSession(record('a', { version: 2 }), 1, [])).rejects.toThrow(VersionConflict);
      });

      test('with a version conflicts where nothing is stored', async () => {
        const store = await open();
        await expect(store.saveSession(record('a', { version: 2 }), 1, [])).rejects.toThrow(VersionConflict);
        expect(await store.loadSession('a')).toBeUndefined();
      });

      test('that conflicts leaves log, claims and due time as they were', async () => {
        const store = await open();
        await store.saveSession(at('a', t0 + 1_000), 0, log('a', 1, 1));
        const late = { ...at('a', t0 + 9_000, 2), claims: [roomClaim('lobby')] };
        await expect(store.saveSession(late, 7, log('a', 2, 2))).rejects.toThrow(VersionConflict);
        expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
        expect(await store.due(t0 + 1_000, 10)).toEqual(['a']);
        await store.saveSession(record('b', { claims: [roomClaim('lobby')] }), 0, []);
      });

      test('of one among a hundred at once succeeds, and the versions are the successes', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 1));
        let successes = 0;
        let conflicts = 0;
        const write = async () => {
          for (;;) {
            const session = await store.loadSession('a');
            if (!session) throw new Error('the record is gone');
            const version = session.version + 1;
            try {
              await store.saveSession(
                { ...session, version, commit_id: `commit-${++commits}` },
                session.version,
                log('a', version, version),
              );
              successes += 1;
              return;
            } catch (error) {
              if (!(error instanceof VersionConflict)) throw error;
              conflicts += 1;
            }
          }
        };
        await Promise.all(Array.from({ length: 100 }, write));
        expect(successes).toBe(100);
        expect(conflicts).toBeGreaterThan(0);
        expect(await store.loadSession('a')).toMatchObject({ version: 101 });
        expect(seqs(await store.eventsAfter('a', 0, 200))).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
      });
    });

    describe('a commit that is repeated', () => {
      test('succeeds with one effect on log, messages, statistics and due time', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 1));
        const second = at('a', t0 + 1_000, 2);
        const events = [...log('a', 2, 2), said('a', 3)];
        await store.saveSession(second, 1, events);
        await store.saveSession(second, 1, events);
        expect(await store.loadSession('a')).toEqual(second);
        expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1, 2, 3]);
        expect(await store.messagesAfter('a', 0, 10)).toEqual([said('a', 3)]);
        expect(await store.getStatistics()).toMatchObject({ sessions: 1, messages: 1 });
        expect(await store.due(t0 + 1_000, 10)).toEqual(['a']);
      });

      test('succeeds when it was the first', async () => {
        const store = await open();
        const session = record('a', { claims: [roomClaim('lobby')] });
        await store.saveSession(session, 0, log('a', 1, 1));
        await store.saveSession(session, 0, log('a', 1, 1));
        expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
        expect(await store.holderOf('room:lobby')).toBe('a');
      });

      test('conflicts once another has followed it', async () => {
        const store = await open();
        const session = record('a');
        await store.saveSession(session, 0, log('a', 1, 1));
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await expect(store.saveSession(session, 0, log('a', 1, 1))).rejects.toThrow(VersionConflict);
      });

      test('succeeds though its claim has gone to another since', async () => {
        const store = await open();
        const session = record('a', { version: 2 });
        await store.saveSession(record('a', { claims: ['x'] }), 0, []);
        await store.saveSession(session, 1, []);
        await store.saveSession(record('b', { claims: ['x'] }), 0, []);
        await store.saveSession({ ...session, claims: ['x'] }, 1, []);
        expect(await store.holderOf('x')).toBe('b');
      });

      test('of twenty at once has one effect', async () => {
        const store = await open();
        const session = record('a', { claims: [roomClaim('lobby')] });
        await Promise.all(Array.from({ length: 20 }, () => store.saveSession(session, 0, [said('a', 1)])));
        expect(seqs(await store.eventsAfter('a', 0, 30))).toEqual([1]);
        expect(await store.messagesAfter('a', 0, 30)).toHaveLength(1);
        expect(await store.getStatistics()).toMatchObject({ sessions: 1, messages: 1 });
      });
    });

    describe('odd text', () => {
      test.for(Object.entries(odd))('(%s) in a record comes back equal', async ([name, text]) => {
        const store = await open();
        const wish = {
          metadata: labelled({ tags: [text], [`key ${text}`]: text, [text]: name }),
          context: JSON.parse(`{"__proto__":{"deep":[]},"constructor":"x","list":[],"none":{},"null":null,"n":[0,1.5,-1e21,1e300]}`),
          claims: [`x:${text}`],
          user_name: text,
          owner_id: `${text}.`,
        };
        const session = record(`session ${text.slice(0, 40)}`, wish);
        await store.saveSession(session, 0, []);
        const loaded = await store.loadSession(session.session_id);
        expect(loaded).toEqual(session);
        expect(JSON.stringify(loaded?.context)).toBe(JSON.stringify(wish.context));
        expect(await store.holderOf(`x:${text}`)).toBe(session.session_id);
        expect(ids(await store.listSessions({ owner_id: `${text}.`, tags: [text], limit: 10, offset: 0 }))).toEqual([session.session_id]);
      });

      test.for(Object.entries(odd))('(%s) in an event and a message comes back equal', async ([, text]) => {
        const store = await open();
        const message = said('a', 1, `id ${text}`, text);
        await store.saveSession(record('a'), 0, [message]);
        expect(await store.eventsAfter('a', 0, 10)).toEqual([message]);
        expect(await store.messagesAfter('a', 0, 10)).toEqual([message]);
        expect(await store.findMessage('a', `id ${text}`)).toEqual(message);
        await store.dropMessages('a');
        expect(await store.eventsAfter('a', 0, 10)).toEqual([{ ...message, content: '' }]);
      });

      test('keeps names apart that programs are built from', async () => {
        const store = await open();
        const names = ['__proto__', 'constructor', 'toString', 'index', 'record', '*', '{', '}', '{}', 'a}b', '{a', 'A', 'a', 'a:log'];
        for (const id of names) await store.saveSession(record(id, { claims: [id], user_name: id }), 0, [said(id, 1, id, id)]);
        for (const id of names) {
          expect(await store.loadSession(id)).toMatchObject({ session_id: id, user_name: id });
          expect(await store.holderOf(id)).toBe(id);
          expect(await store.messagesAfter(id, 0, 10)).toEqual([said(id, 1, id, id)]);
        }
        expect(await store.findMessage('a', '__proto__')).toBeUndefined();
        expect(await store.findMessage('__proto__', '__proto__')).toMatchObject({ content: '__proto__' });
        expect(await store.getStatistics()).toMatchObject({ sessions: names.length, messages: names.length });
      });
    });

    describe('a claim', () => {
      const lobby = [roomClaim('lobby')];

      test('has one holder', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        const refused = store.saveSession(record('b', { claims: lobby }), 0, log('b', 1, 1));
        await expect(refused).rejects.toThrow(ClaimTaken);
        await expect(refused).rejects.toMatchObject({ claim: 'room:lobby' });
        expect(await store.loadSession('b')).toBeUndefined();
      });

      test('stays with its holder through further commits', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: lobby }), 1, []);
        await expect(store.saveSession(record('b', { claims: lobby }), 0, [])).rejects.toThrow(ClaimTaken);
      });

      test('is free when its holder drops it', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: [] }), 1, []);
        await store.saveSession(record('b', { claims: lobby }), 0, []);
        expect(await store.loadSession('b')).toBeDefined();
      });

      test('that is exchanged for another frees the first and holds the second', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: [roomClaim('hall')] }), 1, []);
        await store.saveSession(record('b', { claims: lobby }), 0, []);
        await expect(store.saveSession(record('c', { claims: [roomClaim('hall')] }), 0, [])).rejects.toThrow(ClaimTaken);
      });

      test('that is refused is not reported to a commit that is out of date', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('b'), 0, []);
        await expect(store.saveSession(record('b', { claims: lobby }), 0, [])).rejects.toThrow(VersionConflict);
      });

      test('that is refused leaves the commit s other claims untaken', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await expect(store.saveSession(record('b', { claims: [roomClaim('hall'), ...lobby] }), 0, [])).rejects.toThrow(ClaimTaken);
        await store.saveSession(record('c', { claims: [roomClaim('hall')] }), 0, []);
        expect(await store.loadSession('c')).toBeDefined();
      });

      test('that is refused leaves those its record had', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('b', { claims: [roomClaim('hall')] }), 0, []);
        await expect(store.saveSession(record('b', { version: 2, claims: lobby }), 1, [])).rejects.toThrow(ClaimTaken);
        await expect(store.saveSession(record('c', { claims: [roomClaim('hall')] }), 0, [])).rejects.toThrow(ClaimTaken);
      });
    });

    describe('the holder of a claim', () => {
      test('is the session whose record names it', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: ['x', 'y'] }), 0, []);
        expect(await store.holderOf('x')).toBe('a');
        expect(await store.holderOf('y')).toBe('a');
        expect(await store.holderOf('z')).toBeUndefined();
      });

      test('is nobody once it is dropped or its session deleted', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: ['x', 'y'] }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: ['y'] }), 1, []);
        expect(await store.holderOf('x')).toBeUndefined();
        await store.deleteSession('a');
        expect(await store.holderOf('y')).toBeUndefined();
      });

      test('is one of a hundred that want it at once, and only its record is there', async () => {
        const store = await open();
        const wanting = Array.from({ length: 100 }, (_, i) => `s${i}`);
        const done = await Promise.allSettled(wanting.map((id) => store.saveSession(record(id, { claims: ['x', 'y'] }), 0, [])));
        const refused = done.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
        expect(refused).toHaveLength(99);
        for (const error of refused) expect(error).toBeInstanceOf(ClaimTaken);
        const holder = await store.holderOf('x');
        expect(await store.holderOf('y')).toBe(holder);
        expect(ids(await store.listSessions({ limit: 200, offset: 0 }))).toEqual([holder]);
      });
    });

    describe('the log', () => {
      test('is read after a seq, in order', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 3));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 4, 5));
        expect(await store.eventsAfter('a', 2, 10)).toEqual(log('a', 3, 5));
      });

      test('is read in pages', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 5));
        expect(seqs(await store.eventsAfter('a', 0, 2))).toEqual([1, 2]);
        expect(seqs(await store.eventsAfter('a', 2, 2))).toEqual([3, 4]);
        expect(seqs(await store.eventsAfter('a', 4, 2))).toEqual([5]);
      });

      test('has nothing after its last event', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 3));
        expect(await store.eventsAfter('a', 3, 10)).toEqual([]);
        expect(await store.eventsAfter('a', 9, 10)).toEqual([]);
      });

      test('of a session that is not there is empty', async () => {
        expect(await (await open()).eventsAfter('a', 0, 10)).toEqual([]);
      });

      test('keeps the last 512 events', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 500));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 501, 600));
        expect(seqs(await store.eventsAfter('a', 88, 1_000))).toEqual(Array.from({ length: 512 }, (_, i) => 89 + i));
      });

      test('says so when events asked for are no longer kept', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 500));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 501, 600));
        expect(await store.eventsAfter('a', 87, 1_000)).toBeUndefined();
        expect(await store.eventsAfter('a', 0, 1)).toBeUndefined();
      });
    });

    describe('messages', () => {
      test('are read after a seq, in order and in pages', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, [said('a', 1), ...log('a', 2, 3), said('a', 4)]);
        await store.saveSession(record('a', { version: 2 }), 1, [...log('a', 5, 8), said('a', 9), said('a', 10)]);
        expect(await store.messagesAfter('a', 0, 10)).toEqual([said('a', 1), said('a', 4), said('a', 9), said('a', 10)]);
        expect(await store.messagesAfter('a', 1, 2)).toEqual([said('a', 4), said('a', 9)]);
        expect(await store.messagesAfter('a', 9, 2)).toEqual([said('a', 10)]);
        expect(await store.messagesAfter('a', 10, 2)).toEqual([]);
        expect(await store.messagesAfter('nobody', 0, 2)).toEqual([]);
      });

      test('are found by their id', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, [said('a', 1), said('a', 2)]);
        expect(await store.findMessage('a', 'm2')).toEqual(said('a', 2));
        expect(await store.findMessage('a', 'm3')).toBeUndefined();
        expect(await store.findMessage('b', 'm2')).toBeUndefined();
      });

      test('outlive their events', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, [said('a', 1)]);
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 2, 600));
        expect(await store.eventsAfter('a', 0, 10)).toBeUndefined();
        expect(await store.messagesAfter('a', 0, 10)).toEqual([said('a', 1)]);
        expect(await store.findMessage('a', 'm1')).toEqual(said('a', 1));
      });

      test('of a commit that conflicts are not kept', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await expect(store.saveSession(record('a'), 0, [said('a', 1)])).rejects.toThrow(VersionConflict);
        expect(await store.findMessage('a', 'm1')).toBeUndefined();
        expect(await store.getStatistics()).toMatchObject({ messages: 0 });
      });

      test('that are dropped leave their events in place without a content', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, [said('a', 1), ...log('a', 2, 2), said('a', 3)]);
        await store.dropMessages('a');
        expect(await store.messagesAfter('a', 0, 10)).toEqual([]);
        expect(await store.findMessage('a', 'm1')).toBeUndefined();
        expect(await store.eventsAfter('a', 0, 10)).toEqual([
          { ...said('a', 1), content: '' },
          ...log('a', 2, 2),
          { ...said('a', 3), content: '' },
        ]);
        expect(await store.getStatistics()).toMatchObject({ sessions: 1, messages: 0 });
      });

      test('come again after they were dropped', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, [said('a', 1)]);
        await store.dropMessages('a');
        await store.saveSession(record('a', { version: 2 }), 1, [said('a', 2)]);
        expect(await store.messagesAfter('a', 0, 10)).toEqual([said('a', 2)]);
        expect(await store.getStatistics()).toMatchObject({ messages: 1 });
      });

      test('of a session that is not there are dropped in vain', async () => {
        await expect((await open()).dropMessages('a')).resolves.toBeUndefined();
      });

      test('end with their session', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, [said('a', 1)]);
        await store.deleteSession('a');
        await store.saveSession(record('a'), 0, []);
        expect(await store.messagesAfter('a', 0, 10)).toEqual([]);
        expect(await store.findMessage('a', 'm1')).toBeUndefined();
        expect(await store.getStatistics()).toEqual({ sessions: 1, by_status: { Creating: 1 }, messages: 0 });
      });
    });

    describe('the list', () => {
      const everything = { limit: 1_000, offset: 0 };
      const save = (store: StoreProvider, id: string, wish: Partial<Session> = {}) => store.saveSession(record(id, wish), 0, []);

      test('has the newest first, and of those of one time the one with the largest id', async () => {
        const store = await open();
        for (const [id, at] of [
          ['b', 1],
          ['d', 2],
          ['c', 2],
          ['a', 3],
          ['e', 2],
        ] as const)
          await save(store, id, { created_at: t0 + at });
        expect(ids(await store.listSessions(everything))).toEqual(['a', 'e', 'd', 'c', 'b']);
      });

      test('is of one owner, of one status, with all of some tags', async () => {
        const store = await open();
        await save(store, 'a', { owner_id: 'ann', status: 'Ready', metadata: labelled({ tags: ['x', 'y'] }) });
        await save(store, 'b', { owner_id: 'ann', status: 'Active', metadata: labelled({ tags: ['x'] }) });
        await save(store, 'c', { owner_id: 'bob', status: 'Ready', metadata: labelled({ tags: ['y'] }) });
        await save(store, 'd', { status: 'Ready' });
        const list = async (filter: object) => ids(await store.listSessions({ ...everything, ...filter }));
        expect(await list({})).toEqual(['d', 'c', 'b', 'a']);
        expect(await list({ owner_id: 'ann' })).toEqual(['b', 'a']);
        expect(await list({ owner_id: 'nobody' })).toEqual([]);
        expect(await list({ status: 'Ready' })).toEqual(['d', 'c', 'a']);
        expect(await list({ owner_id: 'ann', status: 'Ready' })).toEqual(['a']);
        expect(await list({ tags: ['y'] })).toEqual(['c', 'a']);
        expect(await list({ tags: ['x', 'y'] })).toEqual(['a']);
        expect(await list({ tags: [] })).toEqual(['d', 'c', 'b', 'a']);
      });

      test('follows a record to another status, and drops one that is deleted', async () => {
        const store = await open();
        await save(store, 'a', { status: 'Ready' });
        await save(store, 'b', { status: 'Ready' });
        await store.saveSession(record('a', { version: 2, status: 'Active' }), 1, []);
        await store.deleteSession('b');
        expect(await store.listSessions({ ...everything, status: 'Ready' })).toEqual([]);
        expect(ids(await store.listSessions({ ...everything, status: 'Active' }))).toEqual(['a']);
        expect(ids(await store.listSessions(everything))).toEqual(['a']);
      });

      test('keeps its order, of all and of one owner, while sessions come in any order, go and change', async () => {
        const store = await open();
        const at = new Map([...'hbfadgec'].map((id, i) => [id, t0 + (i % 3)]));
        for (const [id, created_at] of at) await save(store, id, { created_at, owner_id: id < 'g' ? 'ann' : 'bob' });
        for (const id of ['f', 'd']) await store.deleteSession(id);
        for (const id of ['a', 'h']) {
          const change = { created_at: at.get(id) as number, owner_id: id < 'g' ? 'ann' : 'bob', version: 2 };
          await store.saveSession(record(id, change), 1, []);
        }
        const order = [...at.keys()].toSorted((a, b) => (at.get(b) as number) - (at.get(a) as number) || (a < b ? 1 : -1));
        const left = order.filter((id) => id !== 'f' && id !== 'd');
        expect(ids(await store.listSessions(everything))).toEqual(left);
        expect(ids(await store.listSessions({ ...everything, owner_id: 'ann' }))).toEqual(left.filter((id) => id < 'g'));
        const before = { session_id: 'b', created_at: at.get('b') as number };
        expect(ids(await store.listSessions({ limit: 2, offset: 1, before }))).toEqual(left.slice(left.indexOf('b') + 2).slice(0, 2));
        await store.deleteSession('b');
        await store.deleteSession('c');
        expect(ids(await store.listSessions({ ...everything, owner_id: 'ann' }))).toEqual(left.filter((id) => id === 'a' || id === 'e'));
      });

      test('starts at an offset, and ends at a limit', async () => {
        const store = await open();
        for (const id of ['a', 'b', 'c', 'd']) await save(store, id, { owner_id: id < 'd' ? 'ann' : 'bob' });
        expect(ids(await store.listSessions({ owner_id: 'ann', limit: 2, offset: 0 }))).toEqual(['c', 'b']);
        expect(ids(await store.listSessions({ owner_id: 'ann', limit: 2, offset: 2 }))).toEqual(['a']);
        expect(await store.listSessions({ limit: 2, offset: 4 })).toEqual([]);
        expect(await store.listSessions({ limit: 0, offset: 0 })).toEqual([]);
      });

      test('goes on after a session that is deleted meanwhile', async () => {
        const store = await open();
        for (const id of ['a', 'b', 'c', 'd']) await save(store, id);
        await store.deleteSession('c');
        expect(ids(await store.listSessions({ ...everything, before: { created_at: t0, session_id: 'c' } }))).toEqual(['b', 'a']);
      });

      test('in pages neither loses nor doubles a session while others come, go and change', async () => {
        const store = await open();
        const name = (i: number) => `s${String(i).padStart(4, '0')}`;
        // 350 of five times, so that pages begin and end among those of one time
        const kept = Array.from({ length: 350 }, (_, i) => ({ session_id: name(i), created_at: t0 + (i % 5) }));
        await Promise.all(kept.map(({ session_id, created_at }) => save(store, session_id, { created_at, owner_id: 'ann' })));
        const seen: string[] = [];
        for (let page = 0, before: (typeof kept)[number] | undefined; ; page++) {
          const found = await store.listSessions({ owner_id: 'ann', limit: 7, offset: 0, before });
          seen.push(...ids(found));
          const last = found.at(-1);
          if (!last) break;
          before = last;
          await save(store, `new${page}`, { created_at: t0 + 9, owner_id: 'ann' });
          await save(store, `t${page}`, { created_at: last.created_at, owner_id: 'ann' });
          if (page % 3 === 0) await store.deleteSession(last.session_id);
        }
        const sorted = kept.toSorted((a, b) => b.created_at - a.created_at || (a.session_id < b.session_id ? 1 : -1));
        expect(seen.filter((id) => id.startsWith('s'))).toEqual(ids(sorted as Session[]));
        expect(new Set(seen).size).toBe(seen.length);
      });

      test('finds the few that fit among many', async () => {
        const store = await open();
        const tags = (i: number) => (i % 100 === 3 ? ['rare'] : []);
        await Promise.all(
          Array.from({ length: 350 }, (_, i) => save(store, `s${i}`, { created_at: t0 + i, metadata: labelled({ tags: tags(i) }) })),
        );
        expect(ids(await store.listSessions({ tags: ['rare'], limit: 2, offset: 1 }))).toEqual(['s203', 's103']);
      });
    });

    test('the statistics count sessions by status, and messages', async () => {
      const store = await open();
      expect(await store.getStatistics()).toEqual({ sessions: 0, by_status: {}, messages: 0 });
      await store.saveSession(record('a', { status: 'Ready' }), 0, [said('a', 1), said('a', 2)]);
      await store.saveSession(record('b', { status: 'Ready' }), 0, [said('b', 1)]);
      await store.saveSession(record('c', { status: 'Active' }), 0, []);
      await store.saveSession(record('b', { status: 'Active', version: 2 }), 1, [said('b', 2)]);
      expect(await store.getStatistics()).toEqual({ sessions: 3, by_status: { Ready: 1, Active: 2 }, messages: 4 });
      await store.deleteSession('b');
      expect(await store.getStatistics()).toEqual({ sessions: 2, by_status: { Ready: 1, Active: 1 }, messages: 2 });
    });

    test('a storage that is there answers a ping, and is closed once or twice', async () => {
      const store = await open();
      await store.ping();
      await store.close();
      await store.close();
    });

    describe('a subscriber', () => {
      test('is woken after a commit, which it can read then', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 1));
        const seen: ReturnType<StoreProvider['eventsAfter']>[] = [];
        store.subscribe('a', () => seen.push(store.eventsAfter('a', 1, 10)));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 2, 2));
        await vi.waitFor(async () => expect(seqs(await seen.at(-1))).toEqual([2]));
      });

      test('is not woken after it unsubscribed, while others still are', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        const gone = vi.fn();
        const stays = vi.fn();
        store.subscribe('a', gone);
        store.subscribe('a', stays);
        store.unsubscribe('a', gone);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await vi.waitFor(() => expect(stays).toHaveBeenCalled());
        expect(gone).not.toHaveBeenCalled();
      });

      test('may unsubscribe twice without taking another with it', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        const gone = vi.fn();
        const stays = vi.fn();
        store.subscribe('a', gone);
        store.unsubscribe('a', gone);
        store.subscribe('a', stays);
        store.unsubscribe('a', gone);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await vi.waitFor(() => expect(stays).toHaveBeenCalled());
      });

      test('is notified of each session it follows, and of no other', async () => {
        const store = await open();
        for (const id of ['a', 'b', 'c']) await store.saveSession(record(id), 0, []);
        const woken = vi.fn<(id: string) => void>();
        store.subscribe('a', woken);
        store.subscribe('b', woken);
        for (const id of ['c', 'b', 'a']) await store.saveSession(record(id, { version: 2 }), 1, []);
        await vi.waitFor(() => expect(new Set(woken.mock.calls.map(([id]) => id))).toEqual(new Set(['a', 'b'])));
      });

      test('that subscribed twice is gone after it unsubscribed once', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        const gone = vi.fn();
        const stays = vi.fn();
        store.subscribe('a', gone);
        store.subscribe('a', gone);
        store.subscribe('a', stays);
        store.unsubscribe('a', gone);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await vi.waitFor(() => expect(stays).toHaveBeenCalled());
        expect(gone).not.toHaveBeenCalled();
      });
    });

    describe('due', () => {
      test('names the earliest first', async () => {
        const store = await open();
        await store.saveSession(at('late', t0 + 3_000), 0, []);
        await store.saveSession(at('early', t0 + 1_000), 0, []);
        await store.saveSession(at('middle', t0 + 2_000), 0, []);
        expect(await store.due(t0 + 5_000, 10)).toEqual(['early', 'middle', 'late']);
      });

      test('leaves out what comes later, and what never comes', async () => {
        const store = await open();
        await store.saveSession(at('now', t0 + 1_000), 0, []);
        await store.saveSession(at('later', t0 + 2_000), 0, []);
        await store.saveSession(record('never'), 0, []);
        expect(await store.due(t0 + 1_000, 10)).toEqual(['now']);
      });

      test('names at most as many as asked for', async () => {
        const store = await open();
        for (const [i, id] of ['a', 'b', 'c'].entries()) await store.saveSession(at(id, t0 + 1_000 * i), 0, []);
        expect(await store.due(t0 + 5_000, 2)).toEqual(['a', 'b']);
      });

      test('names them again until their record says otherwise', async () => {
        const store = await open();
        await store.saveSession(at('a', t0), 0, []);
        expect(await store.due(t0, 10)).toEqual(['a']);
        expect(await store.due(t0, 10)).toEqual(['a']);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        expect(await store.due(t0 + 1_000, 10)).toEqual([]);
      });

      test('follows a record to a later and to an earlier time', async () => {
        const store = await open();
        await store.saveSession(at('a', t0 + 1_000), 0, []);
        await store.saveSession(at('a', t0 + 5_000, 2), 1, []);
        expect(await store.due(t0 + 4_000, 10)).toEqual([]);
        await store.saveSession(at('a', t0 + 2_000, 3), 2, []);
        expect(await store.due(t0 + 2_000, 10)).toEqual(['a']);
      });
    });

    test('a deleted session leaves no record, log, claim or due time', async () => {
      const store = await open();
      await store.saveSession({ ...at('a', t0), claims: [roomClaim('lobby')] }, 0, log('a', 1, 3));
      await store.deleteSession('a');
      expect(await store.loadSession('a')).toBeUndefined();
      expect(await store.eventsAfter('a', 0, 10)).toEqual([]);
      expect(await store.due(t0 + 1_000, 10)).toEqual([]);
      await store.saveSession(record('b', { claims: [roomClaim('lobby')] }), 0, []);
      await store.saveSession(record('a'), 0, log('a', 1, 1));
      expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
    });

    test('deleting a session that is not there succeeds', async () => {
      await expect((await open()).deleteSession('a')).resolves.toBeUndefined();
    });

    test('knows the nodes that live, until their time is over', async () => {
      const store = await open();
      await store.beat('one', t0 + 1_000);
      await store.beat('two', t0 + 1_000);
      await store.beat('two', t0 + 5_000);
      expect([...(await store.nodes(t0))].sort()).toEqual(['one', 'two']);
      expect(await store.nodes(t0 + 1_001)).toEqual(['two']);
      expect(await store.nodes(t0 + 6_000)).toEqual([]);
    });
  });
}
