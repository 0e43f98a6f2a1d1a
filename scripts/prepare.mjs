// Run before start, test, dev and demo: installs and builds what is missing or older than its source, and is silent otherwise.
// With the argument `start` it installs what runs and builds the gateway, a fifth of everything; what is installed already stays.
// With `pack` as well, and it builds anew: what is left of removed sources is not shipped.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const isForPack = process.argv[2] === 'pack';
const isForStart = isForPack || process.argv[2] === 'start';
/** What of the development packages a start needs: to build, and for readable log lines on a terminal. */
const forStart = ['typescript', '@types/node', '@types/pg', '@types/ws', 'pino-pretty'];
const lock = join(root, '.tools/prepare.lock');
/** Where the packages for a start are installed, before they are moved into their place as a whole. Git ignores it. */
const stage = join(root, 'dist/.install');
/** Its time is when the last good build began. The compiler's own files keep their times when their content stays. */
const stamp = join(root, 'dist/.built');
const compiler = join(root, 'node_modules/typescript/bin/tsc');
const progressMs = 5_000;

/** @returns 0 for what is not there */
const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** A folder counts too: its own time shows that files were removed. */
const newest = (path) => {
  const own = changedAt(path);
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return own;
  return Math.max(own, ...readdirSync(path).map((name) => newest(join(path, name))));
};

const readJson = (path) => {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
};

const lockFile = () => readJson(join(root, 'package-lock.json'));
/** What npm says it installed, by folder; it writes that at the end of an installation. */
const installed = () => readJson(join(root, 'node_modules/.package-lock.json'))?.packages ?? {};

/** The same lock file for less: the root's own dependencies, and what of its development packages a start needs. */
const reducedForStart = ({ packages, ...rest }) => {
  const own = packages[''];
  const devDependencies = Object.fromEntries(Object.entries(own.devDependencies).filter(([name]) => forStart.includes(name)));
  const kept = { '': { ...own, devDependencies } };
  const keep = (folder) => {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = kept[folder];
    const peers = Object.keys(peerDependencies ?? {}).filter((name) => !peerDependenciesMeta?.[name]?.optional);
    for (const name of [...Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }), ...peers]) {
      // where Node would find it: in the folder's own node_modules, or in one above it
      for (let from = folder; ; from = from.slice(0, Math.max(from.lastIndexOf('node_modules/') - 1, 0))) {
        const found = `${from === '' ? '' : `${from}/`}node_modules/${name}`;
        if (packages[found] && !kept[found]) {
          kept[found] = packages[found];
          keep(found);
        }
        if (packages[found] || from === '') break;
      }
    }
  };
  keep('');
  return { ...rest, packages: kept };
};

/** The files decide, not their times: a lock file that was only touched asks for nothing, and a good installation needs no network. */
const mustInstall = () => {
  const there = installed();
  const locked = lockFile();
  return Object.entries((isForStart ? reducedForStart(locked) : locked).packages).some(
    // optional packages are mostly those of other platforms
    ([folder, { version, optional, devOptional }]) =>
      folder !== '' &&
      !(optional || devOptional) &&
      (there[folder]?.version !== version || !existsSync(join(root, folder, 'package.json'))),
  );
};

const mustBuild = () => {
  if (!existsSync(join(root, 'dist/src/main.js'))) return true;
  if (!existsSync(compiler)) return false; // a shipped build, without the development packages
  return changedAt(stamp) < Math.max(...['protocol', 'src', 'tsconfig.json'].map((name) => newest(join(root, name))));
};

/** Standard output is that of the command that comes next. */
const say = console.error;

const fail = (text) => {
  console.error(`prepare: ${text}`);
  process.exit(1);
};

/** @returns whether it ended with 0 */
const run = (command, args, options = {}) =>
  new Promise((done) => {
    const child = spawn(command, args, { cwd: root, stdio: ['inherit', 2, 2], ...options });
    child.once('error', () => done(false));
    child.once('exit', (code) => done(code === 0));
  });

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

/** Runs npm in a folder and says every few seconds that it goes on. */
const npm = async (cwd, ...args) => {
  const began = Date.now();
  const timer = setInterval(() => say(`  ${Math.round((Date.now() - began) / 1_000)} s ...`), progressMs);
  // on Windows npm is a script, which only a shell starts
  const isDone = await run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, shell: process.platform === 'win32' });
  clearInterval(timer);
  return isDone;
};

/** Only what a start needs, by a package.json and a lock file that ask for no more, and from there into its place as a whole. */
const installForStart = async () => {
  say('installing what the start needs (npm ci); npm test gets the rest ...');
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  const reduced = reducedForStart(lockFile());
  const { devDependencies } = reduced.packages[''];
  writeFileSync(join(stage, 'package.json'), JSON.stringify({ ...readJson(join(root, 'package.json')), devDependencies }));
  writeFileSync(join(stage, 'package-lock.json'), JSON.stringify(reduced));
  cpSync(join(root, '.npmrc'), join(stage, '.npmrc'));
  if (!(await npm(stage, 'ci', '--include=dev'))) return false;
  rmSync(join(root, 'node_modules'), { recursive: true, force: true });
  renameSync(join(stage, 'node_modules'), join(root, 'node_modules'));
  rmSync(stage, { recursive: true });
  return !mustInstall();
};

const install = async () => {
  const locked = lockFile();
  const there = Object.keys(installed());
  // more than a start brings: somebody wants them all
  const hasMore = there.length > Object.keys(reducedForStart(locked).packages).length;
  if (isForStart && !hasMore && (await installForStart())) return;
  say('installing packages (npm) ...');
  // what is there stays there: a gateway may be running on it
  if (there.length > 0 && (await npm(root, 'install', '--no-save', '--include=dev')) && !mustInstall()) return;
  if (!(await npm(root, 'ci', '--include=dev'))) fail('npm ci failed, see above');
};

const build = async () => {
  if (!existsSync(compiler)) fail('there is no build in dist/ and no compiler to make one: npm ci --include=dev');
  say('building (tsc) ...');
  const began = new Date();
  // an incremental build writes only what changed: it would not bring back a file that is missing
  if (!existsSync(join(root, 'dist/src/main.js'))) rmSync(join(root, 'dist/.tsbuildinfo'), { force: true });
  if (!(await run(process.execPath, [compiler]))) {
    rmSync(stamp, { force: true });
    fail('the build failed, see above');
  }
  if (!existsSync(join(root, 'dist/src/main.js'))) fail('the build left no dist/src/main.js');
  writeFileSync(stamp, '');
  utimesSync(stamp, began, began);
};

if (isForPack || mustInstall() || mustBuild()) {
  takeTurn();
  if (mustInstall()) await install();
  if (isForPack) for (const made of ['src', 'protocol', '.tsbuildinfo']) rmSync(join(root, 'dist', made), { recursive: true, force: true });
  if (mustBuild()) await build();
}
