import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { root } from './support/process.ts';

/** An npm that needs no network: what the lock file of its folder names gets a package.json, and the compiler makes an empty build. */
const fakeNpm = `#!/usr/bin/env node
const { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const command = process.argv[2];
appendFileSync(process.env.CALLS, command + ' ' + (process.cwd().endsWith('.install') ? 'aside' : 'in place') + '\\n');
if (process.env.FAIL_ASIDE && process.cwd().endsWith('.install')) process.exit(1);
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
if (command === 'ci') rmSync('node_modules', { recursive: true, force: true });
for (const [folder, { version }] of Object.entries(packages)) {
  if (folder === '') continue;
  mkdirSync(folder, { recursive: true });
  writeFileSync(folder + '/package.json', JSON.stringify({ version }));
}
mkdirSync('node_modules/typescript/bin', { recursive: true });
writeFileSync('node_modules/typescript/bin/tsc', "const fs = require('node:fs'); fs.mkdirSync('dist/src', { recursive: true }); fs.writeFileSync('dist/src/main.js', '');");
writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }));
`;

/** A clone in which nothing was installed. */
function clone() {
  const folder = mkdtempSync(join(tmpdir(), 'clone-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const name of [
    'package.json',
    'package-lock.json',
    '.npmrc',
    'tsconfig.json',
    'scripts/prepare.mjs',
    'src/version.ts',
    'protocol/version.ts',
  ])
    cpSync(join(root, name), join(folder, name));
  const [bin, calls] = [join(folder, 'bin'), join(folder, 'calls')];
  mkdirSync(bin);
  // of no package, and so no module
  writeFileSync(join(bin, 'package.json'), '{}');
  writeFileSync(join(bin, 'npm'), fakeNpm);
  chmodSync(join(bin, 'npm'), 0o755);
  const has = (name: string) => existsSync(join(folder, 'node_modules', name, 'package.json'));
  return {
    folder,
    /** Runs prepare. @returns how npm was called */
    prepare: async (args: string[] = [], env: Record<string, string> = {}) => {
      writeFileSync(calls, '');
      const child = spawn(process.execPath, ['scripts/prepare.mjs', ...args], {
        cwd: folder,
        env: { PATH: `${bin}${delimiter}${process.env.PATH}`, CALLS: calls, ...env },
      });
      const written = text(child.stdout);
      const [code] = await once(child, 'exit');
      expect(code).toBe(0);
      // it is that of the command that comes next
      expect(await written).toBe('');
      return readFileSync(calls, 'utf8').split('\n').filter(Boolean);
    },
    has: () => ({ runs: has('ws') && has('pg-pool'), builds: has('typescript') && has('@types/node'), tests: has('vitest') }),
    isBuilt: () => existsSync(join(folder, 'dist/src/main.js')),
  };
}

test('a start installs what it needs, a test adds the rest, and neither does it twice', async () => {
  const { prepare, has, isBuilt } = clone();
  expect(await prepare(['start'])).toEqual(['ci aside']);
  expect(has()).toEqual({ runs: true, builds: true, tests: false });
  expect(isBuilt()).toBe(true);
  expect(await prepare(['start'])).toEqual([]);
  expect(await prepare()).toEqual(['install in place']);
  expect(has()).toEqual({ runs: true, builds: true, tests: true });
  expect(await prepare()).toEqual([]);
  expect(await prepare(['start'])).toEqual([]);
});

test('a lock file that was touched, as by a change of branches, asks for nothing', async () => {
  const { prepare, folder } = clone();
  expect(await prepare()).toEqual(['ci in place']);
  const later = Date.now() / 1_000 + 60;
  utimesSync(join(folder, 'package-lock.json'), later, later);
  expect(await prepare()).toEqual([]);
  expect(await prepare(['start'])).toEqual([]);
});

test('a start completes what somebody installed in full, and takes nothing of it away', async () => {
  const { prepare, has, folder } = clone();
  await prepare();
  rmSync(join(folder, 'node_modules/ws'), { recursive: true });
  expect(await prepare(['start'])).toEqual(['install in place']);
  expect(has()).toEqual({ runs: true, builds: true, tests: true });
});

test('an installation that was cut off is made anew', async () => {
  const { prepare, has, folder } = clone();
  mkdirSync(join(folder, 'node_modules/ws'), { recursive: true });
  mkdirSync(join(folder, 'dist/.install/node_modules'), { recursive: true });
  expect(await prepare(['start'])).toEqual(['ci aside']);
  expect(has()).toEqual({ runs: true, builds: true, tests: false });
  expect(existsSync(join(folder, 'dist/.install'))).toBe(false);
});

test('where the small installation fails everything is installed', async () => {
  const { prepare, has } = clone();
  expect(await prepare(['start'], { FAIL_ASIDE: '1' })).toEqual(['ci aside', 'ci in place']);
  expect(has()).toEqual({ runs: true, builds: true, tests: true });
});

test('a start beside a test leaves both with what they need', async () => {
  const { prepare, has, isBuilt } = clone();
  await Promise.all([prepare(['start']), prepare()]);
  expect(has()).toEqual({ runs: true, builds: true, tests: true });
  expect(isBuilt()).toBe(true);
  expect(await prepare()).toEqual([]);
});
