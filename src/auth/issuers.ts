import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type Kind, kinds } from '../../protocol/access.ts';
import { identity } from '../../protocol/fields.ts';
import { isLoopbackHost } from '../addresses.ts';
import type { Clock } from '../clock.ts';
import { listOf, tables } from '../config-values.ts';
import { Jwks, KeysUnavailable } from './jwks.ts';
import { isWithin, keyFields, leewayS, placeOf, reasonOf } from './keys.ts';
import { type Grant, type Principal, SettingFault, type Verified, type Verifier } from './principal.ts';

/** Nothing symmetric: whoever has a public key could sign with it. */
const algorithms = ['RS256', 'ES256', 'EdDSA'] as const;

const jwksUrl = z.url({ protocol: /^https?$/, error: 'must be an https URL' }).refine((text) => {
  const { protocol, hostname, username, password } = URL.canParse(text) ? new URL(text) : new URL('about:blank');
  return username === '' && password === '' && (protocol === 'https:' || isLoopbackHost(hostname));
}, 'must be https, or http on this machine, without user name and password');
const claim = z.string().min(1).max(256);

/** The fields of one [[auth.issuers]]. */
export const issuerSettings = tables({
  issuer: z
    .string()
    .regex(/^[^\s#]{1,256}$/, 'must be 1 to 256 characters, without white space and #')
    .describe('What the claim `iss` of its tokens says, to the letter'),
  audience: listOf(z.string().min(1))
    .refine((list) => list.length > 0, 'must name at least one')
    .describe('Its tokens must be for one of these: the claim `aud`'),
  jwks_url: jwksUrl.describe('Where its public keys are: https; http on this machine only. Redirects are not followed'),
  algorithms: listOf(z.enum(algorithms))
    .refine((list) => list.length > 0, 'must name at least one')
    .default(['RS256'])
    .describe(`What its tokens may be signed with: ${algorithms.join(', ')}`),
  typ: z.string().min(1).optional().describe('What the header `typ` of its tokens must say, for example at+jwt. If unset: anything'),
  namespace: z
    .string()
    .regex(/^[\w.-]{0,64}$/, 'must be at most 64 letters, digits and _ . -')
    .default('')
    .describe('With `:`, stands before every identity of its tokens, as in `corp:ada`. Each issuer has another; one may have none'),
  subject_claim: claim.default('sub').describe('The claim with the identity'),
  kinds: listOf(z.enum(kinds))
    .refine((list) => list.length > 0, 'must name at least one kind')
    .default(['user'])
    .describe(`Whom its tokens may be for: ${kinds.join(', ')}. A token that names no kind is for the first of them, in this order`),
  kind_claim: claim.optional().describe('The claim that names the kind. If unset: no token names one'),
  user_claim: claim.optional().describe('The claim with the user of a device; needed where `kinds` has device'),
  scopes: keyFields.scopes,
  service_prefix: keyFields.service_prefix,
  service_types: keyFields.service_types,
  max_ttl: keyFields.max_ttl.describe('The longest time between `iat` and `exp` of its tokens, as in 90s, 15m, 24h or 30d'),
}).describe('Identity providers whose tokens are taken');
export type IssuerSettings = NonNullable<z.output<typeof issuerSettings>>[number];

interface Issuer {
  settings: IssuerSettings;
  grant: Grant;
  jwks: Jwks;
}

/** Judges tokens of identity providers: JWT with a signature that a public key of theirs confirms. */
export class Issuers implements Verifier {
  readonly #clock: Clock;
  readonly #log: Logger;
  #issuers = new Map<string, Issuer>();
  /** What the tokens of each grant were checked against, also after it has been replaced. */
  readonly #settings = new WeakMap<Grant, IssuerSettings>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  get size(): number {
    return this.#issuers.size;
  }

  /**
   * Checks these issuers, which `take` then takes instead of those it has. Keys that were fetched are kept.
   * @param keyIds what tokens of gateway keys have as `iss`
   * @throws SettingFault
   */
  read(all: readonly IssuerSettings[], keyIds: readonly string[]): { take(): void } {
    const known = new Map([...this.#issuers.values()].map(({ settings, jwks }) => [settings.jwks_url, jwks]));
    const found = new Map<string, Issuer>();
    const namespaces = new Set<string>();
    for (const [i, settings] of all.entries()) {
      const { issuer, namespace, jwks_url } = settings;
      const fault = (why: string) => new SettingFault('issuers', `${placeOf(i)}: ${why}`);
      if (found.has(issuer)) throw fault(`${issuer} is there twice`);
      if (keyIds.includes(issuer)) throw fault(`${issuer} is the id of a gateway key, too`);
      if (namespaces.has(namespace))
        throw fault(
          `namespace: another issuer has ${namespace === '' ? 'none, either' : `${namespace}, too`}: their users could not be told apart`,
        );
      if (settings.kinds.includes('device') && settings.user_claim === undefined)
        throw fault('user_claim: is needed where kinds has device');
      namespaces.add(namespace);
      const grant: Grant = Object.freeze({
        name: `issuer:${issuer}`,
        scopes: new Set(settings.scopes),
        servicePrefix: settings.service_prefix,
        serviceTypes: settings.service_types,
      });
      const jwks = known.get(jwks_url) ?? new Jwks(jwks_url, this.#clock, this.#log);
      known.set(jwks_url, jwks);
      found.set(issuer, { settings, grant, jwks });
    }
    return {
      take: () => {
        this.#issuers = found;
        for (const { grant, settings } of found.values()) this.#settings.set(grant, settings);
      },
    };
  }

  /** Whether what a principal came with would still give it all that it may do. True of those that are no issuer's. */
  isStillGood({ grant, kind }: Principal): boolean {
    const was = this.#settings.get(grant);
    if (!was) return true;
    const now = this.#issuers.get(was.issuer);
    if (!now) return false;
    return now.settings.kinds.includes(kind as Kind) && isWithin(grant, now.grant) && takesAllOf(now.settings, was);
  }

  /** Whether somebody with this subject could come in. Always, where it is no issuer's. */
  knows(subject: string): boolean {
    const [, issuer] = /^issuer:([^#]+)#/.exec(subject) ?? [];
    return issuer === undefined || this.#issuers.has(issuer);
  }

  verify(token: string, issuer: string | undefined): Promise<Verified> | undefined {
    const known = issuer === undefined ? undefined : this.#issuers.get(issuer);
    return known && this.#verify(token, known);
  }

  async #verify(token: string, { settings, grant, jwks }: Issuer): Promise<Verified> {
    const { issuer, audience, algorithms, typ } = settings;
    const issuedAt = Number(decodeJwt(token).iat) * 1_000;
    try {
      const { payload } = await jwtVerify(token, (header) => jwks.find(header, issuedAt), {
        issuer,
        audience,
        algorithms,
        ...(typ !== undefined && { typ }),
        requiredClaims: ['iat', 'exp'],
        clockTolerance: leewayS,
        currentDate: new Date(this.#clock.now()),
      });
      const found = this.#principalOf(payload, settings, grant);
      // the settings may have been replaced while keys were fetched
      if ('refused' in found || this.isStillGood(found.principal)) return found;
      return { refused: 'invalid', why: `${grant.name} was removed` };
    } catch (error) {
      const why = `${grant.name}: ${reasonOf(error)}`;
      if (error instanceof KeysUnavailable) return { refused: 'unavailable', why, retryAfterMs: Math.max(1_000, error.retryAfterMs) };
      return { refused: error instanceof errors.JWTExpired ? 'expired' : 'invalid', why };
    }
  }

  /** What checked claims say. */
  #principalOf(claims: JWTPayload, settings: IssuerSettings, grant: Grant): Verified {
    const invalid = (why: string): Verified => ({ refused: 'invalid', why: `${grant.name}: ${why}` });
    const nowS = this.#clock.now() / 1_000;
    const { exp = 0, iat = 0 } = claims;
    // the leeway is for the beginning: a socket ends with its token
    if (exp <= nowS) return { refused: 'expired', why: `the token of ${grant.name} has expired` };
    if (iat > nowS + leewayS) return invalid('iat is in the future');
    if (exp - iat > settings.max_ttl) return invalid(`exp is more than max_ttl (${settings.max_ttl} s) after iat`);

    const { subject_claim, kind_claim, user_claim } = settings;
    const id = this.#identity(claims[subject_claim], settings);
    if (id === undefined) return invalid(`${subject_claim} is no identity`);
    const named = kind_claim === undefined ? undefined : claims[kind_claim];
    const kind = named === undefined ? kinds.find((one) => settings.kinds.includes(one)) : settings.kinds.find((one) => one === named);
    if (kind === undefined) return invalid(`${kind_claim} is none of ${settings.kinds.join(', ')}`);
    const owner = kind === 'device' ? this.#identity(claims[user_claim ?? ''], settings) : undefined;
    if (kind === 'device' && owner === undefined) return invalid(`${user_claim}, the user of the device, is missing or no identity`);
    const user = kind === 'user' ? id : owner;
    const subject = user === undefined ? `${grant.name}#${id}` : `user:${user}`;
    return { principal: Object.freeze({ kind, id, user, subject, grant, expiresAt: exp * 1_000 }) };
  }

  /** Who a claim names. Nobody where an issuer without a namespace names somebody of another one. */
  #identity(value: unknown, { namespace }: IssuerSettings): string | undefined {
    if (!identity.safeParse(value).success) return undefined;
    const id = namespace === '' ? (value as string) : `${namespace}:${value}`;
    const isOfOther =
      namespace === '' &&
      [...this.#issuers.values()].some(({ settings: { namespace: other } }) => other !== '' && id.startsWith(`${other}:`));
    return !isOfOther && identity.safeParse(id).success ? id : undefined;
  }
}

/** Whether a token that was good by these settings is good by others as well, and for the same somebody. */
function takesAllOf(now: IssuerSettings, was: IssuerSettings): boolean {
  const kept = ['jwks_url', 'namespace', 'subject_claim', 'kind_claim', 'user_claim'] as const;
  return (
    kept.every((key) => now[key] === was[key]) &&
    (now.typ === undefined || now.typ === was.typ) &&
    was.audience.every((one) => now.audience.includes(one)) &&
    was.algorithms.every((one) => now.algorithms.includes(one)) &&
    was.max_ttl <= now.max_ttl
  );
}
