import { once } from 'node:events';
import { createServer } from 'node:net';
import pino from 'pino';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import { afterReading, systemClock } from '../../src/clock.ts';
import { StorageError } from '../../src/errors.ts';
import { makeLog } from '../../src/log/log.ts';
import { ClaimTaken, type StoreProvider, VersionConflict } from '../../src/sessions/ports.ts';
import { StorageHealth } from '../../src/sessions/storage-health.ts';
import { redisStore } from '../../src/store/redis.ts';
import { RedisLink } from '../../src/store/redis-link.ts';
import * as scripts from '../../src/store/redis-scripts.ts';
import { t0 } from '../sessions/build.ts';
import { ManualClock } from '../support/clock.ts';
import { freePort } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { TcpProxy } from '../support/proxy.ts';
import { launchCluster, launchRedis, launchSentinel, type RedisServer, startRedis } from '../support/redis.ts';
import { record, said, storeContract } from './contract.ts';

const open = async (url: string, keyPrefix: string, limitMs = timeoutMs, clock: Clock = systemClock): Promise<StoreProvider> => {
  const store = await redisStore({ url, keyPrefix, timeoutMs: limitMs, clock, log: pino({ level: 'silent' }) });
  onTestFinished(() => store.close());
  return store;
};
let prefixes = 0;
const freshPrefix = () => `test-${++prefixes}:`;
/** More than anything takes; where it is to pass, a test lets it. */
const timeoutMs = 20_000;
/** For what cannot succeed. */
const shortMs = 300;
/** Waits until a store answers again. */
const back = (store: StoreProvider) => vi.waitFor(() => store.ping());
const message = (seq: number) => said('a', seq);
const everything = { limit: 100, offset: 0 };

/** One of each call. */
const calls = (store: StoreProvider): Record<string, () => Promise<unknown>> => ({
  saveSession: () => store.saveSession(record('z', { claims: ['z'] }), 0, []),
  loadSession: () => store.loadSession('a'),
  deleteSession: () => store.deleteSession('z'),
  holderOf: () => store.holderOf('x'),
  listSessions: () => store.listSessions(everything),
  getStatistics: () => store.getStatistics(),
  eventsAfter: async () => store.eventsAfter('a', 0, 10),
  messagesAfter: () => store.messagesAfter('a', 0, 10),
  findMessage: () => store.findMessage('a', 'm'),
  dropMessages: () => store.dropMessages('z'),
  due: () => store.due(t0, 10),
  ping: () => store.ping(),
});
/** From now on timers stand still, but for those that the test, or a wait in it, moves on; sockets go on as always. */
const holdTimers = () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
};
/** Every call fails as one to a storage that is away: at once, or where timers stand still no later than its time is over. */
const expectAway = async (store: StoreProvider) => {
  const failed = Promise.allSettled(Object.values(calls(store)).map((call) => call()));
  if (vi.isFakeTimers()) await vi.advanceTimersByTimeAsync(timeoutMs);
  const outcomes = await failed;
  for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(StorageError) });
};

const cutOnce = (proxy: TcpProxy, side: 'client' | 'server', text: string) => {
  proxy.rule = (from, sent) => {
    if (from !== side || !sent.includes(text)) return 'pass';
    proxy.rule = () => 'pass';
    return 'cut';
  };
};
/** The server has done it, but nobody hears of it. */
const cutOnAnswer = (proxy: TcpProxy, text: string) => cutOnce(proxy, 'server', text);
/** It does not come to the server. */
const cutOnSending = (proxy: TcpProxy, text: string) => cutOnce(proxy, 'client', text);
/** Two stores on one server; one may lose its connection at a bad moment. */
const twoStores = async (limitMs = timeoutMs) => {
  const prefix = freshPrefix();
  const proxy = await TcpProxy.before(shared.port);
  const store = await open(`redis://127.0.0.1:${proxy.port}`, prefix, limitMs);
  return [{ store, proxy }, await open(shared.url, prefix, limitMs), prefix] as const;
};

