import { none } from './none.ts';
import type { AuthMode } from './principal.ts';
import { required } from './required.ts';

/** Every mode, by its name in `auth.mode`. One more is a file and a row here. */
export const authModes = { none, required } satisfies Record<string, AuthMode>;
export type AuthModeName = keyof typeof authModes;

/** The mode of a configuration's section `auth`. Absent is none, which serves only this machine then. */
export const authModeOf = ({ mode = 'none' }: { mode?: AuthModeName | undefined }): AuthMode => authModes[mode];
