import { createSecretKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';
import { defaultScopes, type Kind, kinds, type Scope, scopes } from '../../protocol/access.ts';
import { identity } from '../../protocol/fields.ts';
import type { Clock } from '../clock.ts';
import { duration, listOf, plainText, tables } from '../config-values.ts';
import { type Grant, type Principal, SettingFault, type Verified, type Verifier } from './principal.ts';

/** Shorter ones can be guessed from a token that was seen: HS256 takes 256 bits (RFC 7518, 3.2). */
const minSecret = 32;
/** How far clocks may be apart, in seconds. */
export const leewayS = 30;

/** The fields of one [[auth.keys]]. */
export const keyFields = {
  id: z
    .string()
    .regex(/^[\w.:-]{1,128}$/, 'must be 1 to 128 letters, digits and _ . : -')
    .describe('What the claim `iss` of its tokens says. Two tables may have the same id, each with its own secret, while one is replaced'),
  secret: z.string().optional().describe(`Signs its tokens: at least ${minSecret} characters`),
  secret_file: z.string().min(1).optional().describe('A file with the secret, instead of `secret`'),
  kinds: listOf(z.enum(kinds))
    .refine((list) => list.length > 0, 'must name at least one kind')
    .describe(`Whom its tokens may be for: ${kinds.join(', ')}. A token that names no kind is for the first of them, in this order`),
  scopes: listOf(z.enum(Object.keys(scopes) as [Scope]))
    .default([...defaultScopes])
    .describe(`What its operators may do: ${Object.keys(scopes).join(', ')}`),
  service_prefix: z.string().min(1).max(128).optional().describe('How the ids of its services start. If unset: any id'),
  service_types: listOf(z.string().min(1))
    .optional()
    .describe('What its services may give as `metadata.type`. If unset: any, or with `service_prefix` what starts with it'),
  max_ttl: duration(1, 31_536_000)
    .default(86_400)
    .describe('The longest time between `nbf` and `exp` of its tokens, as in 90s, 15m, 24h or 30d'),
};
export const keySettings = tables(keyFields).describe('Keys whose holders make tokens for peers');
export type KeySettings = NonNullable<z.output<typeof keySettings>>[number];

/** A key whose secret was read. */
interface Key {
  secret: KeyObject;
  kinds: readonly Kind[];
  grant: Grant;
  maxTtlS: number;
}

/** As faults of the configuration name a table of a list. */
export const placeOf = (index: number) => `no. ${index + 1}`;
const fault = (at: string, why: string) => new SettingFault('keys', `${at}: ${why}`);

/** The secret of a key. `at`: which of them it is, for the fault. @throws SettingFault */
export async function secretOf({ secret, secret_file }: Pick<KeySettings, 'secret' | 'secret_file'>, at: string): Promise<string> {
  if ((secret === undefined) === (secret_file === undefined)) throw fault(at, 'needs one of secret and secret_file');
  if (secret_file === undefined) return longEnough(secret ?? '', at);
  const text = await readFile(secret_file, 'utf8').catch(({ code }: NodeJS.ErrnoException) => {
    throw fault(at, `secret_file: ${secret_file} cannot be read (${code})`);
  });
  const result = plainText(text);
  if ('fault' in result) throw fault(at, `secret_file: ${secret_file} ${result.fault}`);
  return longEnough(result.text, at);
}

function longEnough(secret: string, at: string): string {
  if (secret.length < minSecret) throw fault(at, `the secret must have at least ${minSecret} characters`);
  return secret;
}

async function readKeys(settings: readonly KeySettings[], taken: readonly string[]): Promise<Map<string, Key[]>> {
  const found = new Map<string, Key[]>();
  const secrets = new Set(taken);
  for (const [i, one] of settings.entries()) {
    const at = placeOf(i);
    const secret = await secretOf(one, at);
    if (secrets.has(secret)) {
      const whose = taken.includes(secret) ? 'LiveKit’s: its tokens would be taken for the key’s' : 'that of another key';
      throw fault(at, `the secret is ${whose}`);
    }
    secrets.add(secret);
    const same = found.get(one.id) ?? [];
    if (same.length === 2) throw fault(at, `${one.id} is there three times; two are enough to replace one`);
    const grant: Grant = Object.freeze({
      name: `key:${one.id}`,
      scopes: new Set(one.scopes),
      servicePrefix: one.service_prefix,
      serviceTypes: one.service_types,
    });
    const key = { secret: createSecretKey(secret, 'utf8'), kinds: one.kinds, grant, maxTtlS: one.max_ttl };
    found.set(one.id, [...same, key]);
  }
  return found;
}

/** Judges tokens that were made with the gateway's keys: JWT with HS256, as every server SDK of LiveKit makes them. */
export class GatewayKeys implements Verifier {
  readonly #clock: Clock;
  #keys = new Map<string, Key[]>();
  /** What the holders of each grant have signed with, also after it has been replaced. */
  readonly #secrets = new WeakMap<Grant, KeyObject>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes these keys instead of those it has.
   * @param taken secrets that no key may have
   * @throws SettingFault nothing has changed
   */
  async replace(settings: readonly KeySettings[], taken: readonly string[]): Promise<void> {
    this.#keys = await readKeys(settings, taken);
    for (const keys of this.#keys.values()) for (const { grant, secret } of keys) this.#secrets.set(grant, secret);
  }

  /** Whether what a principal came with would still give it all that it may do. True of those that are no key's. */
  isStillGood({ grant, kind }: Principal): boolean {
    const secret = this.#secrets.get(grant);
    if (!secret) return true;
    const keys = this.#keys.get(grant.name.slice('key:'.length)) ?? [];
    return keys.some((key) => key.secret.equals(secret) && key.kinds.includes(kind as Kind) && isWithin(grant, key.grant));
  }

  /** Whether somebody with this subject could come in. Always, where it is no key's. */
  knows(subject: string): boolean {
    return !subject.startsWith('key:') || this.#keys.has(subject.slice('key:'.length));
  }

  verify(token: string, issuer: string | undefined): Promise<Verified> | undefined {
    const keys = issuer === undefined ? undefined : this.#keys.get(issuer);
    return keys && this.#verify(token, keys);
  }

  async #verify(token: string, keys: readonly Key[]): Promise<Verified> {
    let why = '';
    for (const key of keys) {
      try {
        const { payload } = await jwtVerify(token, key.secret, {
          algorithms: ['HS256'],
          requiredClaims: ['exp'],
          clockTolerance: leewayS,
          currentDate: new Date(this.#clock.now()),
        });
        const found = this.#principalOf(payload, key);
        // the keys may have been replaced meanwhile
        return 'refused' in found || this.isStillGood(found.principal)
          ? found
          : { refused: 'invalid', why: `${key.grant.name} was removed` };
      } catch (error) {
        if (error instanceof errors.JWTExpired) return { refused: 'expired', why: `the token of ${key.grant.name} has expired` };
        why = reasonOf(error);
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    return { refused: 'invalid', why: `${keys[0]?.grant.name}: ${why}` };
  }

  /** What checked claims say. */
  #principalOf(claims: JWTPayload, { kinds: allowed, grant, maxTtlS }: Key): Verified {
    const nowS = this.#clock.now() / 1_000;
    const { exp = 0, iat, nbf = iat ?? nowS, sub } = claims;
    // the leeway is for the beginning: a socket ends with its token
    if (exp <= nowS) return { refused: 'expired', why: `the token of ${grant.name} has expired` };
    const invalid = (why: string): Verified => ({ refused: 'invalid', why: `${grant.name}: ${why}` });
    if (iat !== undefined && iat > nowS + leewayS) return invalid('iat is in the future');
    if (exp - nbf > maxTtlS + leewayS) return invalid(`exp is more than max_ttl (${maxTtlS} s) after nbf`);
    const grants = ofLiveKit.find((name) => givesSomething(claims[name]));
    if (grants !== undefined) return invalid(`it has a ${grants} grant: it is for LiveKit`);
    if (!identity.safeParse(sub).success) return invalid('sub is no identity');
    const id = sub as string;

    const { 'gateway.kind': named, 'gateway.user': owner } = attributesOf(claims);
    const kind = named === undefined ? kinds.find((one) => allowed.includes(one)) : allowed.find((one) => one === named);
    if (kind === undefined) return invalid(`gateway.kind is none of ${allowed.join(', ')}`);
    if (kind === 'device' && !identity.safeParse(owner).success)
      return invalid('gateway.user, the user of the device, is missing or no identity');
    const user = kind === 'user' ? id : kind === 'device' ? (owner as string) : undefined;
    const subject = user === undefined ? grant.name : `user:${user}`;
    return { principal: Object.freeze({ kind, id, user, subject, grant, expiresAt: exp * 1_000 }) };
  }
}

/** Why a token is not taken, for the log: in words that hold nothing of it. */
export function reasonOf(error: unknown): string {
  // its message names what the header asks for
  if (error instanceof errors.JOSENotSupported) return 'its header asks for something that is not supported';
  return error instanceof Error ? error.message : String(error);
}

/** Whether a grant gives nothing that another one does not. */
export function isWithin({ scopes, servicePrefix, serviceTypes }: Grant, other: Grant): boolean {
  return (
    [...scopes].every((scope) => other.scopes.has(scope)) &&
    (other.servicePrefix === undefined || servicePrefix?.startsWith(other.servicePrefix) === true) &&
    (other.serviceTypes === undefined || serviceTypes?.every((type) => other.serviceTypes?.includes(type)) === true)
  );
}

/** Grants of LiveKit's tokens. */
const ofLiveKit = ['video', 'sip', 'inference', 'observability'];

/** Some SDKs write every grant out, with false and nothing in it; what one `can` do counts for those who may join alone. */
function givesSomething(grant: unknown): boolean {
  if (typeof grant !== 'object' || grant === null) return Boolean(grant);
  const isEmpty = (value: unknown) => !value || (typeof value === 'object' && Object.keys(value).length === 0);
  return Object.entries(grant).some(([name, value]) => !/^can[A-Z]/.test(name) && !isEmpty(value));
}

function attributesOf({ attributes }: JWTPayload): Record<string, unknown> {
  return typeof attributes === 'object' && attributes !== null ? (attributes as Record<string, unknown>) : {};
}
