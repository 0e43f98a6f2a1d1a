import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LogEvent } from '../../protocol/events.ts';
import {
  ClaimTaken,
  type Message,
  maxEvents,
  type SessionFilter,
  type Statistics,
  type StoreProvider,
  VersionConflict,
  type Wake,
} from '../sessions/ports.ts';
import { dueAt, type Session } from '../sessions/record.ts';
import { type Due, DueIndex } from './due.ts';
import { Order } from './order.ts';

/** Events that are copied at each commit, which costs as good as nothing. */
const shortLog = 32;
const maxTombstones = 10_000;
/** Sessions that a list looks at in one turn of the event loop: with the dearest of filters about a millisecond. */
const lookedAtOnce = 1_000;

interface Entry extends Due<Entry> {
  session: Session;
  log: LogEvent[];
  messages: Map<string, Message> | undefined;
  /** Mostly one, which needs no set. */
  wakes: Wake | Set<Wake> | undefined;
}

/** Keeps sessions in this process: they end with it. At most 10,000 ended ones stay to be read. */
export function memoryStore(): StoreProvider {
  const entries = new Map<string, Entry>();
  const claims = new Map<string, string>();
  const due = new DueIndex<Entry>();
  const order = new Order<Entry>();
  const nodes = new Map<string, number>();
  /** Ended sessions whose rooms are gone, oldest first. */
  const tombstones = new Set<string>();

  const drop = (id: string) => {
    const entry = entries.get(id);
    if (!entry) return;
    for (const claim of entry.session.claims) if (claims.get(claim) === id) claims.delete(claim);
    due.delete(entry);
    order.forget(entry);
    entries.delete(id);
    tombstones.delete(id);
  };

  return {
    shared: false,

    async saveSession(session, expected, events) {
      const id = session.session_id;
      let entry = entries.get(id);
      if (entry && entry.session.version === session.version && entry.session.commit_id === session.commit_id) return;
      if ((entry?.session.version ?? 0) !== expected) throw new VersionConflict(id);
      const old = entry?.session.claims ?? [];
      if (old.length > 0 || session.claims.length > 0) {
        for (const claim of session.claims) if ((claims.get(claim) ?? id) !== id) throw new ClaimTaken(claim);
        for (const claim of old) claims.delete(claim);
        for (const claim of session.claims) claims.set(claim, id);
      }
      if (entry) {
        const { created_at, owner_id } = entry.session;
        const moves = created_at !== session.created_at || owner_id !== session.owner_id;
        if (moves) order.delete(entry);
        entry.session = session;
        if (moves) order.add(entry);
        // a push leaves room for sixteen more, and most logs stay short
        if (entry.log.length < shortLog) entry.log = entry.log.concat(events);
        else entry.log.push(...events);
        if (entry.log.length > maxEvents) entry.log.splice(0, entry.log.length - maxEvents);
      } else {
        entry = { session, log: [...events], messages: undefined, wakes: undefined, slot: undefined, previous: undefined, next: undefined };
        entries.set(id, entry);
        order.add(entry);
      }
      for (const event of events) {
        if (event.type !== 'MessageAdded') continue;
        entry.messages ??= new Map();
        entry.messages.set(event.message_id, event);
      }
      due.set(entry, dueAt(session));
      if (session.status === 'Terminated' && (!session.room || session.room.state === 'deleted') && session.claims.length === 0) {
        tombstones.add(id);
        const [oldest] = tombstones;
        if (tombstones.size > maxTombstones && oldest !== undefined) drop(oldest);
      }
      if (typeof entry.wakes === 'function') entry.wakes(id, session.commit_id);
      // a copy: one that is woken may subscribe again
      else if (entry.wakes) for (const wake of [...entry.wakes]) wake(id, session.commit_id);
    },

    loadSession: async (id) => entries.get(id)?.session,

    deleteSession: async (id) => drop(id),

    holderOf: async (claim) => claims.get(claim),

    async listSessions(filter) {
      const all: Session[] = [];
      for (let left: SessionFilter | undefined = filter; left; ) {
        const { found, rest } = order.list(left, lookedAtOnce);
        all.push(...found);
        left = rest;
        // others come in between
        if (left) await nextTurn();
      }
      return all;
    },

    async getStatistics() {
      const by_status: Statistics['by_status'] = {};
      let messages = 0;
      for (const { session, messages: held } of entries.values()) {
        by_status[session.status] = (by_status[session.status] ?? 0) + 1;
        messages += held?.size ?? 0;
      }
      return { sessions: entries.size, by_status, messages };
    },

    async messagesAfter(id, seq, limit) {
      const after: Message[] = [];
      for (const message of entries.get(id)?.messages?.values() ?? []) {
        if (message.seq > seq && after.push(message) === limit) break;
      }
      return after;
    },

    findMessage: async (id, message_id) => entries.get(id)?.messages?.get(message_id),

    async dropMessages(id) {
      const entry = entries.get(id);
      if (!entry) return;
      entry.messages = undefined;
      entry.log = entry.log.map((event) => (event.type === 'MessageAdded' ? { ...event, content: '' } : event));
    },

    eventsAfter(id, seq, limit) {
      const log = entries.get(id)?.log;
      const first = log?.[0]?.seq;
      if (!log || first === undefined) return [];
      if (seq + 1 < first) return undefined;
      return log.slice(seq + 1 - first, seq + 1 - first + limit);
    },

    subscribe(id, wake) {
      const entry = entries.get(id);
      if (!entry || entry.wakes === wake) return;
      if (entry.wakes === undefined) entry.wakes = wake;
      else if (typeof entry.wakes === 'function') entry.wakes = new Set([entry.wakes, wake]);
      else entry.wakes.add(wake);
    },

    unsubscribe(id, wake) {
      const entry = entries.get(id);
      if (entry?.wakes === wake) entry.wakes = undefined;
      else if (entry?.wakes instanceof Set && entry.wakes.delete(wake) && entry.wakes.size === 0) entry.wakes = undefined;
    },

    due: async (before, limit) => due.upTo(before, limit).map(({ session }) => session.session_id),

    async beat(nodeId, until) {
      nodes.set(nodeId, until);
    },

    nodes: async (now) => [...nodes].filter(([, until]) => until >= now).map(([id]) => id),

    ping: async () => {},

    close: async () => {},
  };
}
