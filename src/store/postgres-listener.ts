import pg from 'pg';
import type { Logger } from 'pino';
import { ask } from './postgres-link.ts';

const firstPauseMs = 50;
const maxPauseMs = 5_000;

export interface ListenerOptions {
  config: pg.ClientConfig;
  /** How long an answer may take. */
  timeoutMs: number;
  channel: string;
  log: Logger;
  heard(payload: string): void;
  /** After each connection: what was said before it is not known. */
  connected(): void;
}

/** Listens for commits on its own connection, which is reopened whenever it is lost. */
export class Listener {
  readonly #options: ListenerOptions;
  #first: Promise<void> | undefined;
  #client: pg.Client | undefined;
  #isListening = false;
  #isClosed = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Begins, at the first call. Resolves after the first attempt, whether it connected or not. */
  start(): Promise<void> {
    this.#first ??= this.#connect();
    return this.#first;
  }

  /** Finds a connection that died without a word. Call it now and then. */
  check(): void {
    const client = this.#client;
    if (client && this.#isListening) ask(client, this.#options.timeoutMs, 'SELECT 1').catch((error) => this.#lose(client, error));
  }

  /** Drops a connection that exists but is of no use. */
  renew(reason: string): void {
    if (this.#client && this.#isListening) this.#lose(this.#client, new Error(reason));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    if (this.#client) this.#lose(this.#client, undefined);
  }

  async #connect(): Promise<void> {
    if (this.#isClosed) return;
    const { config, timeoutMs, channel, heard, connected } = this.#options;
    const client = new pg.Client(config);
    this.#client = client;
    client.on('error', (error) => this.#lose(client, error));
    client.on('end', () => this.#lose(client, undefined));
    client.on('notification', ({ payload }) => heard(payload ?? ''));
    try {
      await client.connect();
      await ask(client, timeoutMs, `LISTEN ${channel}`);
    } catch (error) {
      this.#lose(client, error);
      return;
    }
    // lost again before this went on
    if (this.#client !== client) return;
    this.#isListening = true;
    this.#failures = 0;
    connected();
  }

  #lose(client: pg.Client, error: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#isListening = false;
    // not end(): it would wait for a server that may have stopped answering
    client.connection.stream.destroy();
    if (this.#isClosed) return;
    this.#options.log.debug({ err: error }, 'the connection that listens for commits was lost');
    const pauseMs = Math.min(maxPauseMs, firstPauseMs * 2 ** this.#failures);
    this.#failures += 1;
    // at different times on different nodes
    this.#retry = setTimeout(() => void this.#connect(), pauseMs * (0.5 + Math.random() / 2));
  }
}
