import { createHmac } from 'node:crypto';

const header = Buffer.from('{"alg":"HS256"}').toString('base64url');
const ttlSeconds = 6 * 3_600;

/** A token with the claims of the gateway's, signed by node:crypto alone. */
export function joinToken(key: string, secret: string, room: string, identity: string, kind?: 'agent'): string {
  const now = Math.floor(Date.now() / 1_000);
  const claims = {
    video: {
      roomJoin: true,
      room,
      canPublish: true,
      canSubscribe: true,
      canPublishData: true,
      ...(kind === 'agent' && { canUpdateOwnMetadata: true }),
    },
    kind,
    iss: key,
    exp: now + ttlSeconds,
    nbf: now,
    sub: identity,
  };
  const body = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}
