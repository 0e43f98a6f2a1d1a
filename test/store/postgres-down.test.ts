import pino from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { StorageHealth } from '../../src/sessions/storage-health.ts';
import { tablePrefix } from '../../src/store/postgres.ts';
import { withVerbs } from '../../src/store/verbs.ts';
import { ManualClock, settled } from '../support/clock.ts';
import { describeWith, parts } from '../support/parts.ts';
import { type Postgres, sharedPostgres } from '../support/postgres.ts';
import { record } from './contract.ts';
import { connect, freshPrefix, log, numbers, openStore, said, seqs } from './postgres-support.ts';

/** More than anything takes; where it is to pass, a test lets it. */
const timeoutMs = 20_000;
/** For what cannot succeed. */
const shortMs = 500;

/** From now on timers stand still, but for those that the test, or a wait in it, moves on; sockets go on as always. */
const holdTimers = () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
};

/** The calls end in vain: at once, or where timers stand still no later than their time is over. */
async function fail(...calls: Promise<unknown>[]): Promise<void> {
  const failed = Promise.all(calls.map((call) => expect(call).rejects.toThrow(StorageError)));
  if (vi.isFakeTimers()) await vi.advanceTimersByTimeAsync(timeoutMs);
  await failed;
}

const everyCall = (store: StoreProvider): Promise<unknown>[] => [
  store.saveSession(record('z'), 0, []),
  store.loadSession('a'),
  store.deleteSession('z'),
  store.holderOf('a'),
  store.listSessions({ limit: 1, offset: 0 }),
  store.getStatistics(),
  Promise.resolve(store.eventsAfter('a', 0, 1)),
  store.messagesAfter('a', 0, 1),
  store.findMessage('a', 'm'),
  store.dropMessages('z'),
  store.due(0, 1),
  store.ping(),
];

