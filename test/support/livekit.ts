import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { RoomServiceClient } from 'livekit-server-sdk';
import { beforeAll, onTestFinished } from 'vitest';
import { startGateway } from '../../src/gateway.ts';
import { canary } from './canary.ts';
import { testConfig } from './gateway.ts';
import { quietLog } from './log.ts';
import { parts } from './parts.ts';
import { patienceMs } from './patience.ts';

const stopMs = 3_000;

/** Where a server is, and what signs its tokens. */
export interface LiveKitKey {
  /** ws://127.0.0.1:port */
  url: string;
  apiKey: string;
  apiSecret: string;
}

/** A real LiveKit server on loopback, with ports and keys of its own. */
export interface LiveKit extends LiveKitKey {
  client: RoomServiceClient;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
  /** Ends it. Safe to repeat. */
  stop(): Promise<void>;
}

/** Starts a server that ends with the test. */
export async function startLiveKit(): Promise<LiveKit> {
  const server = await start();
  onTestFinished(() => server.stop());
  return server;
}

/** One server for all tests of the suite that calls this. `config`: what it is told besides. @returns how its tests get it */
export function sharedLiveKit(config: object = {}): () => LiveKit {
  let server: LiveKit | undefined;
  beforeAll(async () => {
    server = await start(config);
    return () => server?.stop();
  });
  return () => server ?? raise('the server is there only while tests run');
}

/** A gateway with rooms on a real server, in real time, on a free port. Closed with the test. */
export async function startGatewayOn({ url, apiKey, apiSecret }: LiveKitKey, overrides: Parameters<typeof testConfig>[0] = {}) {
  const gateway = await startGateway({
    config: testConfig(overrides),
    livekit: { mode: 'create', serverUrl: url, apiKey, apiSecret },
    log: quietLog(),
  });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= gateway.close();
    return closed;
  };
  onTestFinished(close);
  return { ...gateway, close, socket: `${gateway.url.replace(/^http/, 'ws')}/ws` };
}

/** A port of loopback that nobody holds now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  return typeof address === 'object' && address ? address.port : raise('no port');
}

async function start(more: object = {}): Promise<LiveKit> {
  const binary = parts.livekit.path ?? raise(`livekit-server is needed: ${parts.livekit.install}`);
  const [apiKey, apiSecret] = [`key-${randomBytes(4).toString('hex')}`, canary(randomBytes(24).toString('hex'))];
  // another process may take a port between the look and the start
  for (let tries = 3; tries > 0; tries--) {
    const port = await freePort();
    const config = {
      port,
      bind_addresses: ['127.0.0.1'],
      rtc: {
        // TCP would listen on every address, and loopback has no need of it
        tcp_port: 0,
        udp_port: await freePort(),
        node_ip: '127.0.0.1',
        use_external_ip: false,
        // without these two, media goes to every address but loopback
        enable_loopback_candidate: true,
        ips: { includes: ['127.0.0.1/32'] },
      },
      keys: { [apiKey]: apiSecret },
      logging: { level: 'error' },
      ...more,
    };
    const child = spawn(binary, ['--config-body', JSON.stringify(config)], { stdio: 'ignore' });
    const ended = new Promise<void>((done) => {
      child.once('exit', () => done());
      child.once('error', () => done());
    });
    const url = `ws://127.0.0.1:${port}`;
    const client = new RoomServiceClient(url, apiKey, apiSecret, { requestTimeout: 2, failover: false });
    if (await answers(client, child, ended)) {
      return { url, apiKey, apiSecret, client, kill: () => end(child, ended, 'SIGKILL'), stop: () => end(child, ended, 'SIGTERM') };
    }
    await end(child, ended, 'SIGKILL');
  }
  throw new Error(`${binary} did not start`);
}

async function answers(client: RoomServiceClient, child: ChildProcess, ended: Promise<void>): Promise<boolean> {
  for (const until = Date.now() + patienceMs; child.exitCode === null && Date.now() < until; ) {
    const answered = await client.listRooms(['-']).then(
      () => true,
      () => false,
    );
    if (answered) return true;
    await Promise.race([ended, new Promise((go) => setTimeout(go, 50))]);
  }
  return false;
}

async function end(child: ChildProcess, ended: Promise<void>, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  child.kill(signal);
  // with participants in its rooms it waits for them
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
  await ended;
  clearTimeout(timer);
}

function raise(message: string): never {
  throw new Error(message);
}
