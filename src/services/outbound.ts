import dns from 'node:dns';
import { lookup as resolve } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import {
  BrokenCircuitError,
  bulkhead,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhenResult,
  type IPolicy,
  retry,
} from 'cockatiel';
import { Agent, buildConnector, request } from 'undici';
import { inTime, withTimeLimit } from '../clock.ts';
import { FairQueue } from './fair-queue.ts';
import type { Guard } from './guard.ts';

/** Tries of one call: their pauses, of up to 2 s, take less than half of the 10 s of an offer. */
const maxTries = 3;
/** As large as a frame of a service may be by default. */
const maxResponseBytes = 65_536;
/** Who registers waits for it: a name server that answers later is no reason to refuse. */
const resolveMs = 1_000;
/** So many calls in a row that nobody answers, and no offer is sent for a while. */
const maxUnanswered = 5;
/** For so long; then one call shows whether the service is back. As long as the time between two health checks. */
const breakerOpenMs = 10_000;
/** A notification, whose answer does not matter, waits this long for its turn: as long as an offer, the longest call, may keep the place it waits for. */
const turnMs = 10_000;

/** The answer, or why there is none; `isUnsent`: it was not even sent. */
export type Reply =
  | { status: number; headers: Record<string, string | string[] | undefined>; text: string }
  | { error: string; isUnsent?: true };

/** How many calls may be under way at once. */
export interface CallLimits {
  /** Beyond one for each origin that is called. */
  all: number;
  perService: number;
}

/** The calls to one service. */
export interface Calls {
  /** Posts JSON and repeats it while that can help, within `timeoutMs` and until `over` is aborted. Never rejects. */
  request(url: string, body: object, timeoutMs: number, over?: AbortSignal): Promise<Reply>;
  /** As `request`, of what must come through even if the service answers nothing now: its time starts with its turn. Never rejects. */
  notify(url: string, body: object, timeoutMs: number): Promise<void>;
}

