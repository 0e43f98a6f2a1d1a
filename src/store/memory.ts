import type { LogEvent } from '../../protocol/events.ts';
import { ClaimTaken, type SessionStore, VersionConflict } from '../sessions/ports.ts';
import { dueAt, type Session } from '../sessions/record.ts';
import { DueIndex } from './due.ts';

const maxEvents = 512;
const maxTombstones = 10_000;

interface Entry {
  session: Session;
  log: LogEvent[];
  wakes: Set<() => void> | undefined;
}

type Place = Pick<Session, 'created_at' | 'session_id'>;
const newestFirst = (a: Place, b: Place) =>
  b.created_at - a.created_at || (b.session_id < a.session_id ? -1 : b.session_id > a.session_id ? 1 : 0);

/** Keeps sessions in this process: they end with it. At most 10,000 ended ones stay to be read. */
export function memoryStore(): SessionStore {
  const entries = new Map<string, Entry>();
  const claims = new Map<string, string>();
  const due = new DueIndex();
  /** Ended sessions whose rooms are gone, oldest first. */
  const tombstones = new Set<string>();

  const drop = (id: string) => {
    for (const claim of entries.get(id)?.session.claims ?? []) if (claims.get(claim) === id) claims.delete(claim);
    entries.delete(id);
    tombstones.delete(id);
    due.delete(id);
  };

  return {
    async saveSession(session, expected, events) {
      const id = session.session_id;
      const entry = entries.get(id);
      if ((entry?.session.version ?? 0) !== expected) throw new VersionConflict(id);
      const old = entry?.session.claims ?? [];
      if (old.length > 0 || session.claims.length > 0) {
        for (const claim of session.claims) if ((claims.get(claim) ?? id) !== id) throw new ClaimTaken(claim);
        for (const claim of old) claims.delete(claim);
        for (const claim of session.claims) claims.set(claim, id);
      }
      if (entry) {
        entry.session = session;
        entry.log.push(...events);
        if (entry.log.length > maxEvents) entry.log.splice(0, entry.log.length - maxEvents);
      } else entries.set(id, { session, log: [...events], wakes: undefined });
      due.set(id, dueAt(session));
      if (session.status === 'Terminated' && (!session.room || session.room.state === 'deleted') && session.claims.length === 0) {
        tombstones.add(id);
        const [oldest] = tombstones;
        if (tombstones.size > maxTombstones && oldest !== undefined) drop(oldest);
      }
      if (entry?.wakes) for (const wake of entry.wakes) wake();
    },

    loadSession: async (id) => entries.get(id)?.session,

    deleteSession: async (id) => drop(id),

    holderOf: async (claim) => claims.get(claim),

    async listSessions({ owner_id, status, limit, offset, before }) {
      const fits = ({ session }: Entry) =>
        (owner_id === undefined || session.owner_id === owner_id) &&
        (status === undefined || session.status === status) &&
        (before === undefined || newestFirst(session, before) > 0);
      return [...entries.values()]
        .filter(fits)
        .map(({ session }) => session)
        .sort(newestFirst)
        .slice(offset, offset + limit);
    },

    async eventsAfter(id, seq, limit) {
      const log = entries.get(id)?.log;
      const first = log?.[0]?.seq;
      if (!log || first === undefined) return [];
      if (seq + 1 < first) return undefined;
      return log.slice(seq + 1 - first, seq + 1 - first + limit);
    },

    subscribe(id, wake) {
      const entry = entries.get(id);
      if (!entry) return () => {};
      entry.wakes ??= new Set();
      entry.wakes.add(wake);
      return () => {
        entry.wakes?.delete(wake);
        if (entry.wakes?.size === 0) entry.wakes = undefined;
      };
    },

    due: async (before, limit) => due.upTo(before, limit),
  };
}