describeWith(parts.postgres)('postgres store', () => {
  const server: () => Postgres = sharedPostgres();
  const open = (options: Parameters<typeof openStore>[1] = {}) => openStore(server().url, { timeoutMs, ...options });

  describe('whose server is down', () => {
    const stopped = async () => {
      onTestFinished(() => server().start());
      await server().stop();
    };

    test('is made, fails every call at once, and works once the server is there', async () => {
      await stopped();
      const store = await open();
      await fail(...everyCall(store));
      const wake = vi.fn();
      store.subscribe('a', wake);
      await server().start();
      await store.saveSession(record('a'), 0, log('a', 1, 1));
      expect(await store.loadSession('a')).toMatchObject({ version: 1 });
      await vi.waitFor(() => expect(wake).toHaveBeenCalled());
      wake.mockClear();
      await store.saveSession(record('a', { version: 2 }), 1, []);
      await vi.waitFor(() => expect(wake).toHaveBeenCalled());
    });

    test('after it was up, works again by itself', async () => {
      const store = await open();
      await store.saveSession(record('a'), 0, []);
      // nothing is committed to it: only a new connection wakes
      const wake = vi.fn();
      store.subscribe('quiet', wake);
      await stopped();
      await fail(...everyCall(store));
      expect(wake).not.toHaveBeenCalled();
      await server().start();
      expect(await store.loadSession('a')).toMatchObject({ version: 1 });
      await vi.waitFor(() => expect(wake).toHaveBeenCalled());
    });

    test('closes while it waits to listen again, and tries no more', async () => {
      await stopped();
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      onTestFinished(() => void vi.useRealTimers());
      const store = await open();
      await expect(store.ping()).rejects.toThrow(StorageError);
      await settled(100);
      // the pause before the next attempt
      expect(vi.getTimerCount()).toBe(1);
      await store.close();
      expect(vi.getTimerCount()).toBe(0);
      await expect(store.ping()).rejects.toThrow(StorageError);
    });
  });

  describe('whose server is frozen', () => {
    const frozen = () => {
      onTestFinished(() => server().thaw());
      server().freeze();
      holdTimers();
    };

    test('fails every call in time, also those that wait for a connection, and works once it thaws', async () => {
      const store = await open();
      await store.saveSession(record('a'), 0, []);
      frozen();
      await fail(...everyCall(store), ...everyCall(store));
      await fail(store.loadSession('a'));
      server().thaw();
      expect(await store.loadSession('a')).toMatchObject({ version: 1 });
    });

    test('is made, and fails in time before it was ever there', async () => {
      frozen();
      const store = await open();
      await fail(...everyCall(store));
      server().thaw();
      await store.saveSession(record('a'), 0, []);
    });

    test('commits once what was saved during the frost and is saved again after it', async () => {
      const store = await open();
      await store.saveSession(record('a'), 0, log('a', 1, 1));
      const second = record('a', { version: 2, claims: ['room:lobby'] });
      const events = [said('a', 2), ...log('a', 3, 3)];
      frozen();
      await fail(store.saveSession(second, 1, events));
      await fail(store.saveSession(second, 1, events));
      server().thaw();
      await store.saveSession(second, 1, events);
      expect(await store.loadSession('a')).toEqual(second);
      expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1, 2, 3]);
      expect(seqs(await store.messagesAfter('a', 0, 10))).toEqual([2]);
    });

    test.for(['is connected', 'connects'] as const)('closes in time while it %s, and leaves no connection', async (state) => {
      const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
      const before = sockets();
      const store = await open({ timeoutMs: shortMs });
      if (state === 'is connected') await vi.waitFor(() => store.ping());
      onTestFinished(() => server().thaw());
      server().freeze();
      const call = fail(store.ping());
      await settled();
      expect(sockets()).toBeGreaterThan(before);
      await Promise.all([call, store.close()]);
      await settled();
      expect(sockets()).toBe(before);
    });

    test('finds that its listening connection is dead when it looks after it', async () => {
      const clock = new ManualClock();
      const store = await open({ clock });
      await store.ping();
      const wake = vi.fn();
      store.subscribe('a', wake);
      frozen();
      await clock.advance(10_000);
      // by then it has given the connection up
      await fail(store.ping());
      await fail(store.ping());
      expect(wake).not.toHaveBeenCalled();
      server().thaw();
      await vi.waitFor(() => expect(wake).toHaveBeenCalled());
    });
  });

  test('connections to a server that takes no write are given up, and it works again when one does', async () => {
    const sql = await connect(server().url);
    const readOnly = async (on: boolean) => {
      await sql.query(`ALTER SYSTEM SET default_transaction_read_only = ${on ? 'on' : 'off'}`);
      await sql.query('SELECT pg_reload_conf()');
    };
    onTestFinished(() => readOnly(false));
    const pids = async () => {
      const { rows } = await sql.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'session-gateway'");
      return rows.map(({ pid }) => pid as number);
    };
    // connections of tests before are gone
    await vi.waitFor(async () => expect(await pids()).toEqual([]));
    const store = await open();
    await Promise.all(everyCall(store));
    const before = await pids();
    expect(before.length).toBeGreaterThan(2);
    await readOnly(true);
    // until each of its processes has heard of it, the server still takes writes
    let tries = 0;
    await vi.waitFor(() =>
      expect(store.saveSession(record(`a${++tries}`), 0, [])).rejects.toMatchObject({
        refused: true,
        message: expect.stringMatching(/read-only/),
      }),
    );
    expect(await store.loadSession(`a${tries}`)).toBeUndefined();
    // none of before is used any more, nor listened on
    await vi.waitFor(async () => {
      await Promise.all(everyCall(store).map((call) => call.catch(() => {})));
      expect((await pids()).filter((pid) => before.includes(pid))).toEqual([]);
    });
    await readOnly(false);
    await vi.waitFor(() => store.saveSession(record('a'), 0, []));
  });

  test('says in its own words what deletes a record', async () => {
    expect(withVerbs(await open(), new ManualClock()).deletedBy).toMatch(/^TRUNCATE/);
  });

  test('a list that takes too long is slow, and no sign that the server is away; its connection stays', async () => {
    const keyPrefix = freshPrefix();
    const store = await open({ keyPrefix });
    await store.ping();
    const impatient = await open({ keyPrefix, timeoutMs: shortMs });
    await vi.waitFor(() => impatient.ping());
    const sql = await connect(server().url);
    await sql.query(`BEGIN; LOCK TABLE ${tablePrefix(keyPrefix)}sessions`);
    const lines: string[] = [];
    const health = new StorageHealth(pino({}, { write: (line: string) => void lines.push(line) }), new ManualClock());
    for (const list of [() => impatient.listSessions({ limit: 1, offset: 0 }), () => impatient.getStatistics()]) {
      const failure = await list().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(StorageError);
      expect(failure).toMatchObject({ slow: true });
      health.failed('listSessions', failure as StorageError);
    }
    expect(health.isDown).toBe(false);
    expect(lines).toEqual([expect.stringMatching(/took longer/)]);
    // a commit that could not be made is something else
    const commit = await impatient.saveSession(record('a'), 0, []).catch((error: unknown) => error);
    expect(commit).toMatchObject({ slow: false });
    await sql.query('COMMIT');
    await vi.waitFor(async () => expect(await impatient.listSessions({ limit: 1, offset: 0 })).toEqual([]));
  });

  test('however many lists are slow, what sessions need goes on beside them, and each list ends in time', async () => {
    const keyPrefix = freshPrefix();
    await (await open({ keyPrefix })).saveSession(record('a'), 0, log('a', 1, 1));
    const store = await open({ keyPrefix, timeoutMs: shortMs });
    await vi.waitFor(() => store.ping());
    const sql = await connect(server().url);
    await sql.query(`BEGIN; LOCK TABLE ${tablePrefix(keyPrefix)}sessions`);
    let ended = 0;
    let slowestMs = 0;
    const startedAt = performance.now();
    const lists = Array.from({ length: 40 }, () =>
      store.listSessions({ limit: 1, offset: 0 }).then(
        (items) => ({ items: items.length }),
        (error: StorageError) => {
          slowestMs = performance.now() - startedAt;
          return { slow: error.slow, ended: ++ended };
        },
      ),
    );
    expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
    expect(ended).toBe(0);
    // those that wait for a turn have no more time than those that run
    const outcomes = await Promise.all(lists);
    expect(ended).toBe(40);
    expect(slowestMs).toBeLessThan(1.6 * shortMs);
    await sql.query('COMMIT');
    expect(outcomes.every((outcome) => 'items' in outcome || outcome.slow)).toBe(true);
    await vi.waitFor(async () => expect(await store.listSessions({ limit: 1, offset: 0 })).toHaveLength(1));
  });

  test('a commit that waits for another ends in time, and is not made later', async () => {
    const keyPrefix = freshPrefix();
    const store = await open({ keyPrefix });
    await store.saveSession(record('a'), 0, []);
    const impatient = await open({ keyPrefix, timeoutMs: shortMs });
    await vi.waitFor(() => impatient.ping());
    const [sql, looks] = [await connect(server().url), await connect(server().url)];
    await sql.query(`BEGIN; SELECT 1 FROM ${tablePrefix(keyPrefix)}sessions FOR UPDATE`);
    await fail(impatient.saveSession(record('a', { version: 2 }), 1, []));
    // the server has ended it before the other commit lets go
    const running = `pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT ${tablePrefix(keyPrefix)}save%'`;
    await vi.waitFor(async () => expect((await looks.query(`SELECT 1 FROM ${running}`)).rowCount).toBe(0));
    await sql.query('COMMIT');
    expect(await store.loadSession('a')).toMatchObject({ version: 1 });
  });

  test('a commit whose connection is killed in the middle fails as a whole, and can be repeated', async () => {
    const keyPrefix = freshPrefix();
    const store = await open({ keyPrefix });
    await store.saveSession(record('a'), 0, log('a', 1, 1));
    // what a transaction saw of the activity it goes on seeing: the look has a connection of its own
    const [sql, looks] = [await connect(server().url), await connect(server().url)];
    // the commit has written its record when it meets this claim
    await sql.query(`BEGIN; INSERT INTO ${tablePrefix(keyPrefix)}claims VALUES ('room:lobby', 'b')`);
    const second = record('a', { version: 2, claims: ['room:lobby'] });
    const saved = expect(store.saveSession(second, 1, [said('a', 2)])).rejects.toThrow(StorageError);
    const waiting = `pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT ${tablePrefix(keyPrefix)}save%'`;
    await vi.waitFor(async () => expect((await looks.query(`SELECT pg_terminate_backend(pid) FROM ${waiting}`)).rowCount).toBe(1));
    await saved;
    await sql.query('ROLLBACK');
    expect(await store.loadSession('a')).toMatchObject({ version: 1 });
    await store.saveSession(second, 1, [said('a', 2)]);
    expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1, 2]);
    expect(seqs(await store.messagesAfter('a', 0, 10))).toEqual([2]);
  });

  test('a commit takes its claims in the order of their names, so that two that want the same never wait for each other', async () => {
    const keyPrefix = freshPrefix();
    const store = await open({ keyPrefix });
    await store.ping();
    const letters = [...'abcdefghijklmnopqrstuvwxyz'];
    const claim = `INSERT INTO ${tablePrefix(keyPrefix)}claims VALUES ($1, 'another')`;
    const [holder, looks, taker] = [await connect(server().url), await connect(server().url), await connect(server().url)];
    await holder.query('BEGIN');
    await holder.query(claim, ['m']);
    const saved = store.saveSession(record('a', { claims: letters.toReversed() }), 0, []);
    const waiting = `pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT ${tablePrefix(keyPrefix)}save%'`;
    await vi.waitFor(async () => expect((await looks.query(`SELECT 1 FROM ${waiting}`)).rowCount).toBe(1));
    // it waits for m: what comes later is free, which whoever wants it finds out at once
    await taker.query(`BEGIN; SET LOCAL lock_timeout = '3s'`);
    for (const later of letters.slice(letters.indexOf('m') + 1)) await taker.query(claim, [later]);
    await taker.query('ROLLBACK');
    await holder.query('ROLLBACK');
    await saved;
    expect(await store.holderOf('m')).toBe('a');
  });

  test.for(['deadlock_detected', 'serialization_failure'])(
    'a commit that %s rolls back is made again, and fails nobody',
    async (condition) => {
      const keyPrefix = freshPrefix();
      const store = await open({ keyPrefix });
      await store.saveSession(record('a'), 0, []);
      const p = tablePrefix(keyPrefix);
      const sql = await connect(server().url);
      /** The first commits from now on are rolled back, after they have written: a sequence is not rolled back. */
      const rollBack = async (times: number) => {
        await sql.query(`
        DROP TRIGGER IF EXISTS clash ON ${p}sessions; DROP SEQUENCE IF EXISTS ${p}tries; CREATE SEQUENCE ${p}tries;
        CREATE OR REPLACE FUNCTION ${p}clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('${p}tries') <= ${times} THEN RAISE ${condition}; END IF;
          RETURN NULL;
        END $$;
        CREATE TRIGGER clash AFTER UPDATE ON ${p}sessions FOR EACH ROW EXECUTE FUNCTION ${p}clash()`);
      };
      await rollBack(1);
      await store.saveSession(record('a', { version: 2 }), 1, [said('a', 1)]);
      expect(await store.loadSession('a')).toMatchObject({ version: 2 });
      expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
      // one that clashes again and again has failed, and whoever made it may try once more
      await rollBack(2);
      const third = record('a', { version: 3 });
      await expect(store.saveSession(third, 2, [])).rejects.toMatchObject({ constructor: StorageError, refused: false });
      await store.saveSession(third, 2, []);
    },
  );

  test('a crash of the server under load loses no acknowledged commit, event or message', async () => {
    const store = await open();
    await store.ping();
    const acknowledged = new Map<string, number>();
    let total = 0;
    let halfway = () => {};
    const warm = new Promise<void>((resolve) => {
      halfway = resolve;
    });
    const write = async (id: string) => {
      for (let version = 1; ; version++) {
        await store.saveSession(record(id, { version }), version - 1, [said(id, version)]);
        acknowledged.set(id, version);
        if (++total === 200) halfway();
      }
    };
    const writers = numbers(1, 8).map((n) => expect(write(`s${n}`)).rejects.toThrow(StorageError));
    onTestFinished(() => server().start());
    await warm;
    await server().crash();
    await Promise.all(writers);
    await server().start();
    expect(acknowledged.size).toBe(8);
    for (const [id, version] of acknowledged) {
      const stored = (await store.loadSession(id))?.version ?? 0;
      // one more may have been written whose answer was lost
      expect([version, version + 1]).toContain(stored);
      expect(seqs(await store.eventsAfter(id, 0, 1_000))).toEqual(numbers(1, stored));
      expect(seqs(await store.messagesAfter(id, 0, 1_000))).toEqual(numbers(1, stored));
    }
  });
});
