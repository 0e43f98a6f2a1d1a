import { authenticatorOf } from './authenticator.ts';
import { type IssuerSettings, Issuers, issuerSettings } from './issuers.ts';
import { GatewayKeys, type KeySettings, keySettings, placeOf, secretOf } from './keys.ts';
import { mint } from './mint.ts';
import { type AuthMode, type AuthSettings, SettingFault } from './principal.ts';

const keysOf = ({ keys }: AuthSettings) => (keys ?? []) as readonly KeySettings[];
const issuersOf = ({ issuers }: AuthSettings) => (issuers ?? []) as readonly IssuerSettings[];
/** Enough for one command. */
const commandTtlS = 60;

/** Everybody says who they are: with a token of a gateway key, or of an identity provider. */
export const required: AuthMode = {
  about: 'required: every peer needs a credential',
  isRequired: true,
  settings: { keys: keySettings, issuers: issuerSettings },
  needs: ['keys', 'issuers'],
  secrets: ['keys.secret'],
  async start(settings, { clock, log, taken }) {
    const keys = new GatewayKeys(clock);
    const issuers = new Issuers(clock, log);
    // the same list for ever: what it says follows the settings
    const methods: string[] = [];
    const replace = async (settings: AuthSettings) => {
      const ofKeys = keysOf(settings);
      const { take } = issuers.read(
        issuersOf(settings),
        ofKeys.map(({ id }) => id),
      );
      await keys.replace(ofKeys, taken);
      take();
      methods.splice(0, methods.length, ...(ofKeys.length > 0 ? ['key'] : []), ...(issuers.size > 0 ? ['jwt'] : []));
    };
    await replace(settings);
    return {
      ...authenticatorOf([keys, issuers], methods, log),
      replace,
      isStillGood: (principal) => keys.isStillGood(principal) && issuers.isStillGood(principal),
      knows: (subject) => keys.knows(subject) && issuers.knows(subject),
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
