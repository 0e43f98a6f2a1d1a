import { setTimeout as sleep } from 'node:timers/promises';
import { ErrorReply } from '@redis/client';
import type { LogEvent } from '../../protocol/events.ts';
import { statuses } from '../../protocol/states.ts';
import { inTime } from '../clock.ts';
import { StorageError } from '../errors.ts';
import {
  ClaimTaken,
  type Message,
  maxEvents,
  type SessionFilter,
  type Statistics,
  type StoreFactory,
  type StoreProvider,
  VersionConflict,
} from '../sessions/ports.ts';
import { dueAt, type Session } from '../sessions/record.ts';
import { RedisClaims } from './redis-claims.ts';
import { RedisLink } from './redis-link.ts';
import * as scripts from './redis-scripts.ts';
import { Signals, signalOf } from './signals.ts';

/** How often the server is asked what it does when its memory is full. */
const policyMs = 60_000;
const pageSize = 100;
/** How often `due` looks again after it mended what a crash had left. */
const maxMends = 5;

/** What a script says is stored: version, due, created_at, status, owner, claims before; null: nothing is. */
type State = (string | null)[];
type Verb = <T>(name: string, work: (redis: Pick<RedisLink, 'run' | 'send'>) => Promise<T>) => Promise<T>;

/**
 * Keeps sessions in Redis 6.2 or later: one server, Sentinel or Cluster. A session's keys share a hash slot, and a commit is one script on them.
 * Claims and the indexes lie in other slots. They are written first, so that a crash leaves entries too many and never one too few;
 * such entries are recognized by the record, and repaired when they fall due or the session is next written; until then statistics count them.
 * Commands are pipelined on one connection (a second one listens), which carries more than a pool would.
 * A commit is as durable as the server makes it: see appendfsync, and replication, which is asynchronous.
 */
