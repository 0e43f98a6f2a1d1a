import { v7 as uuid } from 'uuid';
import { z } from 'zod';
import { identity, sessionId } from '../protocol/fields.ts';
import { extendFields, listFields, messageFields, newSessionFields, shareFields, updateFields } from '../protocol/requests.ts';
import type { Status, Visibility } from '../protocol/states.ts';
import { defaultTtlHours } from '../protocol/times.ts';
import type { Session } from '../protocol/types.ts';
import { misspelt, unknownNames } from '../protocol/unknown-fields.ts';
import { callerOf } from './auth/caller.ts';
import { everybody } from './auth/none.ts';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';
import { checked, GatewayError } from './errors.ts';
import { makeLog } from './log/log.ts';
import type { Caller } from './sessions/access.ts';
import { Sessions } from './sessions/commits.ts';
import { Openings } from './sessions/open.ts';
import { Operations } from './sessions/operations.ts';
import type { Offers, Rooms, SessionStore, Statistics } from './sessions/ports.ts';
import { openStore, registerStoreProvider, type StorageWish } from './store/open.ts';
import { withVerbs } from './store/verbs.ts';

export type { Session } from '../protocol/types.ts';
export { GatewayError, StorageError } from './errors.ts';
export type { StoreFactory, StoreOptions, StoreProvider } from './sessions/ports.ts';
export { ClaimTaken, VersionConflict } from './sessions/ports.ts';
export { dueAt } from './sessions/record.ts';
export { registerStoreProvider };

/** How a manager keeps its sessions. */
export interface SessionManagerOptions {
  /** A URL (memory:, redis://..., postgres://..., a provider's own scheme), or type and connection string. Default: memory. */
  storage?: string | StorageWish;
  /** In front of every key. Default: session: */
  key_prefix?: string;
  /** Seconds one call of the storage may take. Default: 3 */
  timeout_s?: number;
  /** Default: the machine's. */
  clock?: Clock;
}

/** One thing that was said. */
export interface Message {
  message_id: string;
  /** Grows with each message of its session. */
  seq: number;
  role: string;
  content: string;
  user_id?: string;
  created_at: string;
}

/**
 * Sessions as records that users own, share and talk in, without a running gateway. Every method rejects with a GatewayError whose `code`
 * says why: SESSION_NOT_FOUND what the user may not read, FORBIDDEN what they may read but not do, VALIDATION_FAILED, ILLEGAL_STATE,
 * VERSION_CONFLICT; or with a StorageError.
 */
export interface SessionManager {
  /** Opens the storage. Call it first; again it does nothing. */
  initialize(): Promise<void>;
  /** Ends the connections to the storage. Sessions on shared storage live on. */
  shutdown(): Promise<void>;
  /** @returns the session's id. `ttl_hours` defaults to 24. */
  createSession(wish: {
    user_id: string;
    metadata?: Record<string, unknown>;
    ttl_hours?: number;
    visibility?: Visibility;
  }): Promise<string>;
  getSession(wish: { session_id: string; user_id: string }): Promise<Session>;
  /** @returns the session's new version */
  updateSession(wish: {
    session_id: string;
    user_id: string;
    context_updates?: Record<string, unknown>;
    metadata_updates?: Record<string, unknown>;
    visibility?: Visibility;
    if_version?: number;
  }): Promise<number>;
  /** Keeps a message; one whose message_id is there already changes nothing. */
  addMessage(wish: { session_id: string; user_id: string; role: string; content: string; message_id?: string }): Promise<Message>;
  /** The oldest first, at most `limit` (50) after the message with seq `after`. */
  getSessionMessages(wish: { session_id: string; user_id: string; limit?: number; after?: number }): Promise<Message[]>;
  /** The user's sessions, the newest first, at most `limit` (10). */
  listUserSessions(wish: { user_id: string; status?: Status; tags?: string[]; limit?: number; offset?: number }): Promise<Session[]>;
  /** Ends the session and forgets what was said in it. */
  deleteSession(wish: { session_id: string; user_id: string }): Promise<void>;
  /** `role` defaults to participant. */
  shareSession(wish: { session_id: string; owner_id: string; target_user_id: string; role?: 'viewer' | 'participant' }): Promise<void>;
  unshareSession(wish: { session_id: string; owner_id: string; target_user_id: string }): Promise<void>;
  /** @returns when the session ends now, ISO-8601 */
  extendSession(wish: { session_id: string; user_id: string; ttl_hours: number }): Promise<string>;
  cleanExpiredSessions(): Promise<number>;
  getStatistics(): Promise<Statistics>;
}

const noRooms = {
  url: '',
  mode: 'on_join',
  reach: { ever: false, downSince: undefined },
} as unknown as Rooms;
const noServices: Offers = {
  available: () => [],
  registered: () => [],
  dispatch: async () => {},
  reserve: () => undefined,
  commands: { offer: async () => {}, leave() {}, notify() {} },
  release() {},
};
const named = (id: string) => checked(sessionId, id, 'session_id');
const as = (user: string): Caller => callerOf(everybody, { user: checked(identity, user, 'user_id') });

/** A misspelt option or argument would have no effect: none that is unknown is taken. @throws GatewayError VALIDATION_FAILED */
function only(value: object, known: readonly string[], where: string): void {
  const unknown = unknownNames(value, new Set(known));
  if (!unknown) return;
  const more = misspelt(value, new Set(known)) || `; there is no field ${unknown[0]}`;
  const issues = unknown.map((path) => ({ path, message: 'unknown' }));
  throw new GatewayError('VALIDATION_FAILED', `${where}${more.replace(';', ':')}`, { details: { issues } });
}

