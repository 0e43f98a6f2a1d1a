import { z } from 'zod';
import { authModes } from '../../src/auth/modes.ts';
import { everybody } from '../../src/auth/none.ts';
import type { Admitted, Authenticate, AuthMode, Verified } from '../../src/auth/principal.ts';

const refused = (message: string, challenge: string): Admitted => ({
  refused: { code: 'UNAUTHENTICATED', message, challenge, fault: 'invalid', by: 'header', level: 'info' },
});

/** One token for everybody: a mode that only tests have. Imported before the configuration, it can be chosen like any other. */
const bearer: AuthMode = {
  about: 'bearer: one token for everybody',
  isRequired: true,
  settings: { token: z.string().optional().describe('The token') },
  needs: ['token'],
  secrets: ['token'],
  start({ token }) {
    const authenticate: Authenticate = ({ headers: { authorization } }) => {
      if (authorization === undefined) return refused('send the token', 'Bearer realm="test"');
      return authorization === `Bearer ${token}`
        ? { principal: everybody }
        : refused('the token is wrong', 'Bearer realm="test", error="invalid_token"');
    };
    const identify = (claim: { token?: string | undefined }): Verified =>
      claim.token === token ? { principal: everybody } : { refused: 'invalid', why: 'the token is wrong' };
    return { authenticate, identify, methods: ['test'] };
  },
  headers: ({ token }) => [{ authorization: `Bearer ${token}` }],
};
Object.assign(authModes, { bearer });
