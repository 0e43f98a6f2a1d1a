// Run before start, test, dev and demo: installs and builds what is missing or older than its source, and is silent otherwise.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const lock = join(root, '.tools/prepare.lock');
/** Its time is when the last good build began. The compiler's own files keep their times when their content stays. */
const stamp = join(root, 'dist/.built');
const compiler = join(root, 'node_modules/typescript/bin/tsc');

/** @returns 0 for what is not there */
const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** A folder counts too: its own time tells of files that were removed. */
const newest = (path) => {
  const own = changedAt(path);
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return own;
  return Math.max(own, ...readdirSync(path).map((name) => newest(join(path, name))));
};

const mustInstall = () =>
  changedAt(join(root, 'node_modules/.package-lock.json')) < Math.max(changedAt(join(root, 'package-lock.json')), 1);

const mustBuild = () => {
  if (!existsSync(join(root, 'dist/src/main.js'))) return true;
  if (!existsSync(compiler)) return false; // a shipped build, without the development packages
  return changedAt(stamp) < Math.max(...['protocol', 'src', 'tsconfig.json'].map((name) => newest(join(root, name))));
};

const fail = (text) => {
  console.error(`prepare: ${text}`);
  process.exit(1);
};

const run = (command, args, options = {}) => spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options }).status === 0;

const isAlive = (pid) => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** Two of these at once (a start beside a test) take turns: `npm ci` removes node_modules first. */
const takeTurn = () => {
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, `${process.pid}`, { flag: 'wx' });
      process.on('exit', () => rmSync(lock, { force: true }));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    // ten minutes is longer than any install: past it, the process of that number is another one
    const held = Date.now() - changedAt(lock) < 600_000;
    const holder = held && existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
    // 0: just being written, or gone
    if (!held || (holder > 0 && !isAlive(holder))) rmSync(lock, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
};

const install = () => {
  console.log('installing packages (npm ci) ...');
  const flags = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  // on Windows npm is a script, which only a shell starts
  if (!run('npm', ['ci', ...flags], { shell: process.platform === 'win32' })) fail('npm ci failed, see above');
};

const build = () => {
  if (!existsSync(compiler)) fail('there is no build in dist/ and no compiler to make one: npm ci --include=dev');
  console.log('building (tsc) ...');
  const began = new Date();
  // an incremental build writes only what changed: it would not bring back a file that is missing
  if (!existsSync(join(root, 'dist/src/main.js'))) rmSync(join(root, 'dist/.tsbuildinfo'), { force: true });
  if (!run(process.execPath, [compiler])) {
    rmSync(stamp, { force: true });
    fail('the build failed, see above');
  }
  if (!existsSync(join(root, 'dist/src/main.js'))) fail('the build left no dist/src/main.js');
  writeFileSync(stamp, '');
  utimesSync(stamp, began, began);
};

if (mustInstall() || mustBuild()) {
  takeTurn();
  if (mustInstall()) install();
  if (mustBuild()) build();
}
