import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogEvent } from '../../protocol/events.ts';
import type { Status } from '../../protocol/states.ts';
import { inTime } from '../clock.ts';
import { StorageError } from '../errors.ts';
import {
  type Message,
  type SessionFilter,
  type Statistics,
  type StoreFactory,
  type StoreProvider,
  VersionConflict,
} from '../sessions/ports.ts';
import { dueAt, type Session } from '../sessions/record.ts';
import { canceledState, PostgresLink, storageError } from './postgres-link.ts';
import { Listener } from './postgres-listener.ts';
import { migrate } from './postgres-migrations.ts';
import { Semaphore } from './semaphore.ts';
import { Signals } from './signals.ts';

const defaultPoolMax = 10;
/** How often the listening connection is looked after: a peer that is gone without a word shows in nothing else. */
const listenerCheckMs = 10_000;
/** A query that begins within this of its call has not waited for others. */
const shortMs = 10;

/** What is in front of every table, function and channel. "session:" gives "session_"; what is no plain name keeps apart by its hash. */
export function tablePrefix(keyPrefix: string): string {
  if (/^[a-z_][a-z0-9_]{0,30}:?$/.test(keyPrefix)) return keyPrefix.replace(':', '_');
  const hash = createHash('sha256').update(keyPrefix).digest('hex').slice(0, 12);
  return `s_${keyPrefix
    .toLowerCase()
    .replace(/[^a-z0-9_]/g, '_')
    .slice(0, 16)}_${hash}_`;
}