let shared: RedisServer;
describeWith(parts.redis)('redis', () => {
  beforeAll(async () => {
    shared = await launchRedis();
  });
  afterAll(() => shared.stop());

  storeContract('redis', parts.redis.path ? () => open(shared.url, freshPrefix()) : undefined);

  test('a store made while the server is down fails at once, and works once it is there', async () => {
    const server = await startRedis();
    await server.kill();
    const store = await open(server.url, 'x:');
    await expectAway(store);
    await server.restart();
    await back(store);
    await store.saveSession(record('a'), 0, []);
    const woken = vi.fn();
    store.subscribe('a', woken);
    await vi.waitFor(async () => {
      const now = await store.loadSession('a');
      const version = now?.version ?? 0;
      await store.saveSession(record('a', { version: version + 1 }), version, []);
      expect(woken).toHaveBeenCalled();
    });
  });

  test('a store made while nothing but silence is there fails in time', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    onTestFinished(() => void silent.close());
    await once(silent, 'listening');
    const store = await open(`redis://127.0.0.1:${(silent.address() as { port: number }).port}`, 'x:', shortMs);
    await expectAway(store);
  });

  test('after a restart on its disk everything is as it was', async () => {
    const server = await startRedis({ durable: true });
    const store = await open(server.url, 'x:');
    const session = record('a', { claims: ['x'], deadlines: { expiry: t0 } });
    await store.saveSession(session, 0, [message(1)]);
    await server.kill();
    await expectAway(store);
    await server.restart();
    await back(store);
    expect(await store.loadSession('a')).toEqual(session);
    expect(await store.eventsAfter('a', 0, 10)).toEqual([message(1)]);
    expect(await store.holderOf('x')).toBe('a');
    expect(await store.due(t0, 10)).toEqual(['a']);
    await store.saveSession(record('a', { version: 2 }), 1, []);
  });

  test('after an empty restart there is nothing, and new sessions are kept', async () => {
    const server = await startRedis({ durable: true });
    const store = await open(server.url, 'x:');
    await store.saveSession(record('a', { claims: ['x'], deadlines: { expiry: t0 } }), 0, [message(1)]);
    await server.kill();
    await server.restart({ empty: true });
    await back(store);
    expect(await store.loadSession('a')).toBeUndefined();
    expect(await store.eventsAfter('a', 0, 10)).toEqual([]);
    expect(await store.holderOf('x')).toBeUndefined();
    expect(await store.due(t0, 10)).toEqual([]);
    expect(await store.getStatistics()).toEqual({ sessions: 0, by_status: {}, messages: 0 });
    await expect(store.saveSession(record('a', { version: 2 }), 1, [])).rejects.toThrow(VersionConflict);
    await store.saveSession(record('b', { claims: ['x'] }), 0, []);
  });

  test('while the server is frozen calls fail in time, and a repeated commit has one effect', async () => {
    const server = await startRedis();
    const store = await open(server.url, 'x:');
    await store.saveSession(record('a'), 0, [message(1)]);
    server.freeze();
    holdTimers();
    const second = record('a', { version: 2, claims: ['x'] });
    const failed = expect(store.saveSession(second, 1, [message(2)])).rejects.toMatchObject({ refused: false });
    await vi.advanceTimersByTimeAsync(timeoutMs);
    await failed;
    await expectAway(store);
    server.thaw();
    await back(store);
    await store.saveSession(second, 1, [message(2)]);
    await store.saveSession(second, 1, [message(2)]);
    expect(await store.eventsAfter('a', 0, 10)).toEqual([message(1), message(2)]);
    expect(await store.messagesAfter('a', 0, 10)).toHaveLength(2);
    expect(await store.getStatistics()).toMatchObject({ messages: 2 });
  });

  test('a commit whose answer is lost is done, and its repetition has one effect', async () => {
    const [{ store, proxy }, other] = await twoStores();
    await store.saveSession(record('a', { claims: ['x'], deadlines: { expiry: t0 } }), 0, [message(1)]);
    cutOnAnswer(proxy, 'done');
    const second = record('a', { version: 2, status: 'Active', claims: ['y'], deadlines: { expiry: t0 + 9_000 } });
    await expect(store.saveSession(second, 1, [message(2)])).rejects.toThrow(StorageError);
    // what the indexes were not told is told by the record
    expect(await other.loadSession('a')).toEqual(second);
    expect(await other.listSessions({ ...everything, status: 'Creating' })).toEqual([]);
    expect(await other.listSessions({ ...everything, status: 'Active' })).toEqual([second]);
    expect(await other.due(t0, 10)).toEqual([]);
    expect(await other.due(t0 + 9_000, 10)).toEqual(['a']);
    expect(await other.holderOf('x')).toBeUndefined();
    await back(store);
    await store.saveSession(second, 1, [message(2)]);
    expect(await other.eventsAfter('a', 0, 10)).toEqual([message(1), message(2)]);
    expect(await other.getStatistics()).toEqual({ sessions: 1, by_status: { Active: 1 }, messages: 2 });
    await other.saveSession(record('b', { claims: ['x'] }), 0, []);
    await expect(other.saveSession(record('c', { claims: ['y'] }), 0, [])).rejects.toThrow(ClaimTaken);
  });

  test('a commit that never came about leaves nothing to be seen, and its due time is forgotten', async () => {
    const [{ store, proxy }, other] = await twoStores();
    await store.saveSession(record('a', { deadlines: { expiry: t0 + 9_000 } }), 0, []);
    for (const [id, version, expected, expiry] of [
      ['new', 1, 0, t0 + 1_000],
      ['a', 2, 1, t0 + 20_000],
    ] as const) {
      cutOnSending(proxy, scripts.commit.sha1);
      const lost = record(id, { version, status: 'Active', deadlines: { expiry } });
      await expect(store.saveSession(lost, expected, [message(1)])).rejects.toThrow(StorageError);
      await back(store);
    }
    expect(await other.loadSession('new')).toBeUndefined();
    expect(await other.listSessions({ ...everything, status: 'Active' })).toEqual([]);
    expect((await other.listSessions(everything)).map(({ session_id }) => session_id)).toEqual(['a']);
    expect(await other.due(t0 + 1_000, 1)).toEqual([]);
    expect(await other.due(t0 + 9_000, 10)).toEqual(['a']);
    await other.saveSession(record('a', { version: 2 }), 1, []);
    expect(await other.getStatistics()).toEqual({ sessions: 1, by_status: { Creating: 1 }, messages: 0 });
  });

  test('a claim of a commit that never came about is free after the time limit', async () => {
    const [{ store, proxy }, other, prefix] = await twoStores();
    cutOnSending(proxy, scripts.commit.sha1);
    await expect(store.saveSession(record('a', { claims: ['x'] }), 0, [])).rejects.toThrow(StorageError);
    expect(await other.holderOf('x')).toBeUndefined();
    await expect(other.saveSession(record('b', { claims: ['x'] }), 0, [])).rejects.toThrow(ClaimTaken);
    const [impatient, third] = [await open(shared.url, prefix, shortMs), record('c', { claims: ['x'] })];
    await vi.waitFor(() => impatient.saveSession(third, 0, []));
    expect(await other.holderOf('x')).toBe('c');
  });

  test('a commit that comes late, after its claim was taken over, is refused', async () => {
    const [{ store, proxy }, other, prefix] = await twoStores();
    const [impatient, second] = [await open(shared.url, prefix, shortMs), record('b', { claims: ['x'] })];
    proxy.rule = (from, text) => (from === 'client' && text.includes(scripts.commit.sha1) ? 'hold' : 'pass');
    const late = expect(store.saveSession(record('late', { claims: ['x'] }), 0, [])).rejects.toThrow(ClaimTaken);
    await vi.waitFor(() => expect(proxy.holds).toBe(true));
    await vi.waitFor(() => impatient.saveSession(second, 0, []));
    const answered = new Promise<void>((done) => {
      proxy.rule = (from, text) => {
        if (from === 'server' && text.includes('denied')) done();
        return 'pass';
      };
    });
    expect(proxy.holds).toBe(true);
    proxy.release();
    await answered;
    await late;
    expect(await other.loadSession('late')).toBeUndefined();
    expect(await other.holderOf('x')).toBe('b');
  });

  test('a connection that has gone silent is given up for a new one, though calls go on', async () => {
    const [{ store, proxy }] = await twoStores(shortMs);
    // on this connection nothing gets through any more, not even its end
    proxy.rule = (from, text) => {
      if (from === 'server' || !text.includes('EXISTS')) return 'pass';
      proxy.rule = () => 'pass';
      return 'hold';
    };
    await expect(store.ping()).rejects.toThrow(StorageError);
    await vi.waitFor(() => store.ping());
  });

  test('a server that lets connect and does not greet is given up for a new connection', async () => {
    const proxy = await TcpProxy.before(shared.port);
    proxy.holdsEnds = true;
    // both connections, the one for calls and the one that listens
    let greeted = 0;
    proxy.rule = (from) => (from === 'client' && greeted++ < 2 ? 'hold' : 'pass');
    const store = await open(`redis://127.0.0.1:${proxy.port}`, freshPrefix(), shortMs);
    await back(store);
    const woken = vi.fn();
    store.subscribe('a', woken);
    await vi.waitFor(async () => {
      const version = (await store.loadSession('a'))?.version ?? 0;
      await store.saveSession(record('a', { version: version + 1 }), version, []);
      expect(woken).toHaveBeenCalled();
    });
  });

  test('what a list skips is read only where a filter needs it', async () => {
    const server = await startRedis();
    const store = await open(server.url, 'x:');
    const ids = Array.from({ length: 30 }, (_, n) => `s${n + 10}`);
    for (const id of ids) await store.saveSession(record(id, { owner_id: 'ann' }), 0, []);
    const before = { created_at: record('s35').created_at, session_id: 's35' };
    for (const [filter, shown, reads] of [
      [{ offset: 20 }, ['s19', 's18'], 2],
      [{ offset: 20, owner_id: 'ann' }, ['s19', 's18'], 2],
      [{ offset: 20, status: 'Creating' }, ['s19', 's18'], 2],
      [{ offset: 20, before }, ['s14', 's13'], 2],
      [{ offset: 20, owner_id: 'ann', status: 'Creating' }, ['s19', 's18'], 30],
      [{ offset: 100 }, [], 0],
    ] as const) {
      await server.command('CONFIG', 'RESETSTAT');
      expect((await store.listSessions({ limit: 2, ...filter })).map(({ session_id }) => session_id)).toEqual(shown);
      const [, calls = 0] = /cmdstat_hget:calls=(\d+)/.exec(await server.command('INFO', 'commandstats')) ?? [];
      expect(Number(calls), JSON.stringify(filter)).toBe(reads);
    }
  });

  test('a list that takes too long is slow, and no sign that the server is away', async () => {
    const [{ store, proxy }] = await twoStores();
    await store.saveSession(record('a'), 0, []);
    holdTimers();
    proxy.rule = (from, text) => {
      // the index was read; while the record is, the time is over
      if (from === 'client' && text.includes('HGET')) vi.advanceTimersByTime(timeoutMs);
      return 'pass';
    };
    const failure = await store.listSessions(everything).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StorageError);
    expect(failure).toMatchObject({ slow: true });
    const lines: string[] = [];
    const health = new StorageHealth(pino({}, { write: (line: string) => void lines.push(line) }), new ManualClock());
    for (let i = 0; i < 3; i++) health.failed('listSessions', failure as StorageError);
    expect(health.isDown).toBe(false);
    expect(lines).toEqual([expect.stringMatching(/took longer/)]);
  });

  test('a full server refuses commits, and what it holds stays readable', async () => {
    const server = await startRedis();
    const store = await open(server.url, 'x:');
    const session = record('a', { claims: ['x'], deadlines: { expiry: t0 } });
    await store.saveSession(session, 0, [message(1)]);
    await server.command('CONFIG', 'SET', 'maxmemory', '1mb');
    await expect(store.saveSession(record('a', { version: 2 }), 1, [message(2)])).rejects.toThrow(StorageError);
    await expect(store.saveSession(record('b', { claims: ['y'] }), 0, [])).rejects.toMatchObject({
      refused: true,
      message: expect.stringMatching(/OOM/),
    });
    expect(await store.loadSession('a')).toEqual(session);
    expect(await store.eventsAfter('a', 0, 10)).toEqual([message(1)]);
    expect(await store.holderOf('x')).toBe('a');
    expect(await store.due(t0, 10)).toEqual(['a']);
    expect(await store.listSessions(everything)).toEqual([session]);
    // what frees memory is not refused
    await store.deleteSession('a');
    expect(await store.getStatistics()).toEqual({ sessions: 0, by_status: {}, messages: 0 });
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    await store.saveSession(record('b', { claims: ['x', 'y'] }), 0, []);
  });

  test('connections to a master that became a replica are given up, and those that follow lead to the new master', async () => {
    const [old, fresh] = [await startRedis(), await startRedis()];
    const proxy = await TcpProxy.before(old.port);
    const store = await open(`redis://127.0.0.1:${proxy.port}`, 'x:');
    await store.saveSession(record('a'), 0, []);
    const woken = vi.fn();
    store.subscribe('b', woken);
    // open connections stay where they are: to a replica whose master says nothing
    await old.command('REPLICAOF', '127.0.0.1', String(await freePort()));
    proxy.target = fresh.port;
    await expect(store.saveSession(record('a', { version: 2 }), 1, [])).rejects.toMatchObject({ refused: true });
    await vi.waitFor(() => store.saveSession(record('b'), 0, []));
    // the subscription has moved too
    await vi.waitFor(async () => expect(await fresh.command('PUBSUB', 'NUMSUB', 'x:wake')).toMatch(/:1$/));
    await vi.waitFor(async () => expect(await old.command('PUBSUB', 'NUMSUB', 'x:wake')).toMatch(/:0$/));
    await vi.waitFor(async () => {
      const version = (await store.loadSession('b'))?.version ?? 0;
      await store.saveSession(record('b', { version: version + 1 }), version, []);
      expect(woken).toHaveBeenCalled();
    });
  });

  test('subscribers of a record that is gone are woken, and nobody else', async () => {
    const server = await startRedis();
    const clock = new ManualClock();
    const store = await open(server.url, 'x:', timeoutMs, clock);
    const [gone, there] = [vi.fn(), vi.fn()];
    for (const [id, wake] of [
      ['a', gone],
      ['b', there],
    ] as const) {
      await store.saveSession(record(id), 0, []);
      store.subscribe(id, wake);
      await store.saveSession(record(id, { version: 2 }), 1, []);
      // no signal of its own is on its way
      await vi.waitFor(() => expect(wake).toHaveBeenCalled());
    }
    for (const wake of [gone, there]) wake.mockClear();
    // the first comparison wakes both
    await vi.waitFor(async () => {
      await clock.advance(5_000);
      for (const wake of [gone, there]) expect(wake).toHaveBeenCalled();
    });
    await server.command('DEL', 'x:{a}:record');
    for (const wake of [gone, there]) wake.mockClear();
    await vi.waitFor(async () => {
      await clock.advance(5_000);
      expect(gone).toHaveBeenCalled();
    });
    expect(there).not.toHaveBeenCalled();
  });

  test('without the right to the channel it says so, and subscribers are woken by comparing versions', async () => {
    const server = await startRedis();
    await server.command('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '+@all', 'resetchannels');
    const url = server.url.replace('redis://', 'redis://app:pw@');
    const clock = new ManualClock();
    const [one, two] = [await open(url, 'x:'), await open(url, 'x:', timeoutMs, clock)];
    await one.saveSession(record('a'), 0, []);
    const woken = vi.fn();
    two.subscribe('a', woken);
    await vi.waitFor(async () => {
      await clock.advance(5_000);
      expect(two.warnings?.()).toEqual([expect.stringMatching(/NOPERM/)]);
    });
    woken.mockClear();
    await one.saveSession(record('a', { version: 2 }), 1, []);
    await vi.waitFor(async () => {
      await clock.advance(5_000);
      expect(woken).toHaveBeenCalled();
    });
    await server.command('ACL', 'SETUSER', 'app', 'allchannels');
    await vi.waitFor(
      async () => {
        await clock.advance(5_000);
        expect(two.warnings?.()).toEqual([]);
      },
      { timeout: 90_000 },
    );
  });

  test.for([
    ['allkeys-lru', '100mb', [expect.stringMatching(/allkeys-lru.*noeviction/)]],
    ['allkeys-lru', '0', []],
    ['volatile-lru', '100mb', []],
    ['noeviction', '100mb', []],
  ] as const)('a server with maxmemory-policy %s and maxmemory %s is warned of as it deserves', async ([policy, limit, warnings]) => {
    const server = await startRedis({ args: ['--maxmemory-policy', policy, '--maxmemory', limit] });
    const looked = vi.fn();
    const clock = new ManualClock();
    const store = await open(server.url, 'x:', timeoutMs, clock);
    await vi.waitFor(async () => {
      looked(await server.command('INFO', 'commandstats'));
      expect(looked.mock.lastCall?.[0]).toMatch(/cmdstat_info:calls=[2-9]/);
    });
    await vi.waitFor(() => expect(store.warnings?.()).toEqual(warnings));
    // and again as soon as it is set otherwise
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
    await server.command('CONFIG', 'SET', 'maxmemory', '100mb');
    await vi.waitFor(async () => {
      await clock.advance(60_000);
      expect(store.warnings?.()).toEqual([expect.stringMatching(/allkeys-random/)]);
    });
  });

  test('a closed store refuses every call', async () => {
    const store = await open(shared.url, freshPrefix());
    await store.close();
    await expectAway(store);
  });

  test('two stores on one server exclude each other s claims', async () => {
    const prefix = freshPrefix();
    const [one, two] = [await open(shared.url, prefix), await open(shared.url, prefix)];
    await one.saveSession(record('a', { claims: ['x'] }), 0, []);
    await expect(two.saveSession(record('b', { claims: ['x'] }), 0, [])).rejects.toThrow(ClaimTaken);
    expect(await two.holderOf('x')).toBe('a');
  });

  test('two stores with prefixes of their own do not see each other', async () => {
    const [one, two] = [await open(shared.url, freshPrefix()), await open(shared.url, freshPrefix())];
    await one.saveSession(record('a', { claims: ['x'], deadlines: { expiry: t0 } }), 0, []);
    await two.saveSession(record('b', { claims: ['x'] }), 0, []);
    expect(await two.loadSession('a')).toBeUndefined();
    expect(await two.due(t0, 10)).toEqual([]);
    expect(await two.getStatistics()).toMatchObject({ sessions: 1 });
  });

  test('a commit wakes subscribers of the other store, also after their connection was cut', async () => {
    const server = await startRedis();
    const [one, two] = [await open(server.url, 'x:'), await open(server.url, 'x:')];
    await one.saveSession(record('a'), 0, []);
    await one.saveSession(record('b'), 0, []);
    const [woken, others] = [vi.fn(), vi.fn()];
    two.subscribe('a', woken);
    two.subscribe('b', others);
    await one.saveSession(record('a', { version: 2 }), 1, []);
    await vi.waitFor(() => expect(woken).toHaveBeenCalledTimes(1));
    expect(others).not.toHaveBeenCalled();
    expect(await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')).toBe(':2');
    // whatever was missed meanwhile: everybody looks
    await vi.waitFor(() => expect(others).toHaveBeenCalledTimes(1));
    expect(woken).toHaveBeenCalledTimes(2);
    await one.saveSession(record('a', { version: 3 }), 2, []);
    await vi.waitFor(() => expect(woken).toHaveBeenCalledTimes(3));
  });

  test('of a hundred writers on two stores the versions are the successes', async () => {
    const prefix = freshPrefix();
    const stores = [await open(shared.url, prefix), await open(shared.url, prefix)] as const;
    await stores[0].saveSession(record('a'), 0, [message(1)]);
    let [successes, conflicts] = [0, 0];
    const write = async (store: StoreProvider) => {
      for (;;) {
        const version = ((await store.loadSession('a'))?.version ?? 0) + 1;
        try {
          await store.saveSession(record('a', { version }), version - 1, [message(version)]);
          successes += 1;
          return;
        } catch (error) {
          if (!(error instanceof VersionConflict)) throw error;
          conflicts += 1;
        }
      }
    };
    await Promise.all(Array.from({ length: 100 }, (_, i) => write(stores[i % 2 === 0 ? 0 : 1])));
    expect(successes).toBe(100);
    expect(conflicts).toBeGreaterThan(0);
    expect(await stores[1].loadSession('a')).toMatchObject({ version: 101 });
    expect((await stores[1].messagesAfter('a', 0, 200)).map(({ seq }) => seq)).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
    expect(await stores[0].getStatistics()).toEqual({ sessions: 1, by_status: { Creating: 1 }, messages: 101 });
  });
});

