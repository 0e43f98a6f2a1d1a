import { expect, test, vi } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import { tablePrefix } from '../../src/store/postgres.ts';
import { ManualClock } from '../support/clock.ts';
import { describeWith, parts } from '../support/parts.ts';
import { startPgBouncer } from '../support/pgbouncer.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { record } from './contract.ts';
import { connect, freshPrefix, log, openStore, seqs } from './postgres-support.ts';

describeWith(parts.postgres, parts.pgbouncer)('postgres store behind PgBouncer', () => {
  const server = sharedPostgres();
  const two = async (mode: 'session' | 'transaction') => {
    const url = await startPgBouncer(server().url, mode);
    const [keyPrefix, clock] = [freshPrefix(), new ManualClock()];
    const [a, b] = [await openStore(url, { keyPrefix }), await openStore(url, { keyPrefix, clock })];
    await Promise.all([a.ping(), b.ping()]);
    const wake = vi.fn();
    await a.saveSession(record('a'), 0, log('a', 1, 1));
    b.subscribe('a', wake);
    return { url, keyPrefix, a, b, clock, wake };
  };

  test.for(['session', 'transaction'] as const)('in %s pooling, as installed, keeps sessions', async (mode) => {
    const { a, b } = await two(mode);
    await Promise.all(Array.from({ length: 30 }, (_, i) => b.saveSession(record(`s${i}`), 0, [])));
    await b.saveSession(record('a', { version: 2, claims: ['x'] }), 1, log('a', 2, 2));
    expect(seqs(await a.eventsAfter('a', 0, 10))).toEqual([1, 2]);
    await expect(a.saveSession(record('b', { claims: ['x'] }), 0, [])).rejects.toMatchObject({ claim: 'x' });
    expect(await a.holderOf('x')).toBe('a');
    expect(await a.getStatistics()).toMatchObject({ sessions: 31 });
  });

  test.for(['session', 'transaction'] as const)('in %s pooling a commit that waits for another is not made later', async (mode) => {
    const { url, keyPrefix, a } = await two(mode);
    const impatient = await openStore(url, { keyPrefix, timeoutMs: 500 });
    await vi.waitFor(() => impatient.ping());
    // what a transaction saw of the activity it goes on seeing: the look has a connection of its own
    const [sql, looks] = [await connect(server().url), await connect(server().url)];
    await sql.query(`BEGIN; SELECT 1 FROM ${tablePrefix(keyPrefix)}sessions FOR UPDATE`);
    await expect(impatient.saveSession(record('a', { version: 2 }), 1, [])).rejects.toThrow(StorageError);
    // the server has ended it before the other commit lets go
    const running = `pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT ${tablePrefix(keyPrefix)}save%'`;
    await vi.waitFor(async () => expect((await looks.query(`SELECT 1 FROM ${running}`)).rowCount).toBe(0));
    await sql.query('COMMIT');
    expect(await a.loadSession('a')).toMatchObject({ version: 1 });
    const second = record('a', { version: 2 });
    await vi.waitFor(() => impatient.saveSession(second, 1, []));
  });

  test('in session pooling commits are signalled', async () => {
    const { a, b, wake } = await two('session');
    wake.mockClear();
    await a.saveSession(record('a', { version: 2 }), 1, []);
    await vi.waitFor(() => expect(wake).toHaveBeenCalled());
    expect(b.warnings?.()).toEqual([]);
  });

  test('in transaction pooling commits are noticed by comparing versions, and it is said that they are not signalled', async () => {
    const { a, b, clock, wake } = await two('transaction');
    await vi.waitFor(async () => {
      await clock.advance(5_000);
      expect(b.warnings?.()).toEqual([expect.stringMatching(/PgBouncer/)]);
    });
    for (const version of [2, 3]) {
      wake.mockClear();
      await a.saveSession(record('a', { version }), version - 1, []);
      await vi.waitFor(async () => {
        await clock.advance(5_000);
        expect(wake).toHaveBeenCalled();
      });
    }
  });
});
