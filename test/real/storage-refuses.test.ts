import { expect, onTestFinished, test, vi } from 'vitest';
import { startGateway as start } from '../../src/gateway.ts';
import { makeLog } from '../../src/log/log.ts';
import { TestClient } from '../support/client.ts';
import { ManualClock } from '../support/clock.ts';
import { testConfig } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { launchSentinel, startRedis } from '../support/redis.ts';
import { FakeRooms } from '../support/rooms.ts';

/** Gateways on one Redis, their log lines kept. */
async function onRedis(args: readonly string[] = []) {
  const redis = await startRedis({ args });
  const node = async (storage: Record<string, unknown> = {}) => {
    const clock = new ManualClock();
    const rooms = new FakeRooms(() => clock.now());
    const lines: Record<string, unknown>[] = [];
    const gateway = await start({
      config: testConfig({ storage: { url: redis.url, ...storage }, server: { port: 0, drain_s: 0 } }),
      livekit: { apiKey: 'test', apiSecret: 'a-secret-of-at-least-32-characters', mode: 'create', serverUrl: rooms.url },
      log: makeLog('info', { write: (line) => void lines.push(JSON.parse(line)) }),
      clock,
      rooms,
    });
    onTestFinished(() => gateway.close());
    const warned = () => lines.filter(({ level, msg }) => level !== 'info' || String(msg).startsWith('storage'));
    return { ...gateway, clock, rooms, warned, ready: () => rest(`${gateway.url}/ready`) };
  };
  return { redis, node };
}
const refusesConnection = 'storage refuses the connection; until it works, requests get STORAGE_ERROR';
const wish = { type: 'NewSessionRequest', user_identity: 'ada', required_services: [] };
/** Lets time pass until it is so: what it waits for takes real time as well. */
const inTime = (clock: ManualClock, look: () => unknown) =>
  vi.waitFor(
    async () => {
      await clock.advance(1_000);
      await look();
    },
    { timeout: 90_000, interval: 10 },
  );

