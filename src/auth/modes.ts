import type { z } from 'zod';
import { none } from './none.ts';
import type { Authenticate } from './principal.ts';

/** One way for peers to say who they are. */
export interface AuthMode {
  /** What it is, for the description of `auth.mode`. */
  about: string;
  /** Whether a peer must say who it is; what Hello's `auth` says. */
  isRequired: boolean;
  /** Settings of its own in the section `auth`, by key. */
  settings: Readonly<Record<string, z.ZodType>>;
  /** Those of them that are masked where they are printed. */
  secrets: readonly string[];
  /** @param settings the section `auth`, checked */
  authenticate(settings: Readonly<Record<string, unknown>>): Authenticate;
}

/** Every mode, by its name in `auth.mode`. One more is a file and a row here. */
export const authModes = { none } satisfies Record<string, AuthMode>;
export type AuthModeName = keyof typeof authModes;

/** The mode of a configuration's section `auth`. Absent is none, which serves only this machine then. */
export const authModeOf = ({ mode = 'none' }: { mode?: AuthModeName | undefined }): AuthMode => authModes[mode];
