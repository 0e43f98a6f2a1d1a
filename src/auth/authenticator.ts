import { decodeJwt } from 'jose';
import type { Logger } from 'pino';
import { credentialIn } from './credential.ts';
import type { Admitted, Authenticator, Credential, NotAdmitted, Verified, Verifier } from './principal.ts';

/** More than any identity provider makes that fits a header. */
const maxTokenBytes = 8_192;
const realm = 'Bearer realm="session-gateway"';
/** What WWW-Authenticate says to who brings no credential, or one that is not taken. */
export const challenges = { missing: realm, invalid: `${realm}, error="invalid_token"` } as const;

const refused = (fault: 'missing' | 'invalid' | 'expired', message: string, by?: Credential['by']): { refused: NotAdmitted } => ({
  refused: {
    code: 'UNAUTHENTICATED',
    message,
    fault,
    by,
    level: 'info',
    challenge: fault === 'missing' ? challenges.missing : challenges.invalid,
  },
});

/** What a peer is told of a credential that is not taken: nothing that helps to guess. */
export const saidOf = { invalid: 'the credential is not valid', expired: 'the credential has expired' } as const;

const howTo =
  'a credential is required: Authorization: Bearer {token}, the subprotocol bearer.{token} beside session-gateway.v1, or IdentifyRequest';

/** What a JWT says of its issuer, unchecked. */
function issuerOf(token: string): string | undefined {
  try {
    const { iss } = decodeJwt(token);
    return typeof iss === 'string' ? iss : undefined;
  } catch {
    return undefined;
  }
}

/** Takes the credentials that these know, by header, by subprotocol or in a message, and lets nobody in without one. */
export function authenticatorOf(verifiers: readonly Verifier[], methods: readonly string[], log: Logger): Authenticator {
  const verify = async (token: string): Promise<Verified> => {
    if (token.length > maxTokenBytes) return { refused: 'invalid', why: `longer than ${maxTokenBytes} bytes` };
    const issuer = issuerOf(token);
    for (const verifier of verifiers) {
      const found = verifier.verify(token, issuer);
      if (found) return found;
    }
    return {
      refused: 'invalid',
      why: issuer === undefined ? 'not a JWT with an issuer' : `nobody here knows the issuer ${issuer.slice(0, 64)}`,
    };
  };
  const look = async ({ token, by }: Credential): Promise<Admitted> => {
    const found = await verify(token);
    if ('principal' in found) return found;
    log.info({ credential: by, why: found.why }, 'credential refused');
    if (found.refused === 'unavailable') {
      const message = 'whether the credential is valid cannot be found out now';
      return { refused: { code: 'UNAVAILABLE', message, retryAfterMs: found.retryAfterMs, by, level: 'info' } };
    }
    return refused(found.refused, saidOf[found.refused], by);
  };
  return {
    methods,
    authenticate({ headers }) {
      const credential = credentialIn(headers);
      if (!credential) return refused('missing', howTo);
      return 'fault' in credential ? refused('invalid', credential.fault, credential.by) : look(credential);
    },
    async identify({ token, kind, identity }) {
      if (token === undefined) return { refused: 'invalid', why: 'no token' };
      const found = await verify(token);
      if (!('principal' in found)) {
        log.info({ credential: 'request', why: found.why }, 'credential refused');
        return found;
      }
      const { principal } = found;
      const differs = (kind !== undefined && kind !== principal.kind) || (identity !== undefined && identity !== principal.id);
      return differs ? { refused: 'invalid', why: 'kind or identity is not that of the token' } : found;
    },
  };
}