describeWith(parts.redis)('a gateway whose storage', () => {
  test('refuses writes is not ready, says so in plain words, and its log has one line at the start and one at the end', async () => {
    const { redis, node } = await onRedis();
    const { url, clock, ready, warned } = await node();
    const client = await TestClient.connect(url);
    await client.ask({ ...wish, resume_window_s: 60 });
    expect(await ready()).toMatchObject({ status: 200, body: { storage: { reachable: true, writable: true, warnings: [] } } });
    await redis.command('CONFIG', 'SET', 'maxmemory', '1mb');
    for (let i = 0; i < 3; i++) {
      const refused = await client.ask({ type: 'AddMessageRequest', role: 'user', content: 'x' });
      expect(refused).toMatchObject({ code: 'STORAGE_ERROR', retryable: true, message: 'The storage refuses requests at the moment' });
    }
    await inTime(clock, async () =>
      expect(await ready()).toMatchObject({ status: 503, body: { ready: false, storage: { reachable: true, writable: false } } }),
    );
    await clock.advance(30_000);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    await inTime(clock, async () => expect((await ready()).status).toBe(200));
    expect(await client.ask({ type: 'AddMessageRequest', role: 'user', content: 'y' })).toMatchObject({ type: 'AddMessageResponse' });
    expect(warned()).toMatchObject([
      { level: 'error', reason: expect.stringMatching(/^OOM/), msg: expect.stringMatching(/^storage refused a request/) },
      { level: 'info', msg: 'storage works again', down_s: expect.any(Number), failed_calls: expect.any(Number) },
    ]);
  });

  test('refuses writes while nobody asks for one is not ready either', async () => {
    const { redis, node } = await onRedis();
    const { clock, ready } = await node();
    await redis.command('CONFIG', 'SET', 'maxmemory', '1mb');
    await inTime(clock, async () => expect((await ready()).status).toBe(503));
  });

  test('does not answer has one line at the start in its log, with the reason, and one at the end', async () => {
    const { redis, node } = await onRedis();
    const { url, clock, ready, warned } = await node({ timeout_s: 0.5 });
    const client = await TestClient.connect(url);
    await client.ask({ ...wish, resume_window_s: 60 });
    await redis.kill();
    for (let i = 0; i < 3; i++) {
      const failed = await client.ask({ type: 'AddMessageRequest', role: 'user', content: 'x' });
      expect(failed).toMatchObject({ code: 'STORAGE_ERROR', message: expect.stringMatching(/does not answer/) });
    }
    await inTime(clock, async () => expect((await ready()).status).toBe(503));
    await clock.advance(30_000);
    await redis.restart();
    await inTime(clock, async () => expect((await ready()).status).toBe(200));
    expect(warned().filter(({ msg }) => String(msg).startsWith('storage'))).toMatchObject([
      { level: 'error', reason: expect.any(String), msg: expect.stringMatching(/^storage does not answer/) },
      { level: 'info', msg: 'storage works again' },
    ]);
  });

  test('refuses the connection says so in its log, with what it said; its client is not shown that', async () => {
    const { redis, node } = await onRedis();
    await redis.command('ACL', 'SETUSER', 'default', 'resetpass', '>secret');
    const { url, warned } = await node({ url: `redis://:wrong@127.0.0.1:${redis.port}`, timeout_s: 0.5 });
    const failed = await (await TestClient.connect(url)).ask(wish);
    expect(failed).toMatchObject({ code: 'STORAGE_ERROR', message: expect.not.stringMatching(/WRONGPASS/) });
    expect(warned()).toMatchObject([{ level: 'error', reason: expect.stringMatching(/^WRONGPASS/), msg: refusesConnection }]);
  });

  test.each([
    ['no password', '', /^Sentinel answered: NOAUTH/],
    ['a wrong password', '?sentinel_password=wrong', /^Sentinel answered: WRONGPASS/],
  ])('has Sentinels that are given %s names what they said in its log', async (_, query, reason) => {
    const { node } = await onRedis();
    const { sentinel, url: open, stop } = await launchSentinel();
    onTestFinished(stop);
    await sentinel.command('ACL', 'SETUSER', 'default', 'resetpass', '>secret');
    const { url, warned } = await node({ url: `${open}${query}`, timeout_s: 0.5 });
    const failed = await (await TestClient.connect(url)).ask(wish);
    expect(failed).toMatchObject({ code: 'STORAGE_ERROR', message: expect.not.stringMatching(/NOAUTH|WRONGPASS/) });
    expect(warned()).toMatchObject([{ level: 'error', reason: expect.stringMatching(reason), msg: refusesConnection }]);
  });

  test('was emptied ends its sessions as storage_lost: clients and watchers are notified, the room is deleted, the socket is free', async () => {
    const { redis, node } = await onRedis();
    const { url, clock, rooms, holds, warned } = await node();
    const [ada, watcher] = [await TestClient.connect(url), await TestClient.connect(url)];
    const { session_id, seq } = await ada.ask({ ...wish, resume_window_s: 60, room_name: 'lobby', visibility: 'public' });
    await watcher.ask({ type: 'WatchRequest', session_id });
    expect(rooms.open.size).toBe(1);
    await redis.command('FLUSHALL');
    await inTime(clock, () => expect(ada.types()).toContain('SessionEnded'));
    for (const client of [ada, watcher]) {
      const ended = await client.next('SessionEnded');
      expect(ended).toMatchObject({ session_id, reason: 'storage_lost', by: 'gateway' });
      expect(ended.seq).toBeGreaterThan(seq);
    }
    await inTime(clock, () => expect(rooms.open.size).toBe(0));
    expect(holds()).toMatchObject({ live_sessions: 0 });
    expect((await rest(`${url}/api/v1/sessions/${session_id}`)).body).toMatchObject({ status: 'Terminated', end_reason: 'storage_lost' });
    expect(warned().map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/^the record of a running session is gone.*FLUSHDB/));
    expect(await ada.ask({ ...wish, room_name: 'garden' })).toMatchObject({ type: 'NewSessionResponse' });
  });

  test('lost one record ends that session once, whichever of its nodes sees it, and no other', async () => {
    const { redis, node } = await onRedis();
    const [a, b] = [await node(), await node()];
    const [ada, bob] = [await TestClient.connect(a.url), await TestClient.connect(b.url)];
    const { session_id } = await ada.ask({ ...wish, resume_window_s: 60 });
    await bob.ask({ ...wish, user_identity: 'bob', resume_window_s: 60 });
    // b knows of it as well
    await inTime(b.clock, async () => expect((await rest(`${b.url}/api/v1/sessions/${session_id}`)).status).toBe(200));
    await redis.command('DEL', `session:{${session_id}}:record`);
    await inTime(a.clock, async () => {
      await b.clock.advance(1_000);
      expect(ada.types()).toContain('SessionEnded');
    });
    expect(ada.all.filter(({ type }) => type === 'SessionEnded')).toMatchObject([{ reason: 'storage_lost' }]);
    expect(await bob.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Ready' });
    expect(bob.types()).not.toContain('SessionEnded');
  });

  test('evicts sessions is warned of at the start', async () => {
    const { node } = await onRedis(['--maxmemory-policy', 'allkeys-lru', '--maxmemory', '100mb']);
    const { ready, warned } = await node();
    await vi.waitFor(async () =>
      expect((await ready()).body.storage.warnings).toEqual([expect.stringMatching(/maxmemory-policy allkeys-lru.*set it to noeviction/)]),
    );
    expect(warned()).toMatchObject([{ level: 'warn', msg: expect.stringMatching(/maxmemory-policy allkeys-lru/) }]);
  });
});
