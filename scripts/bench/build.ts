import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './children.ts';

/** Compiles servers and load beside the gateway in dist/: they run as the gateway runs, without a loader that rewrites their code. */
export function build(): void {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [compiler, '-p', join(root, 'scripts/bench')], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the bench could not be built');
}
