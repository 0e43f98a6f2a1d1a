import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import type { Right } from '../../protocol/roles.ts';

/** Who is at a socket, or sends an HTTP request. Given once, at the upgrade or with the request; the same frozen object may stand for many. */
export interface Principal {
  /** What it may act as; the rows of protocol/requests.ts and protocol/rest.ts say which of these each message and endpoint takes. */
  readonly rights: readonly Right[];
  /** The user it speaks for, and for nobody else; absent: it may name any user. */
  readonly user?: string;
  /** How the ids of its services start; absent: any. */
  readonly servicePrefix?: string;
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
    }
);

/** The headers that every refusal brings along. */
export const refusalHeaders = (refusal: NotAdmitted): Record<string, string> =>
  refusal.code === 'UNAUTHENTICATED' ? { 'www-authenticate': refusal.challenge } : {};

export type Admitted = { principal: Principal } | { refused: NotAdmitted };
export type MaybePromise<T> = T | Promise<T>;

/** Says who a request comes from by its headers. Must not reject; a mode that has to ask somebody answers later. */
export type Authenticate = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => MaybePromise<Admitted>;

/** One way for peers to say who they are. */
export interface AuthMode {
  /** What it is, for the description of `auth.mode`. */
  about: string;
  /** Whether a peer must say who it is; what Hello's `auth` says. */
  isRequired: boolean;
  /** Its own settings in the section `auth`, by key. */
  settings: Readonly<Record<string, z.ZodType>>;
  /** Those of them that must be set where this is the mode. */
  needs: readonly string[];
  /** Those of them that are masked where they are printed. */
  secrets: readonly string[];
  /** @param settings the section `auth`, checked */
  authenticate(settings: Readonly<Record<string, unknown>>): Authenticate;
  /** How the gateway's own commands say who they are. @param settings the section `auth`, checked */
  headers(settings: Readonly<Record<string, unknown>>): Record<string, string>;
}
