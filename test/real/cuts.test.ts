import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { makeLog } from '../../src/log/log.ts';
import { openStore } from '../../src/store/open.ts';
import { run } from '../cuts/run.ts';
import { testConfig } from '../support/gateway.ts';
import { describeWith, parts } from '../support/parts.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { startBuiltGateway } from '../support/process.ts';
import { startRedis } from '../support/redis.ts';

const seed = 20_300_101;

/** Two gateways on one storage: a connection leads to either one, until one of them is killed. */
async function losesNothing(url: string): Promise<void> {
  const env = { STORAGE_URL: url, HEARTBEAT_CLIENT_S: '1', HEARTBEAT_TIMEOUT_S: '1' };
  const [a, b] = await Promise.all([startBuiltGateway(env), startBuiltGateway(env)]);
  const { key_prefix: keyPrefix } = testConfig().storage;
  const store = await openStore({ url }, { keyPrefix, timeoutMs: 5_000, clock: systemClock, log: makeLog('silent') });
  onTestFinished(() => store.close());
  const urls: [string, ...string[]] = [a.url, b.url];
  const halfway = async () => {
    urls.shift();
    a.kill('SIGKILL');
    await a.exited;
  };
  const { findings, excused, line } = await run({ seed, cuts: 400, clients: 16, urls, store, rooms: false, halfway });
  console.log(line);
  expect([findings, excused]).toEqual([[], 0]);
}

describeWith(parts.redis)('two gateways on Redis, one of them killed', () => {
  test('lose nothing and double nothing when sockets break', async () => {
    await losesNothing((await startRedis()).url);
  });
});

describe('two gateways on PostgreSQL, one of them killed', () => {
  const postgres = sharedPostgres();

  test('lose nothing and double nothing when sockets break', async () => {
    await losesNothing(postgres().url);
  });
});
