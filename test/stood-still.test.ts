import { once } from 'node:events';
import pino from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { afterReading, inTime, systemClock, withTimeLimit } from '../src/clock.ts';
import { RoomRpc } from '../src/rooms/rpc.ts';
import { guard } from '../src/services/guard.ts';
import { Outbound } from '../src/services/outbound.ts';
import { redisStore } from '../src/store/redis.ts';
import { openStore } from './store/postgres-support.ts';
import { settled } from './support/clock.ts';
import { describeWith, parts } from './support/parts.ts';
import { sharedPostgres } from './support/postgres.ts';
import { startRedis } from './support/redis.ts';
import { serverElsewhere, standStill } from './support/stand-still.ts';

/** How long an answer may take here. */
const limitMs = 200;

/** Takes requests, and answers each of them only when it may. */
const program = `
const { createServer } = require('node:http');
listen(createServer((request, response) => {
  request.resume().on('end', () => {
    step();
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
}));
`;

/** A server that runs while this process stands still. */
async function elsewhere() {
  const { port, takesMeanwhile } = await serverElsewhere(program);
  /** Once it was asked, it answers while this process stands still. */
  const answersMeanwhile = () => takesMeanwhile(1);
  return { url: `http://127.0.0.1:${port}`, answersMeanwhile };
}

describe('an answer that came while the process stood still is read before its wait is called timed out:', () => {
  const calling = async () => {
    const server = await elsewhere();
    const outbound = new Outbound(guard(['127.0.0.1']), { all: 8, perService: 8 });
    onTestFinished(() => outbound.close());
    return { ...server, outbound };
  };

  test("a service's, to an offer", async () => {
    const { url, outbound, answersMeanwhile } = await calling();
    const reply = outbound.calls(url).request(`${url}/join`, {}, limitMs);
    await answersMeanwhile();
    expect(await reply).toMatchObject({ status: 200 });
  });

  test("a service's, to a probe", async () => {
    const { url, outbound, answersMeanwhile } = await calling();
    const reply = outbound.get(`${url}/health`, limitMs);
    await answersMeanwhile();
    expect(await reply).toMatchObject({ status: 200 });
  });

  test("LiveKit's", async () => {
    const { url, answersMeanwhile } = await elsewhere();
    const answer = new RoomRpc(url, limitMs).request('RoomService', 'ListRooms', {}, {});
    await answersMeanwhile();
    expect(await answer).toEqual({});
  });

  describeWith(parts.redis)('with redis', () => {
    test('that of the storage, on the same connection', async () => {
      const server = await startRedis();
      const store = await redisStore({
        url: server.url,
        keyPrefix: 'x:',
        timeoutMs: limitMs,
        clock: systemClock,
        log: pino({ level: 'silent' }),
      });
      onTestFinished(() => store.close());
      await store.ping();
      const connections = async () => /total_connections_received:(\d+)/.exec(await server.command('INFO', 'stats'))?.[1];
      const before = Number(await connections());
      server.freeze();
      const answer = store.ping();
      await settled();
      server.thaw();
      standStill();
      await answer;
      // but for the one that asks
      expect(Number(await connections())).toBe(before + 1);
    });
  });

  describeWith(parts.postgres)('with postgres', () => {
    const server = sharedPostgres();

    test('that of the storage', async () => {
      const store = await openStore(server().url, { timeoutMs: 1_000 });
      await store.ping();
      onTestFinished(() => server().thaw());
      server().freeze();
      const answer = store.ping();
      await settled();
      server().thaw();
      standStill(2_000);
      await answer;
    });
  });
});

describe('a wait', () => {
  test('ends with its time', async () => {
    await expect(inTime(20, new Promise(() => {}), () => new Error('late'))).rejects.toThrow('late');
    const never = (signal: AbortSignal) => once(new EventTarget(), 'never', { signal }).catch(() => signal.reason);
    expect(await withTimeLimit(20, never)).toMatchObject({ name: 'TimeoutError' });
  });

  test('that is cancelled while what came is read does not time out', async () => {
    let isOver = false;
    const stop = afterReading(20, () => {
      isOver = true;
    });
    standStill(500);
    await settled(3);
    stop();
    await new Promise((over) => setTimeout(over, 200));
    expect(isOver).toBe(false);
  });
});
