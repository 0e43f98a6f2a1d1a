import { SignJWT } from 'jose';
import type { Kind } from '../../protocol/access.ts';

export interface TokenWish {
  keyId: string;
  secret: string;
  identity: string;
  kind: Kind;
  /** Of a device. */
  user?: string | undefined;
  /** Epoch ms. */
  now: number;
  ttlS: number;
}

/** A token of a gateway key, as LiveKit's server SDKs make one. */
export function mint({ keyId, secret, identity, kind, user, now, ttlS }: TokenWish): Promise<string> {
  const nowS = Math.floor(now / 1_000);
  return new SignJWT({ attributes: { 'gateway.kind': kind, ...(user !== undefined && { 'gateway.user': user }) } })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer(keyId)
    .setSubject(identity)
    .setNotBefore(nowS)
    .setExpirationTime(nowS + ttlS)
    .sign(new TextEncoder().encode(secret));
}
