import { describe, expect, test, vi } from 'vitest';
import type { Metadata } from '../../protocol/fields.ts';
import { StorageError } from '../../src/errors.ts';
import { ClaimTaken, maxEvents, type SessionFilter, type StoreProvider, VersionConflict } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { tablePrefix } from '../../src/store/postgres.ts';
import { t0 } from '../sessions/build.ts';
import { describeWith, notInstalled, parts } from '../support/parts.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { record, storeContract } from './contract.ts';
import { connect, freshPrefix, log, numbers, openStore, said, seqs } from './postgres-support.ts';

const given = process.env.TEST_POSTGRES_URL;
const server = given || !parts.postgres.path ? undefined : sharedPostgres();
const url = () => given ?? server?.().url ?? '';
/** Its type says that every value is a string, but for those it names. */
const tagged = (tags: string[], labels: Record<string, string> = {}) => ({ ...labels, tags }) as Metadata;
const canRun = given !== undefined || server !== undefined;

storeContract(canRun ? 'postgres' : `postgres [skipped: ${notInstalled(parts.postgres)}]`, canRun ? () => openStore(url()) : undefined);

describeWith(...(canRun ? [] : [parts.postgres]))('postgres store alone', () => {
  describe('its tables', () => {
    test.for([
      ['session:', 'session_'],
      ['a_1', 'a_1'],
    ] as const)('of %s are named after it', ([keyPrefix, prefix]) => {
      expect(tablePrefix(keyPrefix)).toBe(prefix);
    });

    test.for(['', '1:', 'a-b:', 'a:b:', 'A:', 'a"; DROP TABLE x; --', 'é', 'x'.repeat(80)])(
      'of %j have a name that is plain, short and its own',
      (keyPrefix) => {
        expect(tablePrefix(keyPrefix)).toMatch(/^s_[a-z0-9_]{1,29}_$/);
        expect(tablePrefix(keyPrefix)).not.toBe(tablePrefix(`${keyPrefix}-`));
      },
    );

    test('are made once by nodes that begin at once', async () => {
      const keyPrefix = freshPrefix();
      const stores = await Promise.all(Array.from({ length: 5 }, () => openStore(url(), { keyPrefix })));
      await Promise.all(stores.map((store, i) => store.saveSession(record(`s${i}`), 0, [])));
      const { rows } = await (await connect(url())).query(`SELECT version FROM ${tablePrefix(keyPrefix)}migrations`);
      expect(rows).toEqual([{ version: 1 }, { version: 2 }]);
    });

    test('keep as many events as every provider', async () => {
      const keyPrefix = freshPrefix();
      await (await openStore(url(), { keyPrefix })).ping();
      const { rows } = await (await connect(url())).query(`SELECT prosrc FROM pg_proc WHERE proname = '${tablePrefix(keyPrefix)}save'`);
      expect(rows).toEqual([{ prosrc: expect.stringContaining(` - ${maxEvents};`) }]);
    });

    test('of newer code are refused, until they are not', async () => {
      const keyPrefix = freshPrefix();
      await (await openStore(url(), { keyPrefix })).ping();
      const sql = await connect(url());
      await sql.query(`INSERT INTO ${tablePrefix(keyPrefix)}migrations (version) VALUES (99)`);
      const store = await openStore(url(), { keyPrefix });
      await expect(store.ping()).rejects.toThrow(StorageError);
      await expect(store.loadSession('a')).rejects.toThrow(/are at migration 99, newer than this gateway, which knows 2/);
      await sql.query(`DELETE FROM ${tablePrefix(keyPrefix)}migrations WHERE version = 99`);
      await store.ping();
    });

    test('of another prefix are not touched', async () => {
      const [a, b] = await Promise.all([openStore(url()), openStore(url())]);
      await a.saveSession(record('a'), 0, []);
      expect(await b.loadSession('a')).toBeUndefined();
    });
  });

  describe('two stores on one database', () => {
    const two = async () => {
      const keyPrefix = freshPrefix();
      const stores = [await openStore(url(), { keyPrefix }), await openStore(url(), { keyPrefix })] as const;
      await Promise.all(stores.map((store) => store.ping()));
      return { a: stores[0], b: stores[1], keyPrefix };
    };

    test('exclude each other from a claim', async () => {
      const { a, b } = await two();
      await a.saveSession(record('a', { claims: ['room:lobby'] }), 0, []);
      await expect(b.saveSession(record('b', { claims: ['room:lobby'] }), 0, [])).rejects.toMatchObject({ claim: 'room:lobby' });
      expect(await b.holderOf('room:lobby')).toBe('a');
    });

    test('give claims asked for at once in any order to one session, and refuse the other', async () => {
      const { a, b } = await two();
      for (let round = 0; round < 20; round++) {
        const [x, y] = [`x${round}`, `y${round}`];
        const results = await Promise.allSettled([
          a.saveSession(record(`a${round}`, { claims: [x, y] }), 0, []),
          b.saveSession(record(`b${round}`, { claims: [y, x] }), 0, []),
        ]);
        expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        expect(results.find((result) => result.status === 'rejected')?.reason).toBeInstanceOf(ClaimTaken);
        expect(await a.holderOf(x)).toBe(await b.holderOf(y));
      }
    });

    test('wake each other s subscribers, and nobody else s', async () => {
      const { a, b } = await two();
      const wake = vi.fn();
      const other = vi.fn();
      b.subscribe('a', wake);
      b.subscribe('b', other);
      await a.saveSession(record('a'), 0, log('a', 1, 1));
      await vi.waitFor(() => expect(wake).toHaveBeenCalledTimes(1));
      expect(other).not.toHaveBeenCalled();
      expect(seqs(await b.eventsAfter('a', 0, 10))).toEqual([1]);
    });

    test('still wake each other after the listening connection was killed', async () => {
      const { a, b, keyPrefix } = await two();
      const wake = vi.fn();
      b.subscribe('a', wake);
      const sql = await connect(url());
      const listening = `pg_stat_activity WHERE query = 'LISTEN ${tablePrefix(keyPrefix)}commits'`;
      expect((await sql.query(`SELECT pg_terminate_backend(pid) FROM ${listening}`)).rowCount).toBe(2);
      // what was said meanwhile is not known
      await vi.waitFor(() => expect(wake).toHaveBeenCalledTimes(1));
      await a.saveSession(record('a'), 0, []);
      await vi.waitFor(() => expect(wake).toHaveBeenCalledTimes(2));
    });

    test('take a hundred writers on one session: its versions are the successes', async () => {
      const { a, b } = await two();
      await a.saveSession(record('a'), 0, log('a', 1, 1));
      let conflicts = 0;
      const write = async (store: StoreProvider, commit_id: string): Promise<number> => {
        const session = await store.loadSession('a');
        if (!session) throw new Error('the record is gone');
        const version = session.version + 1;
        try {
          await store.saveSession({ ...session, version, commit_id }, session.version, log('a', version, version));
          return version;
        } catch (error) {
          if (!(error instanceof VersionConflict)) throw error;
          conflicts += 1;
          return write(store, commit_id);
        }
      };
      const versions = await Promise.all(numbers(1, 100).map((n) => write(n % 2 ? a : b, `commit ${n}`)));
      expect(versions.sort((x, y) => x - y)).toEqual(numbers(2, 101));
      expect(conflicts).toBeGreaterThan(0);
      expect(await b.loadSession('a')).toMatchObject({ version: 101 });
      expect(seqs(await b.eventsAfter('a', 0, 200))).toEqual(numbers(1, 101));
    });

    test('that write the same commit at once have one effect', async () => {
      const { a, b } = await two();
      const session = record('a', { claims: ['room:lobby'] });
      await Promise.all([a, b, a, b].map((store) => store.saveSession(session, 0, [said('a', 1)])));
      expect(await a.eventsAfter('a', 0, 10)).toEqual([said('a', 1)]);
      expect(await a.messagesAfter('a', 0, 10)).toEqual([said('a', 1)]);
    });
  });

  test('a commit repeated has one effect on record, events, messages and claims', async () => {
    const store = await openStore(url());
    await store.saveSession(record('a'), 0, [said('a', 1)]);
    const second = record('a', { version: 2, claims: ['room:lobby'] });
    await store.saveSession(second, 1, [said('a', 2), ...log('a', 3, 3)]);
    await store.saveSession(second, 1, [said('a', 2), ...log('a', 3, 3)]);
    expect(await store.loadSession('a')).toEqual(second);
    expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1, 2, 3]);
    expect(seqs(await store.messagesAfter('a', 0, 10))).toEqual([1, 2]);
    expect(await store.holderOf('room:lobby')).toBe('a');
    await expect(store.saveSession({ ...second, commit_id: 'another' }, 1, [])).rejects.toThrow(VersionConflict);
  });

  test('a refused claim leaves record, events and messages as they were, and the connection in use', async () => {
    const store = await openStore(`${url()}?pool_max=1`);
    await store.saveSession(record('a', { claims: ['room:lobby'] }), 0, []);
    await store.saveSession(record('b'), 0, log('b', 1, 1));
    const wish = record('b', { version: 2, claims: ['room:hall', 'room:lobby'] });
    await expect(store.saveSession(wish, 1, [said('b', 2)])).rejects.toThrow(ClaimTaken);
    expect(await store.loadSession('b')).toMatchObject({ version: 1 });
    expect(seqs(await store.eventsAfter('b', 0, 10))).toEqual([1]);
    expect(await store.messagesAfter('b', 0, 10)).toEqual([]);
    expect(await store.holderOf('room:hall')).toBeUndefined();
  });

  describe('odd text', () => {
    const odd = [
      '',
      ' ',
      '\u{1f600}é\u0301',
      '\u202eabc',
      '\u2028\uffff\ufeff',
      `'"\\{}[],;--$1%s`,
      'NULL',
      '\n\t\r\u0001\u007f',
      'x'.repeat(50_000),
    ];

    test('comes back as it was, everywhere', async () => {
      const store = await openStore(url());
      const short = odd.filter((text) => text.length < 100);
      for (const [i, text] of odd.entries()) {
        const session = record(`${i}${text.slice(0, 100)}`, {
          owner_id: text.slice(0, 100),
          commit_id: text,
          claims: [`room:${i}${text.slice(0, 100)}`],
          metadata: tagged(short, { note: text }),
          context: {
            [text]: [text, JSON.parse('{ "__proto__": 1, "constructor": 2 }')],
            numbers: [0.1, 1e21, 5e-324, Number.MAX_VALUE, -7],
          },
        });
        await store.saveSession(session, 0, [{ ...said(session.session_id, 1, text), message_id: text.slice(0, 100) }]);
        const stored = await store.loadSession(session.session_id);
        expect(JSON.parse(JSON.stringify(stored))).toEqual(JSON.parse(JSON.stringify(session)));
        expect(await store.findMessage(session.session_id, text.slice(0, 100))).toMatchObject({ content: text });
        expect(await store.holderOf(`room:${i}${text.slice(0, 100)}`)).toBe(session.session_id);
        expect(await store.listSessions({ owner_id: text.slice(0, 100), tags: short, limit: 10, offset: 0 })).toHaveLength(1);
      }
    });

    test.for([
      ['NUL in the record', { context: { a: 'x\u0000y' } }, 'fine'],
      ['NUL in a key', { context: { 'x\u0000': 1 } }, 'fine'],
      ['half a pair in the record', { context: { a: '\ud800' } }, 'fine'],
      ['NUL in an event', {}, 'x\u0000y'],
      ['half a pair in an event', {}, '\udc00'],
    ] as const)('with %s is refused as a whole, and the store goes on', async ([, wish, content]) => {
      const store = await openStore(url());
      await expect(store.saveSession(record('a', wish), 0, [said('a', 1, content)])).rejects.toThrow(StorageError);
      expect(await store.loadSession('a')).toBeUndefined();
      await store.saveSession(record('a'), 0, [said('a', 1)]);
    });

    test('with NUL in what is looked for is refused', async () => {
      const store = await openStore(url());
      await expect(store.loadSession('x\u0000')).rejects.toThrow(StorageError);
      await expect(store.findMessage('x', '\u0000')).rejects.toThrow(StorageError);
    });
  });

  describe('messages', () => {
    test('outlive the last 512 events', async () => {
      const store = await openStore(url());
      await store.saveSession(record('a'), 0, [said('a', 1)]);
      await store.saveSession(record('a', { version: 2 }), 1, log('a', 2, 700));
      expect(await store.eventsAfter('a', 0, 10)).toBeUndefined();
      expect(await store.eventsAfter('a', 187, 10)).toBeUndefined();
      expect(seqs(await store.eventsAfter('a', 188, 1_000))).toEqual(numbers(189, 700));
      expect(await store.messagesAfter('a', 0, 10)).toEqual([said('a', 1)]);
      expect(await store.findMessage('a', 'm1')).toEqual(said('a', 1));
    });

    test('are read in pages', async () => {
      const store = await openStore(url());
      await store.saveSession(record('a'), 0, [said('a', 1), ...log('a', 2, 2), said('a', 3), said('a', 4)]);
      await store.saveSession(record('b'), 0, [said('b', 1)]);
      expect(seqs(await store.messagesAfter('a', 0, 2))).toEqual([1, 3]);
      expect(seqs(await store.messagesAfter('a', 3, 2))).toEqual([4]);
    });

    test('that are dropped leave their events in place, without content', async () => {
      const store = await openStore(url());
      await store.saveSession(record('a'), 0, [said('a', 1), ...log('a', 2, 2), said('a', 3)]);
      await store.saveSession(record('b'), 0, [said('b', 1)]);
      await store.dropMessages('a');
      expect(await store.messagesAfter('a', 0, 10)).toEqual([]);
      expect(await store.findMessage('a', 'm1')).toBeUndefined();
      expect(await store.eventsAfter('a', 0, 10)).toEqual([said('a', 1, ''), ...log('a', 2, 2), said('a', 3, '')]);
      expect(await store.messagesAfter('b', 0, 10)).toEqual([said('b', 1)]);
    });

    test('are gone with their session', async () => {
      const store = await openStore(url());
      await store.saveSession(record('a'), 0, [said('a', 1)]);
      await store.deleteSession('a');
      await store.saveSession(record('a'), 0, []);
      expect(await store.messagesAfter('a', 0, 10)).toEqual([]);
    });
  });

  describe('the list', () => {
    const some = (n: number): Session =>
      record(`${['b', 'B', 'a', 'Z', '_', 'é', '0'][n % 7]}${n}`, {
        created_at: t0 + Math.floor(n / 4),
        owner_id: n % 3 ? 'ada' : 'Bob',
        status: n % 5 ? 'Ready' : 'Terminated',
        metadata: n % 2 ? tagged(['red', ...(n % 4 === 1 ? ['blue'] : [])]) : {},
      });
    const filled = async () => {
      const [store, reference] = [await openStore(url()), memoryStore()];
      for (const n of numbers(1, 24)) {
        const session = some(n);
        await Promise.all([store, reference].map((each) => each.saveSession(session, 0, [said(session.session_id, 1)])));
      }
      return { store, reference };
    };
    const all = { limit: 100, offset: 0 };

    test('is that of the memory store for every filter', async () => {
      const { store, reference } = await filled();
      const filters: SessionFilter[] = [];
      for (const owner_id of [undefined, 'ada', 'Bob', 'nobody'])
        for (const status of [undefined, 'Ready', 'Active'] as const)
          for (const tags of [undefined, [], ['red'], ['red', 'blue'], ['none']])
            for (const [limit, offset] of [
              [100, 0],
              [3, 0],
              [3, 2],
            ] as const)
              filters.push({ owner_id, status, tags, limit, offset });
      for (const { created_at, session_id } of await reference.listSessions(all))
        filters.push({ ...all, before: { created_at, session_id }, limit: 5 });
      expect(filters.length).toBeGreaterThan(200);
      const ids = (sessions: readonly Session[]) => sessions.map(({ session_id }) => session_id);
      for (const filter of filters)
        expect(ids(await store.listSessions(filter)), JSON.stringify(filter)).toEqual(ids(await reference.listSessions(filter)));
      expect(await store.listSessions(all)).toEqual(await reference.listSessions(all));
    });

    test('in pages neither loses nor repeats under inserts, among equals too', async () => {
      const { store } = await filled();
      const before = (await store.listSessions(all)).map(({ session_id }) => session_id);
      const seen: string[] = [];
      let last: Session | undefined;
      for (let page = 0; ; page++) {
        const sessions = await store.listSessions({ limit: 3, offset: 0, before: last });
        if (sessions.length === 0) break;
        seen.push(...sessions.map(({ session_id }) => session_id));
        last = sessions.at(-1);
        await store.saveSession(record(`new${page}`, { created_at: t0 + 1_000 + page }), 0, []);
      }
      expect(seen).toEqual(before);
    });

    test('follows what a commit changes', async () => {
      const store = await openStore(url());
      await store.saveSession(record('a', { owner_id: 'ada', metadata: tagged(['red']) }), 0, []);
      await store.saveSession(record('a', { version: 2, owner_id: 'bob', status: 'Active', metadata: tagged(['blue']) }), 1, []);
      expect(await store.listSessions({ ...all, owner_id: 'ada' })).toEqual([]);
      expect(await store.listSessions({ ...all, tags: ['red'] })).toEqual([]);
      expect(await store.listSessions({ ...all, owner_id: 'bob', status: 'Active', tags: ['blue'] })).toHaveLength(1);
    });

    test('is counted', async () => {
      const { store, reference } = await filled();
      expect(await store.getStatistics()).toEqual(await reference.getStatistics());
      expect(await (await openStore(url())).getStatistics()).toEqual({ sessions: 0, by_status: {}, messages: 0 });
    });
  });

  describe('its pool', () => {
    test('has as many connections as the URL says, and one that listens', async () => {
      const keyPrefix = freshPrefix();
      const application = keyPrefix.replace(':', '');
      const store = await openStore(`${url()}?pool_max=2&application_name=${application}`, { keyPrefix });
      await Promise.all(numbers(1, 50).map(() => store.ping()));
      const { rowCount } = await (await connect(url())).query('SELECT 1 FROM pg_stat_activity WHERE application_name = $1', [application]);
      expect(rowCount).toBe(3);
    });

    test.for(['0', '-1', '1.5', 'many', ''])('of %j connections is refused', async (max) => {
      await expect(openStore(`${url()}?pool_max=${max}`)).rejects.toThrow(StorageError);
    });
  });

  test('a closed store rejects, and may be closed again', async () => {
    const store = await openStore(url());
    await store.ping();
    await store.close();
    await store.close();
    await expect(store.ping()).rejects.toThrow(StorageError);
    store.subscribe('a', () => {});
    store.unsubscribe('a', () => {});
  });
});
