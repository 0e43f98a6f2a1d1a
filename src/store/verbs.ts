import type { Clock } from '../clock.ts';
import { StorageError } from '../errors.ts';
import type { SessionStore, StoreProvider } from '../sessions/ports.ts';

const cleanBatch = 1_000;

/**
 * Adds to a provider the verbs that are the same for all.
 * @param onFailure is called for each call that fails, before whoever made it hears of it
 */
export function withVerbs(provider: StoreProvider, clock: Clock, onFailure?: (call: string, error: StorageError) => void): SessionStore {
  /** Bound: a provider may be a class with private fields. */
  const bound = <N extends keyof StoreProvider>(name: N): StoreProvider[N] => {
    const call = (provider[name] as ((...args: unknown[]) => unknown) | undefined)?.bind(provider);
    if (!call || !onFailure) return call as StoreProvider[N];
    const watched = (...args: unknown[]) => {
      const answer = call(...args);
      if (answer instanceof Promise) answer.catch((error) => error instanceof StorageError && onFailure(name, error));
      return answer;
    };
    return watched as StoreProvider[N];
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

  return {
    shared: provider.shared === true,
    ...(provider.deletedBy !== undefined && { deletedBy: provider.deletedBy }),
    saveSession: bound('saveSession'),
    loadSession: bound('loadSession'),
    deleteSession: bound('deleteSession'),
    holderOf: bound('holderOf'),
    listSessions: bound('listSessions'),
    getStatistics: bound('getStatistics'),
    eventsAfter: bound('eventsAfter'),
    messagesAfter: bound('messagesAfter'),
    findMessage: bound('findMessage'),
    dropMessages: bound('dropMessages'),
    subscribe: bound('subscribe'),
    unsubscribe: bound('unsubscribe'),
    due: bound('due'),
    beat: bound('beat'),
    nodes: bound('nodes'),
    ping: bound('ping'),
    warnings: () => provider.warnings?.() ?? [],
    close: bound('close'),
    cleanExpiredSessions: clean,
  };
}
