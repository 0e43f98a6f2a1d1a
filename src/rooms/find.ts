import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { afterRunning } from '../time.ts';
import { RoomApi } from './api.ts';
import type { Key } from './tokens.ts';

const devKey: Key = { apiKey: 'devkey', apiSecret: 'secret' };
const devPort = 7880;
const answerMs = 1_000;
const startMs = 10_000;
const stopMs = 5_000;

/** What was found, and in which mode it is used. */
export interface Found extends Key {
  mode: 'create' | 'on_join';
  serverUrl: string;
  /** Whether a server is to be there. */
  expected: boolean;
  /** One line for the one who started the gateway. */
  said: string;
  /** Ends a server that was started here; does nothing otherwise. */
  stop(): Promise<void>;
}

export interface Wanted {
  serverUrl?: string | undefined;
  apiKey?: string | undefined;
  apiSecret?: string | undefined;
  mode?: 'create' | 'on_join' | undefined;
  /** Where a server that is started here sends its webhooks. */
  webhookUrl?: string | undefined;
}

/** The first of $LIVEKIT_SERVER_BIN, `livekit-server` on PATH, `.tools/livekit-server` that can be run. */
export function findLiveKitBinary(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const onPath = (env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'livekit-server'));
  return [env.LIVEKIT_SERVER_BIN, ...onPath, resolve('.tools/livekit-server')].find((path) => {
    if (!path) return false;
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

/**
 * Decides which LiveKit to use. Where nothing is set it looks once: a server at the dev defaults, else a binary, which it starts
 * as a child on loopback; else it goes on without one, and rooms are created on join by whatever LiveKit appears later.
 */
export async function findLiveKit(wanted: Wanted): Promise<Found> {
  const key = { apiKey: wanted.apiKey ?? devKey.apiKey, apiSecret: wanted.apiSecret ?? devKey.apiSecret };
  const serverUrl = wanted.serverUrl ?? `ws://localhost:${devPort}`;
  const nothingToStop = async () => {};
  const set = wanted.serverUrl ?? wanted.apiKey ?? wanted.apiSecret;
  if (wanted.mode !== undefined || set !== undefined) {
    const mode = wanted.mode ?? 'create';
    return { ...key, mode, serverUrl, expected: true, said: `LiveKit: ${serverUrl}, as configured (${shown(mode)})`, stop: nothingToStop };
  }
  if (await answers(serverUrl, key)) {
    return {
      ...key,
      mode: 'create',
      serverUrl,
      expected: true,
      said: `LiveKit: found at ${serverUrl} with the dev keys`,
      stop: nothingToStop,
    };
  }
  const binary = findLiveKitBinary();
  if (binary) {
    const started = await startLiveKit(binary, wanted.webhookUrl);
    if (started) return { ...key, mode: 'create', ...started, expected: true, said: `LiveKit: started ${binary} at ${started.serverUrl}` };
  }
  return {
    ...key,
    mode: 'on_join',
    serverUrl,
    expected: false,
    said: `LiveKit: none found${binary ? ` (${binary} did not start)` : ''}; no room is created in advance. To get one: npm run livekit`,
    stop: nothingToStop,
  };
}

const shown = (mode: Found['mode']) => (mode === 'create' ? 'rooms are created' : 'rooms are created on join');

async function answers(url: string, key: Key): Promise<boolean> {
  const client = new RoomApi(url, key, answerMs / 1_000);
  // a request whose connection was dropped waits for timers that do not keep the process alive: it would end here without a word
  const awake = setTimeout(() => {}, 2 * answerMs);
  return client
    .listRooms(['-'])
    .then(
      () => true,
      () => false,
    )
    .finally(() => clearTimeout(awake));
}

async function startLiveKit(
  binary: string,
  webhookUrl: string | undefined,
): Promise<{ serverUrl: string; stop(): Promise<void> } | undefined> {
  // the dev port, so that a server left behind by a killed gateway is found again
  const port = (await freePort(devPort)) ?? (await freePort(0));
  const udp = await freePort(0);
  if (!port || !udp) return undefined;
  const config = {
    port,
    bind_addresses: ['127.0.0.1'],
    // media on loopback alone; TCP would listen on every address, and loopback has no need of it
    rtc: {
      tcp_port: 0,
      udp_port: udp,
      node_ip: '127.0.0.1',
      use_external_ip: false,
      enable_loopback_candidate: true,
      ips: { includes: ['127.0.0.1/32'] },
    },
    keys: { [devKey.apiKey]: devKey.apiSecret },
    logging: { level: 'error' },
    ...(webhookUrl && { webhook: { api_key: devKey.apiKey, urls: [webhookUrl] } }),
  };
  // its own group: Ctrl-C in the terminal must not end it before the gateway has deleted its rooms
  const child = spawn(binary, ['--config-body', JSON.stringify(config)], { stdio: 'ignore', detached: true });
  // whatever ends this process, its server does not stay behind
  const onExit = () => child.kill('SIGKILL');
  process.once('exit', onExit);
  const ended = new Promise<void>((done) => {
    child.once('exit', () => {
      process.removeListener('exit', onExit);
      done();
    });
    child.once('error', () => done());
  });
  const url = `ws://localhost:${port}`;
  const until = Date.now() + startMs;
  while (child.exitCode === null && Date.now() < until) {
    if (await answers(url, devKey)) return { serverUrl: url, stop: () => stopChild(child, ended) };
    await Promise.race([ended, new Promise((go) => setTimeout(go, 100))]);
  }
  await stopChild(child, ended);
  return undefined;
}

async function stopChild(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return;
  child.kill('SIGTERM');
  // one that comes while it starts can be lost
  const cancel = afterRunning(stopMs, () => child.kill('SIGKILL'));
  await ended;
  cancel();
}

/** A port of loopback that nobody holds now: this one, or for 0 any. */
function freePort(port: number): Promise<number | undefined> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(typeof address === 'object' ? address?.port : undefined));
    });
  });
}
