import { realpath, stat } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { GatewayError } from './errors.ts';

/** Checks a client's folder and resolves it. */
export type CheckWorkspace = (folder: string) => Promise<string>;

/**
 * Makes the check of `workspace_dir`: with links and `..` resolved it must be a folder inside one of the roots.
 * What lies outside is refused the same whether it exists or not, so that nobody can feel around the disk.
 */
export async function workspaces(roots: readonly string[]): Promise<CheckWorkspace> {
  const real = await Promise.all(roots.map(realFolder));
  const inside = (path: string) => real.some((root) => path === root || path.startsWith(root.endsWith(sep) ? root : root + sep));
  return async (folder) => {
    const resolved = await realpathOfExisting(resolve(folder));
    if (!inside(resolved.path)) throw new GatewayError('WORKSPACE_FORBIDDEN', 'workspace_dir lies outside the allowed roots');
    const isFolder = resolved.whole && (await stat(resolved.path)).isDirectory();
    if (!isFolder) throw new GatewayError('WORKSPACE_NOT_FOUND', 'workspace_dir is not an existing directory');
    return resolved.path;
  };
}

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
