import { randomBytes } from 'node:crypto';
import { stringify } from 'smol-toml';
import { type Kind, kinds, type Scope, scopes } from '../protocol/access.ts';
import { identity } from '../protocol/fields.ts';
import { type KeySettings, keyFields, placeOf, secretOf } from './auth/keys.ts';
import { mint } from './auth/mint.ts';
import { type AuthSettings, SettingFault } from './auth/principal.ts';
import { ConfigError } from './config.ts';
import { duration } from './config-values.ts';

const chosen = <T extends string>(flag: string, text: string, known: readonly T[]): T[] =>
  text.split(',').map((given) => {
    const found = known.find((one) => one === given.trim());
    if (found === undefined) throw new ConfigError(`${flag}: ${given.trim()} is none of ${known.join(', ')}`);
    return found;
  });

/** @throws ConfigError */
function taken(
  flag: string,
  schema: { safeParse(value: unknown): { success: boolean; error?: { issues: { message: string }[] } } },
  value: string,
): string {
  const result = schema.safeParse(value);
  if (!result.success) throw new ConfigError(`${flag}: ${result.error?.issues[0]?.message}`);
  return value;
}

/** A table [[auth.keys]] with a new secret, as a file takes it. @throws ConfigError */
export function newKey({ id, kinds: forKinds, scopes: withScopes, servicePrefix }: Record<string, string>): string {
  const key = {
    id: id === undefined ? `key-${randomBytes(4).toString('hex')}` : taken('--id', keyFields.id, id),
    secret: randomBytes(32).toString('base64url'),
    kinds: chosen<Kind>('--kinds', forKinds ?? 'user', kinds),
    ...(withScopes !== undefined && { scopes: chosen<Scope>('--scopes', withScopes, Object.keys(scopes) as Scope[]) }),
    ...(servicePrefix !== undefined && { service_prefix: taken('--service-prefix', keyFields.service_prefix, servicePrefix) }),
  };
  return stringify({ auth: { keys: [key] } }).trim();
}

/** A token made with a key of the configuration. @throws ConfigError */
export async function newToken(auth: AuthSettings, given: Record<string, string>, now: number): Promise<string> {
  const keys = (auth.keys ?? []) as readonly KeySettings[];
  if (keys.length === 0) throw new ConfigError('there is no [[auth.keys]] in the configuration: name its file with --config');
  // of two with one id the newer, which is added last
  const index = given.key === undefined ? 0 : keys.findLastIndex(({ id }) => id === given.key);
  const key = keys[index];
  if (!key) throw new ConfigError(`--key: there is no key ${given.key}; there is ${keys.map(({ id }) => id).join(', ')}`);
  const allowed = kinds.filter((kind) => key.kinds.includes(kind));
  const [kind = 'user'] = given.kind === undefined ? allowed : chosen('--kind', given.kind, allowed);
  if ((kind === 'device') !== (given.user !== undefined)) throw new ConfigError('--user: names the user of a device, and of nothing else');
  const ttl = duration(1, key.max_ttl).safeParse(given.ttl ?? String(Math.min(3_600, key.max_ttl)));
  if (!ttl.success) throw new ConfigError(`--ttl: must be a time up to the key's max_ttl, ${key.max_ttl}s`);
  const secret = await secretOf(key, placeOf(index)).catch((error) => {
    throw error instanceof SettingFault ? new ConfigError(`auth.${error.setting}: ${error.message}`) : error;
  });
  const user = given.user === undefined ? undefined : taken('--user', identity, given.user);
  return mint({ keyId: key.id, secret, identity: taken('--identity', identity, given.identity ?? ''), kind, user, now, ttlS: ttl.data });
}
