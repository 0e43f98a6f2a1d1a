import pg from 'pg';
import type { Logger } from 'pino';
import { inTime } from '../clock.ts';
import { StorageError } from '../errors.ts';
import { ClaimTaken } from '../sessions/ports.ts';
import { claimTakenState } from './postgres-migrations.ts';

/** SQLSTATEs of a server that takes no write or is going away: a new connection may lead to one that does. read_only_sql_transaction, admin_shutdown, crash_shutdown, cannot_connect_now. */
const uselessStates = ['25006', '57P01', '57P02', '57P03'];
/** SQLSTATEs, by their class, that are no refusal: the connection broke, or somebody ended the statement or rolled it back. */
const brokenClasses = /^(?:08|40|57)/;
/** Of a transaction that was rolled back because of others at the same time (deadlock, serialization): alone it goes through. */
const rolledBack = /^40/;
const redialMs = 500;
/** SQLSTATE query_canceled: a statement's time was over, or somebody ended it. */
export const canceledState = '57014';
/** The server ends a statement so much earlier than its caller gives up: its answer distinguishes a slow statement from an unreachable server. */
const serverShare = 0.8;

export const storageError = (error: unknown): StorageError => {
  if (error instanceof StorageError) return error;
  const isRefusal = error instanceof pg.DatabaseError && !brokenClasses.test(error.code ?? '');
  return new StorageError(error instanceof Error ? error.message : String(error), { cause: error, refused: isRefusal });
};

/** The longest there is: the driver's own timer fires before it has read what came while the process stood still. */
const noDriverTimeoutMs = 2 ** 31 - 1;

/** Runs one statement. Where its time is over first the connection is of no use: nobody knows what it still answers. */
export function ask(client: pg.ClientBase, ms: number, text: string, values?: unknown[]): Promise<pg.QueryResult> {
  const limited = { text, query_timeout: noDriverTimeoutMs, ...(values && { values }) };
  return inTime(ms, client.query(limited), () => new Error('Query read timeout'));
}

export interface PostgresLinkOptions {
  config: pg.ClientConfig;
  /** Connections at most. */
  max: number;
  timeoutMs: number;
  log: Logger;
  /** The server cannot serve now: what else is connected to it is of no use either. */
  onUseless(reason: string): void;
}

/** How long whoever asks waits, on the clock of `performance.now()`, and whether that is over: after a standstill it may be later. */
interface Wait {
  until: number;
  isOver(): boolean;
}

/** What a query is given where its time has passed while the process stood still. */
const leastMs = 100;
/** A timer that is later than this says that it did. */
const lateMs = 200;

/** Runs queries, each within a time limit and on a connection of a pool. */
export class PostgresLink {
  readonly #options: PostgresLinkOptions;
  readonly #pool: pg.Pool;
  /** Every connection, and which of the servers that followed each other it leads to. */
  readonly #clients = new Map<pg.PoolClient, number>();
  #server = 0;
  #leftAt = Number.NEGATIVE_INFINITY;
  /** Whether the server ends a statement by itself when its time is over, as it was asked to when the connection was made. */
  #endsStatements = true;

  constructor(options: PostgresLinkOptions) {
    const { config, max, timeoutMs, log } = options;
    this.#options = options;
    this.#pool = new pg.Pool({ ...config, statement_timeout: Math.ceil(timeoutMs * serverShare), max });
    this.#pool.on('connect', (client) => {
      this.#clients.set(client, this.#server);
      // one that is in use has no listener of the pool's; its query fails as well
      client.on('error', () => {});
      client.once('end', () => this.#clients.delete(client));
    });
    this.#pool.on('error', (err) => log.debug({ err }, 'a connection to postgres was lost'));
  }

  /** Returns a connection to the present server. The caller releases it. */
  async connect(): Promise<pg.PoolClient> {
    for (;;) {
      const client = await this.#pool.connect().catch((error: pg.DatabaseError) => {
        // PgBouncer knows few startup parameters, and ends the connection at any other
        if (!/unsupported startup parameter/.test(error.message) || !this.#endsStatements) throw error;
        this.#endsStatements = false;
        this.#pool.options.statement_timeout = false;
        return this.#pool.connect();
      });
      if (this.#clients.get(client) === this.#server) return client;
      client.release(true);
    }
  }

  /** @throws StorageError @throws ClaimTaken */
  async query<Row>(text: string, values: unknown[], wait: Wait): Promise<Row[]> {
    try {
      const { rows } = await this.#attempt(text, values, wait).catch((error: pg.DatabaseError) => {
        if (!rolledBack.test(error.code ?? '')) throw error;
        // whatever was done, doing it again has one effect
        return this.#attempt(text, values, wait);
      });
      return rows as Row[];
    } catch (error) {
      const { code = '', detail, message } = error as pg.DatabaseError;
      if (code === claimTakenState) throw new ClaimTaken(detail ?? '');
      if (uselessStates.includes(code)) this.#leave(message);
      throw storageError(error);
    }
  }

  /** Ends every connection that is idle, and those in use when they are done. */
  async end(): Promise<void> {
    const closed = [...this.#clients.keys()].map((client) => new Promise<void>((resolve) => client.once('end', resolve)));
    await Promise.all([this.#pool.end(), ...closed]);
  }

  /** Ends every connection now: a server that does not answer does not close them either. */
  destroy(): void {
    for (const client of this.#clients.keys()) client.connection.stream.destroy();
  }

  async #attempt(text: string, values: unknown[], { until, isOver }: Wait): Promise<pg.QueryResult> {
    const client = await this.connect().catch((error) => {
      // the driver's timer does not read first what came while the process stood still
      if (isOver() || performance.now() < until + lateMs) throw error;
      return this.connect();
    });
    const leftMs = Math.max(leastMs, Math.ceil(until - performance.now()));
    if (isOver()) {
      client.release();
      throw new StorageError('no connection to postgres was free in time');
    }
    try {
      // behind a pooler a connection's own settings would be left to whoever gets it next: this one ends with its transaction
      if (!this.#endsStatements) await ask(client, leftMs, `BEGIN; SET LOCAL statement_timeout = ${Math.ceil(leftMs * serverShare)}`);
      const result = await ask(client, leftMs, text, values);
      if (!this.#endsStatements) await ask(client, leftMs, 'COMMIT');
      client.release();
      return result;
    } catch (error) {
      // after a refusal the connection is as good as before; after anything else nobody knows
      const { code } = error as { code?: string };
      client.release((code !== claimTakenState && code !== canceledState) || !this.#endsStatements);
      throw error;
    }
  }

  /** Takes no further connection to this server. It is often the only one there is for a while. */
  #leave(reason: string): void {
    if (performance.now() - this.#leftAt < redialMs) return;
    this.#leftAt = performance.now();
    this.#server += 1;
    this.#options.log.debug({ reason }, 'the postgres server is of no use: reconnecting');
    this.#options.onUseless(reason);
  }
}
