import { authenticatorOf } from './authenticator.ts';
import { GatewayKeys, type KeySettings, keySettings, placeOf, secretOf } from './keys.ts';
import { mint } from './mint.ts';
import { type AuthMode, type AuthSettings, SettingFault } from './principal.ts';

const keysOf = ({ keys }: AuthSettings) => (keys ?? []) as readonly KeySettings[];
/** Enough for one command. */
const commandTtlS = 60;

/** Everybody says who they are: with a token of a gateway key. */
export const required: AuthMode = {
  about: 'required: every peer needs a credential',
  isRequired: true,
  settings: { keys: keySettings },
  needs: ['keys'],
  secrets: ['keys.secret'],
  async start(settings, { clock, log, taken }) {
    const keys = new GatewayKeys(clock);
    const replace = (settings: AuthSettings) => keys.replace(keysOf(settings), taken);
    await replace(settings);
    return {
      ...authenticatorOf([keys], ['key'], log),
      replace,
      isStillGood: (principal) => keys.isStillGood(principal),
      knows: (subject) => keys.knows(subject),
    };
  },
  /** One for each key that makes operators who may read: the gateway may not have read the newest yet. */
  async headers(settings, clock) {
    const tokens: Record<string, string>[] = [];
    for (const [i, key] of keysOf(settings).entries()) {
      if (!key.kinds.includes('operator')) continue;
      const secret = await secretOf(key, placeOf(i));
      const ttlS = Math.min(commandTtlS, key.max_ttl);
      const token = await mint({ keyId: key.id, secret, identity: 'session-gateway', kind: 'operator', now: clock.now(), ttlS });
      tokens.push({ authorization: `Bearer ${token}` });
    }
    if (tokens.length > 0) return tokens;
    throw new SettingFault('keys', 'no key makes operators: set GATEWAY_TOKEN to a token for this command');
  },
};
