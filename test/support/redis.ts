import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { freePort } from './livekit.ts';
import { parts } from './parts.ts';
import { patienceMs } from './patience.ts';

/** A real redis-server on loopback, in a folder of its own. */
export class RedisServer {
  readonly port: number;
  readonly folder: string;
  readonly #args: readonly string[];
  readonly #config: readonly string[];
  #child: ChildProcess;

  constructor(port: number, folder: string, args: readonly string[], config: readonly string[] = []) {
    this.#config = config;
    this.port = port;
    this.folder = folder;
    this.#args = args;
    this.#child = this.#spawn();
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** It answers. */
  async ready(): Promise<this> {
    await vi.waitFor(async () => expectPong(await this.command('PING')));
    return this;
  }

  /** Runs one command on a connection of its own, as words without spaces. @returns the answer as it is on the wire */
  command(...words: string[]): Promise<string> {
    return new Promise((done, fail) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.end(`${words.join(' ')}\r\n`));
      let answer = '';
      socket.setTimeout(patienceMs, () => socket.destroy(new Error('redis-server does not answer')));
      socket.on('data', (data) => {
        answer += data;
      });
      socket.once('error', fail);
      socket.once('close', () => done(answer.trim()));
    });
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Ends it as a crash would. Safe to repeat. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Starts it on the same port: empty, or with what its append-only file holds. */
  async restart({ empty = false } = {}): Promise<void> {
    if (empty) rmSync(join(this.folder, 'appendonlydir'), { recursive: true, force: true });
    this.#child = this.#spawn();
    await this.ready();
  }

  #spawn(): ChildProcess {
    if (!parts.redis.path) throw new Error(`redis-server is needed: ${parts.redis.install}`);
    const saves = this.#config.length > 0 ? [] : ['--save', ''];
    const options = [...this.#config, '--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.folder, ...saves, ...this.#args];
    return spawn(parts.redis.path, options, { stdio: 'ignore' });
  }
}

const expectPong = (answer: string) => {
  if (answer !== '+PONG') throw new Error(`redis-server answered ${answer}`);
};

/** One that does not come up is not left behind. */
const readyOrGone = async (server: RedisServer): Promise<RedisServer> => {
  try {
    return await server.ready();
  } catch (error) {
    await server.stop();
    throw error;
  }
};

interface Options {
  /** Every write is on the disk before its answer, and a restart finds it. */
  durable?: boolean;
  args?: readonly string[];
}

/** Starts a redis-server that whoever starts it stops. */
export async function launchRedis({ durable = false, args = [] }: Options = {}): Promise<RedisServer> {
  const more = durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  return readyOrGone(new RedisServer(await freePort(), mkdtempSync(join(tmpdir(), 'redis-')), [...more, ...args]));
}

/** Starts a redis-server that ends with the test. */
export async function startRedis(options?: Options): Promise<RedisServer> {
  const server = await launchRedis(options);
  onTestFinished(() => server.stop());
  return server;
}

/** Starts a Cluster of three masters that whoever starts it stops. */
export async function launchCluster(): Promise<{ url: string; stop(): Promise<void> }> {
  const nodes: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (let i = 0; i < 3; i++) {
      const bus = await freePort();
      nodes.push(await launchRedis({ args: ['--cluster-enabled', 'yes', '--cluster-port', `${bus}`, '--cluster-node-timeout', '2000'] }));
      const [from, to] = [Math.ceil((16_384 / 3) * i), Math.ceil((16_384 / 3) * (i + 1)) - 1];
      await nodes[i]?.command('CLUSTER', 'ADDSLOTSRANGE', `${from}`, `${to}`);
      await nodes[0]?.command('CLUSTER', 'MEET', '127.0.0.1', `${nodes[i]?.port}`, `${bus}`);
    }
    const isWhole = async (node: RedisServer) => {
      const info = await node.command('CLUSTER', 'INFO');
      if (!/cluster_state:ok/.test(info) || !/cluster_size:3/.test(info)) throw new Error(info);
    };
    await vi.waitFor(() => Promise.all(nodes.map(isWhole)));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `redis-cluster://${nodes.map((node) => `127.0.0.1:${node.port}`).join(',')}`, stop };
}

/** Starts a master, its replica, and a Sentinel that watches them, all stopped by whoever starts them. */
export async function launchSentinel(): Promise<{
  url: string;
  sentinel: RedisServer;
  loseMaster(): Promise<void>;
  stop(): Promise<void>;
}> {
  const master = await launchRedis();
  const replica = await launchRedis({ args: ['--replicaof', '127.0.0.1', `${master.port}`] });
  const folder = mkdtempSync(join(tmpdir(), 'sentinel-'));
  const config = join(folder, 'sentinel.conf');
  const settings = [`monitor main 127.0.0.1 ${master.port} 1`, 'down-after-milliseconds main 500', 'failover-timeout main 3000'];
  writeFileSync(config, settings.map((setting) => `sentinel ${setting}\n`).join(''));
  const sentinel = new RedisServer(await freePort(), folder, ['--sentinel'], [config]);
  const stop = async () => {
    await Promise.all([sentinel.stop(), replica.stop(), master.stop()]);
  };
  const knowsReplica = async () => {
    if (!/slaves=1/.test(await sentinel.command('INFO'))) throw new Error('the sentinel does not know the replica');
    if (!/master_link_status:up/.test(await replica.command('INFO'))) throw new Error('the replica does not follow');
  };
  try {
    await vi.waitFor(knowsReplica);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `redis-sentinel://127.0.0.1:${sentinel.port}/main`,
    sentinel,
    loseMaster: async () => {
      // what was acknowledged is at the replica by then
      await master.command('WAIT', '1', '0');
      await master.kill();
    },
    stop,
  };
}