/** HTTP to services: guarded addresses, no redirects, so many calls at once, every call within its own time. `close` ends its connections. */
export class Outbound {
  readonly #agent: Agent;
  readonly #allows: Guard;
  readonly #limits: CallLimits;
  readonly #queue: FairQueue;
  /** Repeats what failed on the way or inside the service, with jitter; `handleWhenResult` alone, for `#send` does not throw. */
  readonly #retries: IPolicy = retry(
    handleWhenResult((reply) => mayPass(reply as Reply)),
    { maxAttempts: maxTries - 1, backoff: new ExponentialBackoff({ initialDelay: 200, maxDelay: 2_000 }) },
  );

  constructor(allows: Guard, limits: CallLimits) {
    this.#allows = allows;
    this.#limits = limits;
    this.#queue = new FairQueue(limits.all);
    const connect = buildConnector({ timeout: 5_000, lookup: this.#resolve });
    this.#agent = new Agent({
      maxResponseSize: maxResponseBytes,
      connect: (options, callback) =>
        connect(options, (error, socket) => {
          if (!socket) return callback(error ?? new Error('not connected'), null);
          const refusal = allows(options.hostname, socket);
          if (refusal === undefined) return callback(null, socket);
          socket.destroy();
          callback(new Error(refusal), null);
        }),
    });
  }

  /** Resolves a name to the addresses that may be called: nothing is connected to the others, which would tell whether something listens there. */
  readonly #resolve: LookupFunction = (hostname, options, done) => {
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return done(error, []);
      const callable = addresses.filter(({ address }) => this.#allows(hostname, { remoteAddress: address }) === undefined);
      const [first] = callable;
      const refusal = this.#allows(hostname, { remoteAddress: addresses[0]?.address ?? '' });
      if (!first) done(new Error(refusal), []);
      else if (options.all) done(null, callable);
      else done(null, first.address, first.family);
    });
  };

  /** Why an endpoint cannot be called, as its address stands now; a name that cannot be resolved yet may be later. Cannot reject. */
  async refusal(endpoint: string): Promise<string | undefined> {
    const { hostname, port, protocol } = new URL(endpoint);
    // the URL writes every form of an address in one way
    const host = hostname.replace(/^\[|\]$/g, '');
    const remotePort = Number(port || (protocol === 'https:' ? 443 : 80));
    if (isIP(host) > 0) return this.#allows(host, { remoteAddress: host, remotePort });
    const addresses = await inTime(resolveMs, resolve(host, { all: true }), () => new Error('not resolved in time')).catch(() => []);
    const refusals = addresses.map(({ address }) => this.#allows(host, { remoteAddress: address, remotePort }));
    return refusals.every((refusal) => refusal !== undefined) ? refusals[0] : undefined;
  }

  /** The calls to one service, which wait for their turn. Services at the same origin share its turns. */
  calls(endpoint: string): Calls {
    const { origin } = new URL(endpoint);
    const own = bulkhead(this.#limits.perService, Number.POSITIVE_INFINITY);
    // it would not take the next out of its queue after one whose signal was aborted there: it is not given any
    const inTurn = <T>(call: () => Promise<T>): Promise<T> => own.execute(() => this.#queue.run(origin, call));
    const breaker = circuitBreaker(
      handleWhenResult((reply) => 'error' in (reply as Reply) && reply !== gone && !(reply as { isUnsent?: true }).isUnsent),
      { breaker: new ConsecutiveBreaker(maxUnanswered), halfOpenAfter: breakerOpenMs },
    );
    return {
      request: async (url, body, timeoutMs, over) => {
        try {
          return await withTimeLimit(timeoutMs, (late) => {
            const signal = over ? AbortSignal.any([late, over]) : late;
            return breaker.execute(() =>
              inTurn<Reply>(async () => {
                if (signal.aborted) return { error: 'too many calls at once', isUnsent: true };
                const reply = await this.#post(url, body, signal);
                return over?.aborted ? gone : reply;
              }),
            );
          });
        } catch (error) {
          if (!(error instanceof BrokenCircuitError)) throw error;
          return { error: `not called: it did not answer the last ${maxUnanswered} times`, isUnsent: true };
        }
      },
      notify: async (url, body, timeoutMs) => {
        const post = () => withTimeLimit(timeoutMs, (signal) => this.#post(url, body, signal));
        await withTimeLimit(turnMs, (turn) => inTurn(async () => turn.aborted || post()));
      },
    };
  }

  /** Asks once. Never rejects. */
  get(url: string, timeoutMs: number): Promise<Reply> {
    return withTimeLimit(timeoutMs, (signal) => this.#send('GET', url, signal));
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  /** Posts JSON and repeats it while that can help. Never rejects. */
  async #post(url: string, body: object, signal: AbortSignal): Promise<Reply> {
    try {
      return await this.#retries.execute(() => this.#send('POST', url, signal, JSON.stringify(body)), signal);
    } catch {
      return { error: tooLate };
    }
  }

  async #send(method: 'GET' | 'POST', url: string, signal: AbortSignal, body?: string): Promise<Reply> {
    try {
      const response = await request(url, {
        method,
        dispatcher: this.#agent,
        signal,
        headersTimeout: 10_000,
        bodyTimeout: 10_000,
        headers: {
          accept: 'application/json',
          'accept-encoding': 'identity',
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body }),
      });
      const text = await response.body.text();
      return { status: response.statusCode, headers: response.headers, text };
    } catch (error) {
      if (signal.aborted) return { error: tooLate };
      const { code, message } = error as Error & { code?: string };
      return { error: code === 'ECONNREFUSED' || !message ? `${code ?? 'failed'}` : message };
    }
  }
}

const tooLate = 'no answer in time';
/** Nobody waits for the answer now. */
const gone: Reply = { error: 'aborted' };

/** Whether another try can help. 503 says when to come back. */
const mayPass = (reply: Reply) => 'error' in reply || (reply.status >= 500 && reply.status !== 503);
