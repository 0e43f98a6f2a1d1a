import type { Logger } from 'pino';
import { StorageError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { LiveSessions } from './live.ts';

interface OtherNodesParts {
  sessions: Sessions;
  live: LiveSessions;
  nodeId: string;
  log: Logger;
}

/** Keeps the sockets of this node and what other nodes commit in step. */
export function followOtherNodes({ sessions, live, nodeId, log }: OtherNodesParts): void {
  const reattach = async (id: string, connection_id: string) => {
    try {
      await sessions.change(id, async ({ link, connection_id: last }) =>
        link === 'away' && last === connection_id ? { type: 'Attached', node_id: nodeId, connection_id } : undefined,
      );
    } catch (err) {
      const level = err instanceof StorageError ? 'debug' : 'warn';
      log[level]({ err, session_id: id }, 'could not re-attach session after node recovery');
    }
  };
  sessions.onCommit(({ before, session, remote }) => {
    if (!remote) return;
    const { session_id, node_id, link } = session;
    // a socket of another node holds it now
    if (before?.node_id === nodeId && node_id !== nodeId) live.takenOver(session_id);
    // another node considered this one dead, and it lives, with the socket
    const holder = link === 'away' && node_id === nodeId ? live.holder(session_id) : undefined;
    if (holder !== undefined) void reattach(session_id, holder);
  });
}
