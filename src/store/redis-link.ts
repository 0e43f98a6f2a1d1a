import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, createCluster, createSentinel, ErrorReply, type RedisClientOptions } from '@redis/client';
import type { Logger } from 'pino';
import { afterReading } from '../clock.ts';
import { severalHostsOf } from './address.ts';
import type { Script } from './redis-scripts.ts';

/** A connected client of any kind: one server, Sentinel or Cluster. */
interface Client {
  connect(): Promise<unknown>;
  send(key: string, args: string[]): Promise<unknown>;
  subscribe(channel: string, heard: (payload: string) => void): Promise<unknown>;
  destroy(): unknown;
  on(event: string, run: (error: Error) => void): unknown;
}

export interface LinkOptions {
  url: string;
  timeoutMs: number;
  log: Logger;
  /** What to listen to; absent: nothing. */
  listen?: { channel: string; heard: (payload: string) => void };
  /** After each connection, the first and those that follow one that was lost. */
  ready?: () => void;
  /** The server answered that it cannot serve now: what else is connected to it is of no use either. */
  onUseless?: () => void;
}

const address = (hostAndPort: string, usualPort: number) => {
  const { hostname, port } = new URL(`redis://${hostAndPort}`);
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port ? Number(port) : usualPort };
};

/** redis://, rediss:// (TLS), redis-sentinel://host:port,host:port/name or redis-cluster://host:port,host:port; each may have user:password@. */
function makeClient(url: string, timeoutMs: number): Client {
  const several = severalHostsOf(url);
  const common = {
    // refused at once while there is no connection: nothing piles up, and nothing is sent after its caller gave up
    disableOfflineQueue: true,
    maintNotifications: 'disabled',
    // keeps the ways to the server open; where the driver has a timer for silence, it is what a live connection answers
    pingInterval: timeoutMs,
  } satisfies RedisClientOptions;
  const socket = {
    connectTimeout: timeoutMs,
    // the library's own strategy gives up after a timeout for silence
    reconnectStrategy: (retries: number) => Math.min(50 * 2 ** Math.min(retries, 6), 1_000) + Math.random() * 50,
  };
  // 0: no timer per command; the store has one per call
  const commandOptions = { timeout: 0 };
  if (!several) {
    // no timer for silence: it fires before it has read what came while the process stood still. Calls, echoes and the greeting have their own
    const client = createClient({ url, RESP: 2, ...common, socket, commandOptions });
    return {
      connect: () => client.connect(),
      send: (_key, args) => client.sendCommand(args),
      subscribe: (channel, heard) => client.subscribe(channel, heard),
      destroy: () => client.destroy(),
      on: (event, run) => client.on(event, run),
    };
  }
  const { tls, kind, username = '', password = '', hosts, name, query } = several;
  const credentials = (user: string, secret: string) => ({ ...(user && { username: user }), ...(secret && { password: secret }) });
  // one silent connection among many shows in nothing else
  const watched = { ...socket, socketTimeout: 2 * timeoutMs };
  const node = {
    ...common,
    ...credentials(decodeURIComponent(username), decodeURIComponent(password)),
    socket: tls ? { ...watched, tls: true as const } : watched,
  };
  if (kind === 'cluster') {
    const rootNodes = hosts.map((host) => ({ ...node, socket: { ...node.socket, ...address(host, 6379) } }));
    const cluster = createCluster({ RESP: 2, rootNodes, defaults: node, commandOptions });
    return {
      connect: () => cluster.connect(),
      send: (key, args) => cluster.sendCommand(key, false, args),
      subscribe: (channel, heard) => cluster.subscribe(channel, heard),
      destroy: () => cluster.destroy(),
      on: (event, run) => cluster.on(event === 'ready' ? 'node-ready' : event, run),
    };
  }
  const sentinel = createSentinel({
    RESP: 2,
    name,
    sentinelRootNodes: hosts.map((host) => address(host, 26379)),
    nodeClientOptions: node,
    sentinelClientOptions: {
      ...common,
      ...credentials(query.get('sentinel_username') ?? '', query.get('sentinel_password') ?? ''),
      socket: node.socket,
    },
    // without it concurrent commands each lease a connection, of which all but one are never given back (6.3.1)
    reserveClient: true,
    passthroughClientErrorEvents: true,
    commandOptions,
  });
  return {
    connect: () => sentinel.connect(),
    send: (_key, args) => sentinel.sendCommand(false, args),
    subscribe: (channel, heard) => sentinel.subscribe(channel, heard),
    destroy: () => sentinel.destroy(),
    // an answer that is passed on as it came is a Sentinel's; a server's comes within an error that names the server
    on: (event, run) =>
      event === 'error'
        ? sentinel.on('error', (error) =>
            run(error instanceof ErrorReply ? new Error(`Sentinel answered: ${error.message}`, { cause: error }) : error),
          )
        : sentinel.on(event === 'ready' ? 'topology-change' : event, run),
  };
}

/** What a server answers that is there and cannot serve now, a replica or one that is starting: a new connection may lead to one that can. Before 7.0 a script's error has it in the middle. */
const isUseless = (error: unknown) =>
  error instanceof ErrorReply && /(?:^|-)(?:READONLY|LOADING|MASTERDOWN|UNBLOCKED)\b/.test(error.message);
