import pg from 'pg';
import type { Logger } from 'pino';
import type { Wake } from '../sessions/ports.ts';

const firstPauseMs = 50;
const maxPauseMs = 5_000;

/**
 * Hears of commits on a connection of its own, which is made again whenever it is lost.
 * What was said meanwhile is not known, so every subscriber is woken once it is back.
 */
export class Listener {
  readonly #config: pg.ClientConfig;
  readonly #channel: string;
  readonly #log: Logger;
  readonly #wakes = new Map<string, Set<Wake>>();
  #first: Promise<void> | undefined;
  #client: pg.Client | undefined;
  #isListening = false;
  #isClosed = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(config: pg.ClientConfig, channel: string, log: Logger) {
    this.#config = config;
    this.#channel = channel;
    this.#log = log;
  }

  /** Begins, at the first call. Resolves after the first attempt, whether it connected or not. */
  start(): Promise<void> {
    this.#first ??= this.#connect();
    return this.#first;
  }

  subscribe(id: string, wake: Wake): void {
    void this.start();
    this.#wakes.set(id, (this.#wakes.get(id) ?? new Set()).add(wake));
  }

  unsubscribe(id: string, wake: Wake): void {
    const wakes = this.#wakes.get(id);
    if (wakes?.delete(wake) && wakes.size === 0) this.#wakes.delete(id);
  }

  /** Finds a connection that died without a word. Call it now and then. */
  check(): void {
    const client = this.#client;
    if (client && this.#isListening) client.query('SELECT 1').catch((error) => this.#lose(client, error));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#wakes.clear();
    if (this.#client) this.#lose(this.#client, undefined);
  }

  async #connect(): Promise<void> {
    if (this.#isClosed) return;
    const client = new pg.Client(this.#config);
    this.#client = client;
    client.on('error', (error) => this.#lose(client, error));
    client.on('end', () => this.#lose(client, undefined));
    client.on('notification', ({ payload }) => this.#wake(payload ?? ''));
    try {
      await client.connect();
      await client.query(`LISTEN ${this.#channel}`);
    } catch (error) {
      this.#lose(client, error);
      return;
    }
    // lost again before this went on
    if (this.#client !== client) return;
    if (this.#failures > 0) this.#log.info('listening for commits of other nodes again');
    this.#isListening = true;
    this.#failures = 0;
    for (const id of [...this.#wakes.keys()]) this.#wake(id);
  }

  #lose(client: pg.Client, error: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#isListening = false;
    // not end(): it would wait for a server that may have stopped answering
    client.connection.stream.destroy();
    if (this.#isClosed) return;
    if (this.#failures === 0) this.#log.warn({ err: error }, 'commits of other nodes are not heard for now');
    const pauseMs = Math.min(maxPauseMs, firstPauseMs * 2 ** this.#failures);
    this.#failures += 1;
    // at different times on different nodes
    this.#retry = setTimeout(() => void this.#connect(), pauseMs * (0.5 + Math.random() / 2));
  }

  #wake(id: string): void {
    // a copy: one that is woken may subscribe again
    for (const wake of [...(this.#wakes.get(id) ?? [])]) wake(id);
  }
}
