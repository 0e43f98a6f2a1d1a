import { type Kind, type Scope, scopes } from '../../protocol/access.ts';
import type { AuthMode, Grant, Principal, Verified } from './principal.ts';

const everything: Grant = Object.freeze({ name: 'none', scopes: new Set(Object.keys(scopes) as Scope[]) });

/** Everybody, with every right: the one place that gives them. What a call then says of itself (its user, the session its socket holds) takes rights away. */
export const everybody: Principal = Object.freeze({ kind: 'anybody', id: '', grant: everything });
const admitted = Object.freeze({ principal: everybody });

/** Who a peer claims to be, unverified: from then on it is that and nothing else. */
function claimed({ kind, identity }: { kind?: Kind | undefined; identity?: string | undefined }): Verified {
  if (identity === undefined) return admitted;
  const as = kind ?? 'user';
  const user = as === 'user' || as === 'device' ? identity : undefined;
  return { principal: Object.freeze({ kind: as, id: identity, user, grant: everything }) };
}

/** No authentication. */
export const none: AuthMode = {
  about: 'none: no authentication; must be set explicitly to serve more than this machine',
  isRequired: false,
  settings: {},
  needs: [],
  secrets: [],
  start: () => ({ authenticate: () => admitted, identify: claimed, methods: [] }),
  headers: () => [{}],
};
