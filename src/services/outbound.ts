import { isIP } from 'node:net';
import { ExponentialBackoff, handleWhenResult, type IPolicy, retry } from 'cockatiel';
import { Agent, buildConnector, request } from 'undici';
import type { Guard } from './guard.ts';

const maxTries = 3;
const maxResponseBytes = 65_536;

/** What came back, or why nothing did. */
export type Reply = { status: number; headers: Record<string, string | string[] | undefined>; body: unknown } | { error: string };

/** HTTP to services: guarded addresses, no redirects, every call within its own time. `close` ends its connections. */
export class Outbound {
  readonly #agent: Agent;
  /** Repeats what failed on the way or inside the service, with jitter; `handleWhenResult` alone, for `#send` does not throw. */
  readonly #retries: IPolicy = retry(
    handleWhenResult((reply) => mayPass(reply as Reply)),
    { maxAttempts: maxTries - 1, backoff: new ExponentialBackoff({ initialDelay: 200, maxDelay: 2_000 }) },
  );

  readonly #allows: Guard;

  constructor(allows: Guard) {
    this.#allows = allows;
    const connect = buildConnector({ timeout: 5_000 });
    this.#agent = new Agent({
      maxResponseSize: maxResponseBytes,
      connect: (options, callback) =>
        connect(options, (error, socket) => {
          if (!socket) return callback(error ?? new Error('not connected'), null);
          if (allows(options.hostname, socket)) return callback(null, socket);
          const { remoteAddress } = socket;
          socket.destroy();
          callback(new Error(`${remoteAddress} is not an allowed address: see microservices.allowed_networks`), null);
        }),
    });
  }

  /** Why an endpoint can never be called, where its URL alone says so; a name is judged by the address it leads to. */
  refusal(endpoint: string): string | undefined {
    // the URL writes every form of an address in one way
    const host = new URL(endpoint).hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) === 0 || this.#allows(host, { remoteAddress: host })) return undefined;
    return `${host} is not an allowed address: see microservices.allowed_networks`;
  }

  /** Posts JSON and repeats it while that can help, within `timeoutMs`. Never rejects. */
  async post(url: string, body: object, timeoutMs: number): Promise<Reply> {
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      return await this.#retries.execute(() => this.#send('POST', url, signal, JSON.stringify(body)), signal);
    } catch {
      return { error: tooLate };
    }
  }

  /** Asks once. Never rejects. */
  get(url: string, timeoutMs: number): Promise<Reply> {
    return this.#send('GET', url, AbortSignal.timeout(timeoutMs));
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #send(method: 'GET' | 'POST', url: string, signal: AbortSignal, body?: string): Promise<Reply> {
    try {
      const response = await request(url, {
        method,
        dispatcher: this.#agent,
        signal,
        headersTimeout: 10_000,
        bodyTimeout: 10_000,
        ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }),
      });
      const text = await response.body.text();
      return { status: response.statusCode, headers: response.headers, body: json(text) };
    } catch (error) {
      if (signal.aborted) return { error: tooLate };
      const { code, message } = error as Error & { code?: string };
      return { error: code === 'ECONNREFUSED' || !message ? `${code ?? 'failed'}` : message };
    }
  }
}

const tooLate = 'no answer in time';

/** Whether another try can help. 503 says when to come back. */
const mayPass = (reply: Reply) => 'error' in reply || (reply.status >= 500 && reply.status !== 503);

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