/** A server that is of no use is often the only one there is for a while. */
const redialMs = 500;

/** Keeps one client connected, forever: it reconnects by itself to a storage that was down. */
export class RedisLink {
  readonly #options: LinkOptions;
  readonly #clients = new Set<Client>();
  #client: Client;
  #closed = false;
  #renewedAt = Number.NEGATIVE_INFINITY;
  /** What the connection failed with since it was last ready: a call on a client without one says only that it is offline. */
  failure: Error | undefined;
  /** The first attempt to connect has succeeded or failed. */
  readonly tried: Promise<void>;
  #onTried: () => void = () => {};

  constructor(options: LinkOptions) {
    this.#options = options;
    this.tried = new Promise((done) => {
      this.#onTried = done;
    });
    this.#client = this.#open();
  }

  get isCluster(): boolean {
    return /^rediss?-cluster:/.test(this.#options.url);
  }

  /** There is no connection because a server, or a Sentinel, answered with an error. */
  get isNotAdmitted(): boolean {
    return this.failure instanceof ErrorReply || this.failure?.cause instanceof ErrorReply;
  }

  /** What a caller that got no answer shows to `renew`. */
  get current(): object {
    return this.#client;
  }

  /** Runs a script on the node that has these keys. */
  async run({ sha1, text }: Script, keys: readonly [string, ...string[]], args: readonly (string | number)[] = []): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args.map(String)];
    try {
      return await this.#ask(keys[0], ['EVALSHA', sha1, ...rest]);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return this.#ask(keys[0], ['EVAL', text, ...rest]);
    }
  }

  /** Runs one command. */
  async send(command: string, key: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#ask(key, [command, key, ...args.map(String)]);
  }

  async #ask(key: string, words: string[]): Promise<unknown> {
    const client = this.#client;
    try {
      return await client.send(key, words);
    } catch (error) {
      if (isUseless(error)) {
        this.renew(client, (error as Error).message);
        this.#options.onUseless?.();
      }
      throw error;
    }
  }

  /**
   * Replaces a client that did not answer, or answers and is of no use: where the peer is gone without a word, its socket would take writes
   * for minutes; where it became a replica, forever. What else waits for the old one keeps its own time limit.
   */
  renew(useless: object, reason: string): void {
    if (useless !== this.#client || this.#closed || performance.now() - this.#renewedAt < redialMs) return;
    const old = this.#client;
    this.#renewedAt = performance.now();
    this.#options.log.debug({ reason }, 'redis connection is of no use: reconnecting');
    this.#client = this.#open();
    setTimeout(() => this.#destroy(old), this.#options.timeoutMs).unref();
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients) this.#destroy(client);
  }

  #open(): Client {
    const { url, timeoutMs, log } = this.#options;
    const client = makeClient(url, timeoutMs);
    this.#clients.add(client);
    client.on('error', (err) => {
      this.#onTried();
      if (client !== this.#client || this.#closed) return;
      // Sentinel's driver reports some failures first as text
      if (err instanceof Error) this.failure = err;
      log.debug({ err }, 'redis connection failed');
    });
    // a Cluster's driver reports `connect` after every node's `ready`
    if (!this.isCluster) this.#watchGreeting(client);
    // a Cluster says so of each node, before it knows them all
    let isConnected = false;
    client.on('ready', () => isConnected && this.#ready(client));
    void this.#connect(client).then(() => {
      isConnected = true;
      this.#ready(client);
    });
    return client;
  }

  /** Gives up a server that lets connect and then does not greet: until it does, no call is sent that would show it. */
  #watchGreeting(client: Client): void {
    const { timeoutMs } = this.#options;
    let stop = () => {};
    const giveUp = () => {
      if (client !== this.#client || this.#closed) return;
      this.renew(client, 'no greeting');
      // too soon after the last one
      stop = afterReading(timeoutMs, giveUp);
    };
    client.on('connect', () => {
      stop();
      stop = afterReading(timeoutMs, giveUp);
    });
    for (const end of ['ready', 'error', 'end']) client.on(end, () => stop());
  }

  async #connect(client: Client): Promise<void> {
    const { listen, log } = this.#options;
    const isWanted = () => !this.#closed && this.#clients.has(client);
    const untilDone = async (step: () => Promise<unknown>) => {
      while (isWanted()) {
        try {
          await step();
          return;
        } catch (err) {
          this.#onTried();
          if (isWanted()) log.debug({ err }, 'redis connect failed');
          if (client === this.#client && err instanceof Error) this.failure = err;
          await sleep(200, undefined, { ref: false });
        }
      }
    };
    await untilDone(() => client.connect());
    if (listen) await untilDone(() => client.subscribe(listen.channel, listen.heard));
  }

  #ready(client: Client): void {
    if (client !== this.#client || this.#closed) return;
    this.failure = undefined;
    this.#onTried();
    this.#options.ready?.();
  }

  #destroy(client: Client): void {
    if (!this.#clients.delete(client)) return;
    // one that never connected, or only half, may refuse
    void (async () => client.destroy())().catch(() => {});
  }
}
