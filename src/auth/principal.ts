import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { Kind, Scope } from '../../protocol/access.ts';
import type { Clock } from '../clock.ts';

/** What everybody with one key, or of one identity provider, may do. Held by many principals. */
export interface Grant {
  /** What vouches for them, for logs: key:app, issuer:https://login.example.com/. */
  readonly name: string;
  /** Of operators. */
  readonly scopes: ReadonlySet<Scope>;
  /** How the ids of their services start; absent: any. */
  readonly servicePrefix?: string | undefined;
  /** What their services may say in `metadata.type`; absent: any, or with a prefix what starts with it. */
  readonly serviceTypes?: readonly string[] | undefined;
}

/** Who is at a socket, or sends an HTTP request: follows from the credential alone. Frozen; one may stand for many. */
export interface Principal {
  /** `anybody`: nothing authenticates, and what a call says of itself takes rights away. */
  readonly kind: Kind | 'anybody';
  /** Its own identity: of a user the user's, of a device the device's. */
  readonly id: string;
  /** The user it speaks for, and for nobody else; absent: none. */
  readonly user?: string | undefined;
  /**
   * Whose idempotency keys and registrations are the same: user:ada for a user and its devices, key:{id} for programs with a key,
   * issuer:{iss}#{identity} for one of an identity provider. Absent where nothing authenticates.
   */
  readonly subject?: string | undefined;
  readonly grant: Grant;
  /** When its credential is over, epoch ms; absent: never. */
  readonly expiresAt?: number | undefined;
}

/** Whether both are the same somebody, whatever their credentials say of its end. */
export const isSame = (one: Principal, other: Principal): boolean =>
  one.kind === other.kind && one.id === other.id && one.subject === other.subject && one.grant.name === other.grant.name;

/** A credential as it was sent. */
export interface Credential {
  token: string;
  by: 'header' | 'subprotocol' | 'request';
}

/** What came of looking at a credential. `why` is for the operator's log; a client is told no more than the kind. */
export type Verified =
  | { principal: Principal }
  | { refused: 'invalid' | 'expired'; why: string }
  | { refused: 'unavailable'; why: string; retryAfterMs: number };

/** Judges the credentials of one kind, and knows no others. */
export interface Verifier {
  /**
   * @param token at most 8 KiB
   * @param issuer what it says in its claim `iss`, unchecked; undefined: it is no JWT, or has none
   * @returns undefined: it is not of this kind. Does not reject
   */
  verify(token: string, issuer: string | undefined): Promise<Verified> | undefined;
}

/** Why somebody may not talk to the gateway. */
export type NotAdmitted = {
  message: string;
  /** Of the line in the log: what the operator may want to allow is a warning, once, as far as is remembered. */
  level: 'warn' | 'info';
} & (
  | { /** Whoever it is, not from there. */ code: 'FORBIDDEN' }
  | {
      /** It did not say who it is, or not rightly. */
      code: 'UNAUTHENTICATED';
      /** The value of WWW-Authenticate: how to say it (RFC 9110, 11.6.1). */
      challenge: string;
      /** `missing`: it may say it in its first message, on a socket. */
      fault: 'missing' | 'invalid' | 'expired';
      /** How it said it. */
      by?: Credential['by'] | undefined;
    }
  | {
      /** Who it is cannot be known now. */
      code: 'UNAVAILABLE';
      retryAfterMs: number;
      by?: Credential['by'] | undefined;
    }
);

/** The headers that every refusal brings along. */
export function refusalHeaders(refusal: NotAdmitted): Record<string, string> {
  if (refusal.code === 'UNAUTHENTICATED') return { 'www-authenticate': refusal.challenge };
  return refusal.code === 'UNAVAILABLE' ? { 'retry-after': String(Math.ceil(refusal.retryAfterMs / 1_000)) } : {};
}

export type Admitted = { principal: Principal } | { refused: NotAdmitted };
export type MaybePromise<T> = T | Promise<T>;

/** Says who a request comes from by its headers. Must not reject; a mode that has to ask somebody answers later. */
export type Authenticate = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => MaybePromise<Admitted>;

/** Who comes to the gateway, and how they prove it. */
export interface Authenticator {
  /** Of a request, by its headers. */
  authenticate: Authenticate;
  /** Of a socket that says who it is in a message. `token` absent: it only claims to be somebody. Does not reject. */
  identify(claim: { token?: string | undefined; kind?: Kind | undefined; identity?: string | undefined }): MaybePromise<Verified>;
  /** How peers may say who they are, as Hello lists it. */
  methods: readonly string[];
  /**
   * Takes these settings instead of those it was started with. Absent: it has none that can change.
   * @throws SettingFault it goes on with those it has
   */
  replace?(settings: AuthSettings): Promise<void>;
  /** Whether a principal may stay, after `replace`. */
  isStillGood?(principal: Principal): boolean;
  /** Whether anybody with this subject could come in now. */
  knows?(subject: string): boolean;
}

/** The section `auth`, checked: each mode knows its own. */
export type AuthSettings = Readonly<Record<string, unknown>>;

/** A setting of a mode cannot be used. The message holds no secret. */
export class SettingFault extends Error {
  /** Its key in the section `auth`. */
  readonly setting: string;

  constructor(setting: string, message: string) {
    super(message);
    this.setting = setting;
  }
}

/** What a mode runs with. */
export interface AuthParts {
  clock: Clock;
  log: Logger;
  /** Secrets of others, that no key may have: LiveKit's, whose tokens have the same shape. */
  taken: readonly string[];
}

/** One way to run the gateway, as far as peers say who they are. */
export interface AuthMode {
  /** What it is, for the description of `auth.mode`. */
  about: string;
  /** Whether a peer must say who it is; what Hello's `auth` says. */
  isRequired: boolean;
  /** Its own settings in the section `auth`, by key. */
  settings: Readonly<Record<string, z.ZodType>>;
  /** Those of them of which one must be set where this is the mode. */
  needs: readonly string[];
  /** Those of them that are masked where they are printed. */
  secrets: readonly string[];
  /** Starts nothing that has to be stopped. @throws SettingFault */
  start(settings: AuthSettings, parts: AuthParts): MaybePromise<Authenticator>;
  /** How the gateway's own commands may say who they are: the first that is taken counts. @throws SettingFault */
  headers(settings: AuthSettings, clock: Clock): MaybePromise<readonly Record<string, string>[]>;
}