export const redisStore: StoreFactory = async ({ url, keyPrefix, timeoutMs, clock, log }) => {
  const channel = `${keyPrefix}wake`;
  const onUseless = () => listener.renew(listener.current, 'the server cannot serve now');
  const link = new RedisLink({ url, timeoutMs, log, ready: () => void lookAtPolicy(), onUseless });
  const listen = { channel, heard: (payload: string) => signals.heard(payload) };
  const listener: RedisLink = new RedisLink({ url, timeoutMs, log, listen, ready: () => signals.connected() });
  const signals = new Signals({
    clock,
    log,
    send: (payload) => verb('signal', (redis) => redis.send('PUBLISH', channel, payload)),
    versions: (ids) => verb('versions', (redis) => versions(redis, ids)),
    renew: (reason) => listener.renew(listener.current, reason),
    hint: `the Redis user needs the right to the channel ${channel} (ACL: &*)`,
  });
  let closed = false;

  /** Runs one verb within the time limit. After it nothing more is sent, but what was sent may still be done. */
  const verb: Verb = async (name, work) => {
    if (closed) throw new StorageError(`${name}: the store is closed`);
    const client = link.current;
    let [isOver, isAnswered] = [false, false];
    const sending = <A extends unknown[]>(send: (...args: A) => Promise<unknown>) => {
      return async (...args: A) => {
        if (isOver) throw new StorageError(`${name}: gave up`);
        const answer = await send(...args);
        isAnswered = true;
        return answer;
      };
    };
    const late = () => {
      // a long list is slow, and no sign of a dead connection
      if (!isAnswered) link.renew(client, 'no answer');
      const slow = name === 'listSessions' && isAnswered && !link.failure;
      const reason = slow ? `not done within ${timeoutMs} ms` : `no answer within ${timeoutMs} ms`;
      return new StorageError(link.failure?.message ?? `${name}: ${reason}`, { slow, notAdmitted: link.isNotAdmitted });
    };
    try {
      return await inTime(timeoutMs, work({ run: sending(link.run.bind(link)), send: sending(link.send.bind(link)) }), late);
    } catch (error) {
      if (error instanceof StorageError || error instanceof VersionConflict || error instanceof ClaimTaken) throw error;
      const refused = error instanceof ErrorReply;
      // a client without a connection says only that it has none
      const { message } = refused ? error : (link.failure ?? (error as Error));
      throw new StorageError(message, { cause: error, refused, notAdmitted: !refused && link.isNotAdmitted });
    } finally {
      isOver = true;
    }
  };

  // encoded: a brace in an id would end the hash tag
  const own = (id: string, part: string) => `${keyPrefix}{${encodeURIComponent(id)}}:${part}`;
  const keysOf = (id: string): [string, ...string[]] => {
    const [record = '', ...rest] = ['record', 'log', 'messages', 'message_ids', 'denied'].map((part) => own(id, part));
    return [record, ...rest];
  };
  // a slash is encoded in every id, so that no session is called that
  const shared = (part: string) => `${keyPrefix}{/index}:${part}`;
  const all = shared('all');
  const ownerList = (owner: string | null | undefined) => (owner ? shared(`owner:${owner}`) : all);
  const statusLists = statuses.map((status) => shared(`status:${status}`));
  const claims = new RedisClaims(keyPrefix, timeoutMs, own);

  const indexKeys = (owner: string | null | undefined): [string, ...string[]] => [
    shared('due'),
    all,
    ownerList(owner),
    ...['versions', 'message_counts', 'messages'].map(shared),
    ...statusLists,
  ];
  /** How a record's own fields are written: due, created_at, status, owner. */
  const fields = (session: Session) => {
    const due = dueAt(session);
    return [due === Number.POSITIVE_INFINITY ? '' : due, session.created_at, session.status, session.owner_id ?? ''] as const;
  };
  const indexed = async (
    redis: Pick<RedisLink, 'run'>,
    when: 'before' | 'after',
    id: string,
    state: State | readonly unknown[],
    messages = 0,
  ) => {
    const [version, due, created_at, status, owner] = state.map((value) => String(value ?? ''));
    // the status lists are the last keys
    const place = indexKeys(owner).length - statuses.length + 1 + (statuses as readonly string[]).indexOf(status ?? '');
    await redis.run(scripts.index, indexKeys(owner), [when, id, version ?? '', due ?? '', created_at ?? '', place, messages]);
  };
  const unindexed = (redis: Pick<RedisLink, 'run'>, id: string, owner?: string | null) =>
    redis.run(scripts.index, indexKeys(owner), ['gone', id]);

  const versions = async (redis: Pick<RedisLink, 'run' | 'send'>, ids: readonly string[]): Promise<number[]> => {
    const [first, ...rest] = ids.map((id) => own(id, 'record'));
    if (first === undefined) return [];
    if (!link.isCluster) return (await redis.run(scripts.versions, [first, ...rest])) as number[];
    return Promise.all([first, ...rest].map(async (key) => Number(await redis.send('HGET', key, 'version'))));
  };

  let evicts: string | undefined;
  /** Finds out whether the server drops records when its memory is full. Cannot reject. */
  const lookAtPolicy = async () => {
    try {
      const info = String(await verb('info', (redis) => redis.send('INFO', 'memory')));
      const [, policy = ''] = /maxmemory_policy:(\S+)/.exec(info) ?? [];
      // without a limit nothing is dropped; volatile-* drops only what expires, which no record does
      const isRisk = policy.startsWith('allkeys-') && !/maxmemory:0\b/.test(info);
      const found = isRisk ? `maxmemory-policy ${policy}: Redis drops sessions when its memory is full; set it to noeviction` : undefined;
      if (found !== undefined && found !== evicts) log.warn(found);
      evicts = found;
    } catch (err) {
      // a user may have no right to INFO
      log.debug({ err }, 'could not read the eviction policy');
    }
  };

  const load = async (redis: Pick<RedisLink, 'send'>, id: string) => {
    const json = await redis.send('HGET', own(id, 'record'), 'json');
    return typeof json === 'string' ? (JSON.parse(json) as Session) : undefined;
  };
  const parsed = <T>(texts: unknown) => (texts as string[]).map((text) => JSON.parse(text) as T);

  const commit = async (redis: Pick<RedisLink, 'run' | 'send'>, session: Session, expected: number, events: readonly LogEvent[]) => {
    const { session_id: id, version, commit_id } = session;
    const taken = await claims.take(redis, session).catch(async (error) => {
      // a caller that is out of date, or repeats what is done, is answered first
      const [storedVersion, storedId] = (await redis.send('HMGET', own(id, 'record'), 'version', 'commit_id')) as State;
      if (Number(storedVersion) === version && storedId === commit_id) return undefined;
      throw error instanceof ClaimTaken && Number(storedVersion ?? 0) !== expected ? new VersionConflict(id) : error;
    });
    if (!taken) return;
    await indexed(redis, 'before', id, [version, ...fields(session)]);
    const [outcome, state, messages, denied] = (await redis.run(scripts.commit, keysOf(id), [
      ...[expected, version, commit_id, JSON.stringify(session), JSON.stringify(session.claims), ...fields(session)],
      ...[channel, signalOf(id, commit_id), maxEvents],
      ...events.flatMap((event) => [event.seq, JSON.stringify(event), event.type === 'MessageAdded' ? event.message_id : '']),
    ])) as ['done' | 'repeated' | 'conflict' | 'denied', State, number, string];
    const isCommitted = outcome === 'done' || outcome === 'repeated';
    const [stored, , , , owner, was] = state;
    const dropped = (JSON.parse(was ?? '[]') as string[]).filter((claim) => !session.claims.includes(claim));
    try {
      await Promise.all([
        stored ? indexed(redis, 'after', id, state, messages) : unindexed(redis, id, owner ?? session.owner_id),
        isCommitted ? claims.release(redis, dropped, id, version) : claims.release(redis, taken, id, version, commit_id),
      ]);
    } catch (err) {
      // the commit stands, or does not; what is left over is mended later
      log[err instanceof ErrorReply ? 'warn' : 'debug']({ err, session_id: id }, 'redis indexes could not be brought up to date');
    }
    if (outcome === 'conflict') throw new VersionConflict(id);
    if (outcome === 'denied') throw new ClaimTaken(denied);
  };

  /** The list's ids after `place` and those skipped, in its order. */
  const page = async (redis: Pick<RedisLink, 'run' | 'send'>, list: string, place: SessionFilter['before'], skip: number, size: number) => {
    const rows = (await (place
      ? redis.run(scripts.page, [list], [place.created_at, place.session_id, skip, size])
      : redis.send('ZREVRANGE', list, skip, skip + size - 1, 'WITHSCORES'))) as string[];
    return rows.flatMap((session_id, i) => (i % 2 === 0 ? [{ session_id, created_at: Number(rows[i + 1]) }] : []));
  };
  const list = async (redis: Pick<RedisLink, 'run' | 'send'>, { owner_id, status, tags, limit, offset, before }: SessionFilter) => {
    const name = owner_id !== undefined ? ownerList(owner_id) : status !== undefined ? shared(`status:${status}`) : all;
    const found: Session[] = [];
    const isSifted = tags?.length || (owner_id !== undefined && status !== undefined);
    const size = isSifted ? pageSize : Math.min(pageSize, limit);
    // where the index says what fits, the records that are skipped need not be read
    let [place, skip, unskipped] = isSifted ? [before, 0, offset] : [before, offset, 0];
    for (;;) {
      const rows = await page(redis, name, place, skip, size);
      for (const session of await Promise.all(rows.map((row) => load(redis, row.session_id)))) {
        if (!session || (owner_id !== undefined && session.owner_id !== owner_id)) continue;
        if (status !== undefined && session.status !== status) continue;
        if (tags?.every((tag) => session.metadata.tags?.includes(tag)) === false) continue;
        if (unskipped > 0) unskipped -= 1;
        else if (found.push(session) === limit) return found;
      }
      [place, skip] = [rows.at(-1), 0];
      if (rows.length < size || !place) return found;
    }
  };

  /** Those of the ids that are due. The others were left by a crash: their entries are mended. */
  const stillDue = async (redis: Pick<RedisLink, 'run' | 'send'>, ids: readonly string[], before: number) => {
    const looked = ids.map(async (id) => {
      const state = (await redis.send('HMGET', own(id, 'record'), 'version', 'due', 'created_at', 'status', 'owner')) as State;
      if (!state[0]) await unindexed(redis, id);
      else if (!state[1] || Number(state[1]) > before) {
        await indexed(redis, 'after', id, state, Number(await redis.send('ZCARD', own(id, 'messages'))));
      } else return [id];
      return [];
    });
    return (await Promise.all(looked)).flat();
  };

  const store: StoreProvider = {
    shared: true,
    deletedBy: 'FLUSHDB, FLUSHALL or DEL, or a maxmemory-policy other than noeviction',

    saveSession: (session, expected, events) => verb('saveSession', (redis) => commit(redis, session, expected, events)),

    loadSession: (id) => verb('loadSession', (redis) => load(redis, id)),

    deleteSession: (id) =>
      verb('deleteSession', async (redis) => {
        const [held, owner] = (await redis.run(scripts.drop, keysOf(id))) as [string | null, string | null];
        const dropped = JSON.parse(held ?? '[]') as string[];
        await Promise.all([claims.release(redis, dropped, id, Number.MAX_SAFE_INTEGER), unindexed(redis, id, owner)]);
      }),

    holderOf: (claim) => verb('holderOf', (redis) => claims.holder(redis, claim)),

    listSessions: (filter) => verb('listSessions', async (redis) => (filter.limit > 0 ? list(redis, filter) : [])),

    getStatistics: () =>
      verb('getStatistics', async (redis) => {
        const counts = (await redis.run(scripts.statistics, [all, shared('messages'), ...statusLists])) as number[];
        const [sessions = 0, messages = 0, ...each] = counts;
        const by_status: Statistics['by_status'] = {};
        for (const [i, status] of statuses.entries()) if (each[i]) by_status[status] = each[i];
        return { sessions, by_status, messages };
      }),

    eventsAfter: (id, seq, limit) =>
      verb('eventsAfter', async (redis) => {
        if (limit <= 0) return [];
        const texts = await redis.run(scripts.eventsAfter, [own(id, 'record'), own(id, 'log')], [seq, limit]);
        return texts === null ? undefined : parsed<LogEvent>(texts);
      }),

    messagesAfter: (id, seq, limit) =>
      verb('messagesAfter', async (redis) =>
        parsed<Message>(await redis.send('ZRANGEBYSCORE', own(id, 'messages'), `(${seq}`, '+inf', 'LIMIT', 0, limit)),
      ),

    findMessage: (id, message_id) =>
      verb('findMessage', async (redis) => {
        const text = await redis.run(scripts.findMessage, [own(id, 'messages'), own(id, 'message_ids')], [message_id]);
        return typeof text === 'string' ? (JSON.parse(text) as Message) : undefined;
      }),

    dropMessages: (id) =>
      verb('dropMessages', async (redis) => {
        const state = (await redis.run(scripts.dropMessages, keysOf(id))) as State;
        if (state[0]) await indexed(redis, 'after', id, state, 0);
      }),

    subscribe: (id, wake) => signals.subscribe(id, wake),

    unsubscribe: (id, wake) => signals.unsubscribe(id, wake),

    due: (before, limit) =>
      verb('due', async (redis) => {
        for (let mends = 0; ; mends++) {
          const ids = (await redis.send('ZRANGEBYSCORE', shared('due'), '-inf', before, 'LIMIT', 0, limit)) as string[];
          const due = await stillDue(redis, ids, before);
          if (due.length === ids.length || mends === maxMends) return due;
        }
      }),

    beat: (nodeId, until) =>
      verb('beat', async (redis) => {
        await redis.send('ZADD', shared('nodes'), until, nodeId);
      }),

    nodes: (now) =>
      verb('nodes', async (redis) => {
        await redis.send('ZREMRANGEBYSCORE', shared('nodes'), '-inf', `(${now}`);
        return (await redis.send('ZRANGE', shared('nodes'), 0, -1)) as string[];
      }),

    ping: () => verb('ping', async (redis) => void (await redis.send('EXISTS', all))),

    warnings: () => [...signals.warnings(), ...(evicts === undefined ? [] : [evicts])],

    async close() {
      closed = true;
      stopLooking();
      signals.close();
      link.close();
      listener.close();
    },
  };
  // where it answers, the first call finds it ready; where it does not, nobody waits for it
  await Promise.race([Promise.all([link.tried, listener.tried]), sleep(timeoutMs, undefined, { ref: false })]);
  const stopLooking = clock.every(policyMs, () => void lookAtPolicy());
  return store;
};