// a script on keys of two slots is an error there
describeWith(parts.redis)('redis cluster', () => {
  let cluster: Awaited<ReturnType<typeof launchCluster>>;
  beforeAll(async () => {
    cluster = await launchCluster();
  });
  afterAll(() => cluster.stop());
  test('its connections stay: none is given up for a greeting that came long ago', async () => {
    const shortMs = 200;
    const ready = vi.fn();
    const link = new RedisLink({ url: cluster.url, timeoutMs: shortMs, log: makeLog('silent'), ready });
    onTestFinished(() => link.close());
    await link.tried;
    await vi.waitFor(() => expect(ready).toHaveBeenCalled());
    const first = link.current;
    // what would give it up waits as long as this
    await new Promise<void>((done) => afterReading(3 * shortMs, done));
    expect(link.current).toBe(first);
  });

  storeContract('redis cluster', parts.redis.path ? () => open(cluster.url, freshPrefix()) : undefined);

  test('a commit wakes subscribers of the other store', async () => {
    const prefix = freshPrefix();
    const [one, two] = [await open(cluster.url, prefix), await open(cluster.url, prefix)];
    await one.saveSession(record('a'), 0, []);
    const woken = vi.fn();
    two.subscribe('a', woken);
    await one.saveSession(record('a', { version: 2 }), 1, []);
    await vi.waitFor(() => expect(woken).toHaveBeenCalled());
  });
});

