import type { Request } from '../../../protocol/requests.ts';
import { callerOf } from '../../auth/caller.ts';
import { GatewayError } from '../../errors.ts';
import type { Caller } from '../../sessions/access.ts';
import type { Connection } from '../connection.ts';

/** Whom a socket speaks for: one that holds a session for its user, a service for itself, any other for whoever is at it. */
export const callersAt =
  (nodeId: string) =>
  ({ principal, sessionId, owner, service }: Connection): Caller =>
    callerOf(principal, {
      user: owner,
      sessionId,
      service: service && { incarnation: service.incarnation, node_id: nodeId },
    });

/** The named session, or the socket's own. @throws GatewayError SESSION_NOT_FOUND */
export function idFor(named: string | undefined, peer: Connection): string {
  const id = named ?? peer.sessionId;
  if (id === undefined) throw new GatewayError('SESSION_NOT_FOUND', 'no session on this connection; pass session_id');
  return id;
}

/** A request whose answer may be lost together with the socket, and is then sent again: one of the session's own client. */
export const commandOf = (request: Request, id: string, peer: Connection) =>
  request.id !== undefined && peer.sessionId === id ? request : undefined;
