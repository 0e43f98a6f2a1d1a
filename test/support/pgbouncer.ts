import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { freePort } from './livekit.ts';
import { parts } from './parts.ts';
import { Child } from './process.ts';

/** Starts a PgBouncer as it is installed, but for where it listens and leads to; it ends with the test. @returns the URL through it */
export async function startPgBouncer(url: string, mode: 'session' | 'transaction'): Promise<string> {
  if (!parts.pgbouncer.path) throw new Error(`pgbouncer is needed: ${parts.pgbouncer.install}`);
  const { hostname, port, username, password, pathname } = new URL(url);
  const listens = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const ini = join(folder, 'pgbouncer.ini');
  const database = pathname.slice(1);
  const lines = [
    '[databases]',
    `${database} = host=${hostname} port=${port} user=${username} password=${password}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${listens}`,
    'unix_socket_dir =',
    'auth_type = any',
    `pool_mode = ${mode}`,
  ];
  writeFileSync(ini, `${lines.join('\n')}\n`);
  // it does not run as root
  chmodSync(folder, 0o755);
  new Child(parts.pgbouncer.path, [...(process.getuid?.() === 0 ? ['-u', 'nobody'] : []), ini]);
  const answers = () =>
    new Promise<void>((done, fail) => {
      const socket = connect(listens, '127.0.0.1', () => done(void socket.destroy())).once('error', fail);
    });
  await vi.waitFor(answers);
  return `postgres://${username}@127.0.0.1:${listens}/${database}`;
}
