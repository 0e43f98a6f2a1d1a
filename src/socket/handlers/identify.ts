import { Close } from '../../../protocol/close.ts';
import { answer } from '../../../protocol/requests.ts';
import { saidOf } from '../../auth/authenticator.ts';
import type { Authenticator } from '../../auth/principal.ts';
import { GatewayError } from '../../errors.ts';
import { iso } from '../../time.ts';
import type { Connection } from '../connection.ts';
import type { Handlers } from '../dispatch.ts';

/** How a peer says who it is, and that it still is. */
export function identifyHandler({ auth }: { auth: Pick<Authenticator, 'identify'> }) {
  return {
    async IdentifyRequest({ token, kind, identity, heartbeat_s, attributes }, peer) {
      const wish = { ...(heartbeat_s !== undefined && { heartbeatMs: heartbeat_s * 1_000 }), attributes };
      const isKnown = peer.isIdentified && peer.principal.kind !== 'anybody';
      if (token === undefined && isKnown) {
        const { principal } = peer;
        if ((kind !== undefined && kind !== principal.kind) || (identity !== undefined && identity !== principal.id))
          throw new GatewayError('FORBIDDEN', 'this socket belongs to another principal: open a new one');
        peer.identify(principal, wish);
      } else {
        const found = await auth.identify({ token, kind, identity });
        if ('principal' in found) peer.identify(found.principal, wish);
        else {
          const unavailable = found.refused === 'unavailable';
          // one that is somebody already stays that; a stranger with a wrong credential is done
          if (!peer.isIdentified && token !== undefined)
            // after its answer
            setImmediate(() =>
              peer.close(
                unavailable ? Close.AuthUnavailable : found.refused === 'expired' ? Close.CredentialExpired : Close.Unauthenticated,
              ),
            );
          throw found.refused === 'unavailable'
            ? new GatewayError('UNAVAILABLE', 'whether the credential is valid cannot be found out now', {
                retryAfterMs: found.retryAfterMs,
              })
            : new GatewayError('UNAUTHENTICATED', token === undefined ? 'a token is required' : saidOf[found.refused]);
        }
      }
      const { kind: is, id, user, grant, expiresAt } = peer.principal;
      return answer('IdentifyResponse', {
        ...(is !== 'anybody' && { kind: is, identity: id }),
        ...(user !== undefined && { user_identity: user }),
        ...(is === 'operator' && { scopes: [...grant.scopes] }),
        ...(expiresAt !== undefined && { expires_at: iso(expiresAt) }),
        heartbeat_s: peer.pingMs / 1_000,
      });
    },
  } satisfies Partial<Handlers<Connection>>;
}
