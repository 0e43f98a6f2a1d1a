import { rights } from '../../protocol/roles.ts';
import type { AuthMode, Principal } from './principal.ts';

/** Everybody, with every right: the one place that gives them. What a call then says of itself (its user, the session its socket holds) takes rights away. */
export const everybody: Principal = Object.freeze({ rights });
const admitted = Object.freeze({ principal: everybody });

/** No authentication. */
export const none: AuthMode = {
  about: 'none: no authentication; must be set explicitly to serve more than this machine',
  isRequired: false,
  settings: {},
  needs: [],
  secrets: [],
  authenticate: () => () => admitted,
  headers: () => ({}),
};
