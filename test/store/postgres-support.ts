import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { onTestFinished } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import type { Message, StoreProvider } from '../../src/sessions/ports.ts';
import { postgresStore } from '../../src/store/postgres.ts';
import { t0 } from '../sessions/build.ts';
import { ManualClock } from '../support/clock.ts';
import { quietLog } from '../support/log.ts';

/** A keyPrefix nobody has used; it is the prefix of the tables but for its last sign. */
export const freshPrefix = () => `t${randomBytes(6).toString('hex')}:`;

/** A store that ends with the test. */
export async function openStore(
  url: string,
  options: { keyPrefix?: string; timeoutMs?: number; clock?: ManualClock } = {},
): Promise<StoreProvider> {
  const { keyPrefix = freshPrefix(), timeoutMs = 5_000, clock = new ManualClock() } = options;
  const store = await postgresStore({ url, keyPrefix, timeoutMs, clock, log: quietLog() });
  onTestFinished(() => store.close());
  return store;
}

/** A connection of the test's own. */
export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

export const said = (session_id: string, seq: number, content = `text ${seq}`): Message => ({
  type: 'MessageAdded',
  seq,
  ts: new Date(t0).toISOString(),
  session_id,
  message_id: `m${seq}`,
  role: 'user',
  content,
});

/** Events `from` to `to` of a log. */
export const log = (session_id: string, from: number, to: number): LogEvent[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    type: 'SessionDegraded',
    seq: from + i,
    ts: new Date(t0).toISOString(),
    session_id,
    missing: [],
  }));

export const seqs = (events: readonly LogEvent[] | undefined) => events?.map((event) => event.seq);
export const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