/** Creates a manager with its own storage. Call `initialize` before anything else, `shutdown` at the end. */
export function createSessionManager(options: SessionManagerOptions = {}): SessionManager {
  only(options, ['storage', 'key_prefix', 'timeout_s', 'clock'], 'createSessionManager');
  const clock = options.clock ?? systemClock;
  const log = makeLog('silent');
  let opened: Promise<{ store: SessionStore; sessions: Sessions; openings: Openings; operations: Operations }> | undefined;

  const open = async () => {
    const wish = typeof options.storage === 'string' ? { url: options.storage } : (options.storage ?? {});
    const provider = await openStore(wish, {
      keyPrefix: options.key_prefix ?? 'session:',
      timeoutMs: (options.timeout_s ?? 3) * 1_000,
      clock,
      log,
    });
    const store = withVerbs(provider, clock);
    const sessions = new Sessions({ store, rooms: noRooms, offers: () => noServices, clock, log, timeouts: { registrationMs: 0 } });
    const operations = new Operations({ sessions, store, rooms: noRooms, clock, maxPageBytes: Number.POSITIVE_INFINITY });
    const openings = new Openings({
      sessions,
      store,
      rooms: noRooms,
      offers: noServices,
      checkWorkspace: async (folder) => folder,
      draining: () => false,
      nodeId: uuid(),
      defaults: { registrationMs: 0, joinTimeoutMs: 0, ttlMs: defaultTtlHours * 3_600_000 },
    });
    return { store, sessions, openings, operations };
  };
  const parts = () => {
    if (!opened) throw new GatewayError('ILLEGAL_STATE', 'the session manager is not initialized: call initialize() first');
    return opened;
  };
  const operations = async () => (await parts()).operations;

  return {
    async initialize() {
      // one that failed can be tried again
      opened ??= open().catch((error) => {
        opened = undefined;
        throw error;
      });
      await opened;
    },

    async shutdown() {
      // taken away at once: a second call finds nothing to close
      const ending = opened?.catch(() => undefined);
      opened = undefined;
      const closing = await ending;
      closing?.sessions.close();
      await closing?.store.close();
    },

    async createSession({ user_id, ...wish }) {
      only(wish, ['metadata', 'ttl_hours', 'visibility'], 'createSession');
      const body = checked(
        newSessionFields,
        { ...wish, user_identity: checked(identity, user_id, 'user_id'), room: false },
        'createSession',
      );
      const { session } = await (await parts()).openings.open(body, { caller: as(user_id), token_policy: 'on_ready' });
      return session.session_id;
    },

    async getSession({ session_id, user_id }) {
      return (await operations()).get(named(session_id), as(user_id));
    },

    async updateSession({ session_id, user_id, ...wish }) {
      only(wish, Object.keys(updateFields.shape), 'updateSession');
      return (await (await operations()).update(named(session_id), as(user_id), checked(updateFields, wish, 'updateSession'))).version;
    },

    async addMessage({ session_id, user_id, ...wish }) {
      only(wish, Object.keys(messageFields.shape), 'addMessage');
      const {
        session_id: _,
        duplicate: __,
        ...message
      } = await (await operations()).addMessage(named(session_id), as(user_id), checked(messageFields, wish, 'addMessage'));
      return message;
    },

    async getSessionMessages({ session_id, user_id, limit = 50, after = 0 }) {
      const page = checked(
        z.object({ limit: z.number().int().min(1).max(200), after: z.number().int().min(0) }),
        { limit, after },
        'getSessionMessages',
      );
      return (await (await operations()).messages(named(session_id), as(user_id), page)).items;
    },

    async listUserSessions({ user_id, limit = 10, offset = 0, ...filter }) {
      const page = listFields.extend({ limit: z.number().int().min(1).max(100), offset: z.number().int().min(0) });
      return (await (await operations()).list(as(user_id), checked(page, { ...filter, limit, offset }, 'listUserSessions'))).items;
    },

    async deleteSession({ session_id, user_id }) {
      await (await operations()).delete(named(session_id), as(user_id));
    },

    async shareSession({ session_id, owner_id, ...wish }) {
      const { target_user_id, role } = checked(shareFields, wish, 'shareSession');
      await (await operations()).share(named(session_id), as(owner_id), target_user_id, role);
    },

    async unshareSession({ session_id, owner_id, target_user_id }) {
      await (await operations()).unshare(named(session_id), as(owner_id), checked(identity, target_user_id, 'target_user_id'));
    },

    async extendSession({ session_id, user_id, ttl_hours }) {
      return (
        await (await operations()).extend(named(session_id), as(user_id), checked(extendFields, { ttl_hours }, 'extendSession').ttl_hours)
      ).expires_at;
    },

    cleanExpiredSessions: async () => (await parts()).store.cleanExpiredSessions(),

    getStatistics: async () => (await parts()).store.getStatistics(),
  };
}

let shared: SessionManager | undefined;

/** The one manager that this process shares. The first call decides its options; later ones are given the same manager. */
export function getSessionManager(options: SessionManagerOptions = {}): SessionManager {
  shared ??= createSessionManager(options);
  return shared;
}