/** Which sessions a filter lets through, newest first. */
function listQuery(p: string, { owner_id, status, tags, limit, offset, before }: SessionFilter) {
  const values: unknown[] = [];
  const value = (of: unknown) => `$${values.push(of)}`;
  const where = [
    ...(owner_id === undefined ? [] : [`owner_id = ${value(owner_id)}`]),
    ...(status === undefined ? [] : [`status = ${value(status)}`]),
    ...(tags === undefined ? [] : [`tags @> ${value(tags)}::text[]`]),
    ...(before === undefined ? [] : [`(created_at, session_id) < (${value(before.created_at)}::bigint, ${value(before.session_id)})`]),
  ];
  const text =
    `SELECT record FROM ${p}sessions ${where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`} ` +
    `ORDER BY created_at DESC, session_id DESC LIMIT ${value(limit)} OFFSET ${value(offset)}`;
  return { text, values };
}

/** The URL without the parameter that is ours. */
function readUrl(url: string): { connectionString: string; max: number } {
  const parsed = new URL(url);
  const given = Number(parsed.searchParams.get('pool_max') ?? defaultPoolMax);
  if (!Number.isInteger(given) || given < 1) throw new StorageError('pool_max must be a whole number from 1 on');
  parsed.searchParams.delete('pool_max');
  return { connectionString: parsed.href, max: given };
}

/** Keeps sessions in PostgreSQL (13 or later). One commit is one transaction: acknowledged means as durable as the server's synchronous_commit makes it. */
export const postgresStore: StoreFactory = async ({ url, keyPrefix, timeoutMs, clock, log }) => {
  const { connectionString, max } = readUrl(url);
  const p = tablePrefix(keyPrefix);
  const config = {
    connectionString,
    fallback_application_name: 'session-gateway',
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    keepAlive: true,
  };
  const link = new PostgresLink({ config, max, timeoutMs, log, onUseless: (reason) => listener.renew(reason) });
  const channel = `${p}commits`;
  const listener: Listener = new Listener({
    config,
    timeoutMs,
    channel,
    log,
    heard: (payload) => signals.heard(payload),
    connected: () => signals.connected(),
  });
  const signals = new Signals({
    clock,
    log,
    // not on the connection that listens: in front of a pooler it would come back on that one and on no other
    send: (payload) => query('SELECT pg_notify($1, $2)', channel, payload),
    async versions(ids) {
      const text = `SELECT session_id, version::float8 AS version FROM ${p}sessions WHERE session_id = ANY($1)`;
      const rows = await query<{ session_id: string; version: number }>(text, ids);
      const found = new Map(rows.map(({ session_id, version }) => [session_id, version]));
      return ids.map((id) => found.get(id) ?? 0);
    },
    renew: (reason) => listener.renew(reason),
    hint: 'LISTEN does not pass PgBouncer in transaction pooling; use session pooling, or connect to PostgreSQL itself',
  });
  const stopChecks = clock.every(listenerCheckMs, () => listener.check());
  let isClosed = false;

  let prepared: Promise<unknown> | undefined;
  /** Tables are there, and commits of other nodes are heard where that works at once. */
  const prepare = async (): Promise<unknown> => {
    // what an earlier call began may fail of what is over by now
    await prepared?.catch(() => {});
    prepared ??= Promise.all([migrate(() => link.connect(), p), listener.start()]).catch((error) => {
      prepared = undefined;
      throw error;
    });
    return prepared;
  };

  const query = <Row>(text: string, ...values: unknown[]): Promise<Row[]> => queryUntil(performance.now() + timeoutMs, text, values);

  const queryUntil = async <Row>(until: number, text: string, values: unknown[]): Promise<Row[]> => {
    if (isClosed) throw new StorageError('The storage is closed');
    let isOver = false;
    const attempt = async () => {
      await prepare().catch((error) => Promise.reject(storageError(error)));
      return link.query<Row>(text, values, { until, isOver: () => isOver });
    };
    return inTime(until - performance.now(), attempt(), () => {
      isOver = true;
      return new StorageError(`postgres did not answer within ${timeoutMs} ms`);
    });
  };

  /** However slow lists are, half of the connections are left for what sessions need. */
  const looks = new Semaphore(Math.max(1, Math.floor(max / 2)));
  /** As `query`, of what looks at many rows: that it takes too long is no sign that the server is away. */
  const look = async <Row>(text: string, ...values: unknown[]): Promise<Row[]> => {
    const startedAt = performance.now();
    const until = startedAt + timeoutMs;
    let waitedMs = 0;
    try {
      return await looks.run(until, () => {
        waitedMs = performance.now() - startedAt;
        return queryUntil<Row>(until, text, values);
      });
    } catch (error) {
      const { message, cause, refused } = error as StorageError;
      // one that had to wait had less time than an answer may take
      if (refused || ((cause as { code?: string } | undefined)?.code !== canceledState && waitedMs < shortMs)) throw error;
      throw new StorageError(`not done in time: ${(cause as Error | undefined)?.message ?? message}`, { cause, slow: true });
    }
  };

  const store: StoreProvider = {
    shared: true,
    deletedBy: 'TRUNCATE, DELETE or a backup that was restored',

    async saveSession(session, expected, events) {
      const due = dueAt(session);
      const [row] = await query<{ saved: boolean }>(
        `SELECT ${p}save($1, $2, $3, $4) AS saved`,
        JSON.stringify(session),
        expected,
        Number.isFinite(due) ? Math.floor(due) : null,
        JSON.stringify(events),
      );
      if (!row?.saved) throw new VersionConflict(session.session_id);
    },

    async loadSession(id) {
      const [row] = await query<{ record: Session }>(`SELECT record FROM ${p}sessions WHERE session_id = $1`, id);
      return row?.record;
    },

    async deleteSession(id) {
      await query(`SELECT ${p}delete($1)`, id);
    },

    async holderOf(claim) {
      const [row] = await query<{ session_id: string }>(`SELECT session_id FROM ${p}claims WHERE claim = $1`, claim);
      return row?.session_id;
    },

    async listSessions(filter) {
      const { text, values } = listQuery(p, filter);
      return (await look<{ record: Session }>(text, ...values)).map(({ record }) => record);
    },

    async getStatistics() {
      // float8: a count is a bigint, which would arrive as a string
      const rows = await look<{ status: Status; sessions: number; messages: number }>(
        `SELECT status, count(*)::float8 AS sessions, (SELECT count(*) FROM ${p}messages)::float8 AS messages FROM ${p}sessions GROUP BY status`,
      );
      const by_status: Statistics['by_status'] = {};
      for (const { status, sessions } of rows) by_status[status] = sessions;
      return { sessions: rows.reduce((sum, row) => sum + row.sessions, 0), by_status, messages: rows[0]?.messages ?? 0 };
    },

    async eventsAfter(id, seq, limit) {
      const rows = await query<{ body: LogEvent }>(
        `SELECT body FROM ${p}events WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
        id,
        seq,
        limit,
      );
      const events = rows.map(({ body }) => body);
      return events[0] && events[0].seq > seq + 1 ? undefined : events;
    },

    async messagesAfter(id, seq, limit) {
      const rows = await query<{ body: Message }>(
        `SELECT body FROM ${p}messages WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
        id,
        seq,
        limit,
      );
      return rows.map(({ body }) => body);
    },

    async findMessage(id, message_id) {
      const [row] = await query<{ body: Message }>(
        `SELECT body FROM ${p}messages WHERE session_id = $1 AND message_id = $2`,
        id,
        message_id,
      );
      return row?.body;
    },

    async dropMessages(id) {
      await query(`SELECT ${p}drop_messages($1)`, id);
    },

    subscribe(id, wake) {
      if (isClosed) return;
      void listener.start();
      signals.subscribe(id, wake);
    },

    unsubscribe: (id, wake) => signals.unsubscribe(id, wake),

    async due(before, limit) {
      const rows = await query<{ session_id: string }>(
        `SELECT session_id FROM ${p}sessions WHERE due_at <= $1 ORDER BY due_at LIMIT $2`,
        Math.floor(before),
        limit,
      );
      return rows.map(({ session_id }) => session_id);
    },

    async beat(nodeId, until) {
      await query(`INSERT INTO ${p}nodes VALUES ($1, $2) ON CONFLICT (node_id) DO UPDATE SET until = excluded.until`, nodeId, until);
    },

    async nodes(now) {
      await query(`DELETE FROM ${p}nodes WHERE until < $1`, now);
      const rows = await query<{ node_id: string }>(`SELECT node_id FROM ${p}nodes`);
      return rows.map(({ node_id }) => node_id);
    },

    async ping() {
      await query('SELECT 1');
    },

    warnings: () => signals.warnings(),

    async close() {
      if (isClosed) return;
      isClosed = true;
      stopChecks();
      signals.close();
      listener.close();
      const stop = new AbortController();
      await Promise.race([link.end(), sleep(timeoutMs, undefined, { signal: stop.signal }).catch(() => {})]);
      stop.abort();
      link.destroy();
    },
  };
  return store;
};