describeWith(parts.redis)('redis sentinel', () => {
  let sentinel: Awaited<ReturnType<typeof launchSentinel>>;
  beforeAll(async () => {
    sentinel = await launchSentinel();
  });
  afterAll(() => sentinel.stop());

  test('a store takes commits, many at once, and wakes the other store', async () => {
    const [one, two] = [await open(sentinel.url, 'x:'), await open(sentinel.url, 'x:')];
    await Promise.all(Array.from({ length: 100 }, (_, i) => one.saveSession(record(`s${i}`, { claims: [`c${i}`] }), 0, [])));
    expect(await two.getStatistics()).toMatchObject({ sessions: 100 });
    const woken = vi.fn();
    two.subscribe('s1', woken);
    await one.saveSession(record('s1', { version: 2 }), 1, []);
    await vi.waitFor(() => expect(woken).toHaveBeenCalled());
    await expect(two.saveSession(record('s2', { version: 2, claims: ['c3'] }), 1, [])).rejects.toThrow(ClaimTaken);
  });

  test.for([
    ['?sentinel_password=w%2Frd+', ['default', 'resetpass', '>w/rd+']],
    ['?sentinel_username=watch&sentinel_password=pw', ['watch', 'on', '>pw', 'allchannels', '+@all']],
  ] as const)('whose Sentinels have a password is reached with %s', async ([query, rule]) => {
    // connections that are open already stay
    onTestFinished(async () => void (await sentinel.sentinel.command('AUTH', 'w/rd+\r\nACL', 'SETUSER', 'default', 'nopass')));
    await sentinel.sentinel.command('ACL', 'SETUSER', ...rule);
    if (rule[0] !== 'default') await sentinel.sentinel.command('ACL', 'SETUSER', 'default', 'resetpass', '>w/rd+');
    const without = await open(sentinel.url, freshPrefix(), 1_000);
    await expect(without.ping()).rejects.toThrow(/NOAUTH/);
    const store = await open(`${sentinel.url}${query}`, freshPrefix());
    await store.saveSession(record('a'), 0, []);
    expect(await store.loadSession('a')).toBeDefined();
  });

  test('when the master is gone the store goes on with its replica, and subscribers are woken', async () => {
    const [one, two] = [await open(sentinel.url, 'y:', 3_000), await open(sentinel.url, 'y:', 3_000)];
    const first = record('a');
    await vi.waitFor(() => one.saveSession(first, 0, [message(1)]));
    const woken = vi.fn();
    two.subscribe('a', woken);
    await sentinel.loseMaster();
    const second = record('a', { version: 2 });
    await vi.waitFor(() => one.saveSession(second, 1, [message(2)]));
    await vi.waitFor(async () => expect(await one.eventsAfter('a', 0, 10)).toEqual([message(1), message(2)]));
    await vi.waitFor(() => expect(woken).toHaveBeenCalled());
    await back(two);
    woken.mockClear();
    await vi.waitFor(
      async () => {
        const version = (await two.loadSession('a'))?.version ?? 0;
        await two.saveSession(record('a', { version: version + 1 }), version, []);
        expect(woken).toHaveBeenCalled();
      },
      { timeout: 90_000, interval: 100 },
    );
  });
});
