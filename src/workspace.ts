import { realpath, stat } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { GatewayError } from './errors.ts';

/** In a root: the user who asks. */
const placeholder = '{user}';

/**
 * Checks a client's folder and resolves it.
 * @param user of the session; undefined: it has none
 * @param isItself whether its own credential says so: it then has the roots with {user} alone
 * @throws GatewayError WORKSPACE_FORBIDDEN, WORKSPACE_NOT_FOUND
 */
export type CheckWorkspace = (folder: string, user: string | undefined, isItself: boolean) => Promise<string>;

/**
 * Makes the check of `workspace_dir`: with links and `..` resolved it must be a folder inside one of the roots.
 * What lies outside is refused the same whether it exists or not, so that nobody can feel around the disk.
 * @param forbidden folders that lie below no user's root: they may hold the gateway's own secrets
 * @throws Error a root is no folder
 */
export async function workspaces(roots: readonly string[], forbidden: readonly string[] = []): Promise<CheckWorkspace> {
  const ofEverybody = await Promise.all(roots.filter((root) => !root.includes(placeholder)).map(realFolder));
  const ofUsers = roots.filter((root) => root.includes(placeholder));
  // the part in front is there, whoever asks
  for (const root of ofUsers) await realFolder(dirname(`${root.slice(0, root.indexOf(placeholder))}x`));
  const hidden = await Promise.all(forbidden.map((folder) => realpathOfExisting(resolve(folder))));

  const rootsOf = async (user: string | undefined): Promise<string[]> => {
    if (user === undefined || !isFolderName(user)) return [];
    const own = await Promise.all(ofUsers.map((root) => realpathOfExisting(resolve(root.replaceAll(placeholder, () => user)))));
    const mayUse = (root: string) => !hidden.some(({ path }) => isInside(path, root));
    return own.filter(({ path, whole }) => whole && mayUse(path)).map(({ path }) => path);
  };

  return async (folder, user, isItself) => {
    const resolved = await realpathOfExisting(resolve(folder));
    const allowed = [...(await rootsOf(user)), ...(isItself ? [] : ofEverybody)];
    if (!allowed.some((root) => isInside(resolved.path, root))) {
      throw new GatewayError('WORKSPACE_FORBIDDEN', 'workspace_dir lies outside the allowed roots');
    }
    const isFolder = resolved.whole && (await stat(resolved.path)).isDirectory();
    if (!isFolder) throw new GatewayError('WORKSPACE_NOT_FOUND', 'workspace_dir is not an existing directory');
    return resolved.path;
  };
}

const isInside = (path: string, root: string) => path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);

/** Whether an identity stands for one folder, and none elsewhere. */
const isFolderName = (user: string) => !/[/\\]/.test(user) && user !== '.' && user !== '..';

/** @throws Error it is no folder */
async function realFolder(root: string): Promise<string> {
  const path = await realpath(resolve(root)).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${root} is not an existing folder (${error.code})`);
  });
  if (!(await stat(path)).isDirectory()) throw new Error(`${root} is not a folder`);
  return path;
}

/** Resolves as much of a path as exists; a missing folder behind a link that leads outside is still outside. */
async function realpathOfExisting(path: string): Promise<{ path: string; whole: boolean }> {
  try {
    return { path: await realpath(path), whole: true };
  } catch {
    const parent = dirname(path);
    return parent === path ? { path, whole: false } : { path: (await realpathOfExisting(parent)).path, whole: false };
  }
}
