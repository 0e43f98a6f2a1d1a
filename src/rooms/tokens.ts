import { AccessToken } from 'livekit-server-sdk';
import type { Session } from '../sessions/record.ts';

/** What signs a token that LiveKit accepts. */
export interface Key {
  apiKey: string;
  apiSecret: string;
}

const maxTtlSeconds = 6 * 3_600;

/** Seconds a token of this session lives: 6 h, or what is left of the session, and never less than one. */
export const tokenTtl = (session: Session, now: number) =>
  Math.max(1, Math.min(maxTtlSeconds, Math.ceil((session.expires_at - now) / 1_000)));

interface Bearer {
  identity: string;
  name?: string | undefined;
  metadata?: string | undefined;
  attributes?: Record<string, string> | undefined;
  /** An agent does not keep a room open. */
  kind?: 'agent';
}

/** Signs a token that lets its bearer into the session's room, to publish, subscribe and send data there. */
export function joinToken(key: Key, session: Session, bearer: Bearer, now: number): Promise<string> {
  // without a room the token would be good for every room
  if (!session.room) throw new Error('a session without a room has no tokens');
  const token = new AccessToken(key.apiKey, key.apiSecret, {
    identity: bearer.identity,
    ttl: tokenTtl(session, now),
    ...(bearer.name !== undefined && { name: bearer.name }),
    ...(bearer.metadata !== undefined && { metadata: bearer.metadata }),
    ...(bearer.attributes !== undefined && { attributes: bearer.attributes }),
  });
  token.addGrant({ roomJoin: true, room: session.room.name, canPublish: true, canSubscribe: true, canPublishData: true });
  // not the `agent` grant: that one opens LiveKit's worker socket
  if (bearer.kind) token.kind = bearer.kind;
  return token.toJwt();
}

const managerTtlSeconds = 24 * 3_600;

/** Signs a token that administers a room without being seen, heard or counted in it. */
export function managerToken(key: Key, session: Session): Promise<string> {
  if (!session.room) throw new Error('a session without a room has no tokens');
  const token = new AccessToken(key.apiKey, key.apiSecret, { identity: `session-manager-${session.session_id}`, ttl: managerTtlSeconds });
  token.addGrant({
    roomJoin: true,
    roomAdmin: true,
    room: session.room.name,
    hidden: true,
    canPublish: false,
    canSubscribe: false,
    canPublishData: false,
  });
  token.kind = 'agent';
  return token.toJwt();
}
