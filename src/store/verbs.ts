import { v4 as uuid } from 'uuid';

import type { Metadata } from '../../protocol/fields.ts';
import { GatewayError } from '../sessions/errors.ts';
import { type Clock, type SessionStore, type StoreProvider, VersionConflict } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';

/** Each conflict is somebody else's success: so many may write to one session at once. */
const maxConflicts = 1_000;
const cleanBatch = 1_000;

/** Adds to a provider the verbs that are the same for all. */
export function withVerbs(provider: StoreProvider, clock: Clock): SessionStore {
  const update = async (id: string, updates: Parameters<SessionStore['updateMetadata']>[1]): Promise<Session> => {
    for (let conflicts = 0; conflicts < maxConflicts; conflicts++) {
      const session = await provider.loadSession(id);
      if (!session) throw new GatewayError('SESSION_NOT_FOUND', `Session not found: ${id}`);
      const merged = Object.fromEntries(Object.entries({ ...session.metadata, ...updates }).filter(([, value]) => value !== null));
      const next = { ...session, metadata: merged as Metadata, version: session.version + 1, commit_id: uuid(), updated_at: clock.now() };
      try {
        await provider.saveSession(next, session.version, []);
        return next;
      } catch (error) {
        if (!(error instanceof VersionConflict)) throw error;
      }
    }
    throw new GatewayError('VERSION_CONFLICT', 'The session is changed by many at once');
  };

  const clean = async (limit = cleanBatch): Promise<number> => {
    const now = clock.now();
    let dropped = 0;
    for (const id of await provider.due(now, limit)) {
      const session = await provider.loadSession(id);
      if (session?.status !== 'Terminated' || (session.deadlines.forget ?? Number.POSITIVE_INFINITY) > now) continue;
      // what still has a room to delete or a name to release is not done
      if ((session.room && session.room.state !== 'deleted') || session.deadlines.release_name !== undefined) continue;
      await provider.deleteSession(id);
      dropped += 1;
    }
    return dropped;
  };

  // bound: a provider may be a class with private fields
  return {
    saveSession: provider.saveSession.bind(provider),
    loadSession: provider.loadSession.bind(provider),
    deleteSession: provider.deleteSession.bind(provider),
    holderOf: provider.holderOf.bind(provider),
    listSessions: provider.listSessions.bind(provider),
    getStatistics: provider.getStatistics.bind(provider),
    eventsAfter: provider.eventsAfter.bind(provider),
    messagesAfter: provider.messagesAfter.bind(provider),
    findMessage: provider.findMessage.bind(provider),
    dropMessages: provider.dropMessages.bind(provider),
    subscribe: provider.subscribe.bind(provider),
    unsubscribe: provider.unsubscribe.bind(provider),
    due: provider.due.bind(provider),
    beat: provider.beat.bind(provider),
    nodes: provider.nodes.bind(provider),
    ping: provider.ping.bind(provider),
    close: provider.close.bind(provider),
    updateMetadata: update,
    cleanExpiredSessions: clean,
  };
}
