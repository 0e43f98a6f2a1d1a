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
  /** Epoch ms; absent: never. */
  readonly expiresAt?: number;
}

/** Why somebody may not talk to the gateway. */
export interface NotAdmitted {
  /** FORBIDDEN: whoever it is, not from there. UNAUTHENTICATED: it did not say who it is, or not rightly. */
  code: 'FORBIDDEN' | 'UNAUTHENTICATED';
  message: string;
  /** Of the line in the log: what the operator may want to allow is a warning, once, as far as is remembered. */
  level: 'warn' | 'info';
}

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
  /** Those of them that are masked where they are printed. */
  secrets: readonly string[];
  /** @param settings the section `auth`, checked */
  authenticate(settings: Readonly<Record<string, unknown>>): Authenticate;
}
