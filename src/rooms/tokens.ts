import { createHmac, createSecretKey } from 'node:crypto';
import type { VideoGrant } from 'livekit-server-sdk';
import { tokenLifeMs } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';

/** What signs a token that LiveKit accepts. */
export interface Key {
  apiKey: string;
  apiSecret: string;
}

/** Seconds a token of this session lives: what is asked for, or what is left of the session, and never less than one. */
const tokenTtl = (session: Session, now: number, lifeMs: number) =>
  Math.max(1, Math.ceil(Math.min(lifeMs, session.expires_at - now) / 1_000));

interface Bearer {
  identity: string;
  name?: string | undefined;
  metadata?: string | undefined;
  attributes?: Record<string, string> | undefined;
  /** An agent does not keep a room open. */
  kind?: 'agent';
  /** False: it hears and sees only. */
  speaks?: boolean;
}

interface Grants {
  name?: string | undefined;
  metadata?: string | undefined;
  attributes?: Record<string, string> | undefined;
  kind?: 'agent' | undefined;
  video: VideoGrant;
}

/** Signs what its bearer may do for so many seconds from now. */
export type Sign = (identity: string, ttlSeconds: number, grants: Grants) => string;

const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const head = `${base64({ alg: 'HS256' })}.`;

/**
 * Signs as livekit-server-sdk's toJwt does, claim by claim (RFC 7519 with HS256), in a third of its time: a session needs a
 * token for its user and one for each service, and toJwt was a quarter of what a short session costs.
 */
export function signer({ apiKey, apiSecret }: Key): Sign {
  const secret = createSecretKey(apiSecret, 'utf8');
  return (sub, ttlSeconds, { name, metadata, attributes, kind, video }) => {
    const nbf = Math.floor(Date.now() / 1_000);
    const text = head + base64({ name, metadata, attributes, kind, video, iss: apiKey, exp: nbf + ttlSeconds, nbf, sub });
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
}

/** A token that lets its bearer into the session's room, to publish, subscribe and send data there. */
export function joinToken(
  sign: Sign,
  session: Session,
  { identity, name, metadata, attributes, kind, speaks = true }: Bearer,
  now: number,
  lifeMs: number = tokenLifeMs.client,
): string {
  // without a room the token would be good for every room
  if (!session.room) throw new Error('a session without a room has no tokens');
  return sign(identity, tokenTtl(session, now, lifeMs), {
    // the SDK leaves an empty one out
    name: name || undefined,
    metadata: metadata || undefined,
    attributes,
    // not the `agent` grant: that one opens LiveKit's worker socket
    kind,
    video: {
      roomJoin: true,
      room: session.room.name,
      canPublish: speaks,
      canSubscribe: true,
      canPublishData: speaks,
      // as LiveKit's own agents: their state (lk.agent.state) is an attribute
      ...(kind === 'agent' && { canUpdateOwnMetadata: true }),
    },
  });
}

/** A token that administers a room without being seen, heard or counted in it. */
export function managerToken(sign: Sign, session: Session): string {
  if (!session.room) throw new Error('a session without a room has no tokens');
  return sign(`session-manager-${session.session_id}`, tokenLifeMs.manager / 1_000, {
    kind: 'agent',
    video: {
      roomJoin: true,
      roomAdmin: true,
      room: session.room.name,
      hidden: true,
      canPublish: false,
      canSubscribe: false,
      canPublishData: false,
    },
  });
}
