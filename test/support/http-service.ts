import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { patienceMs } from './patience.ts';

/** One request a service got. */
export interface Call {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: a body is what the test says it is
  body: any;
}

/** What a service does with a request: answers, or leaves it open until `answerHung`, or breaks the connection. */
export type Script = { status?: number; body?: unknown; raw?: string | Buffer; headers?: Record<string, string> } | 'hang' | 'reset';

/** A real HTTP service that answers as scripted, 200 where nothing is, and records what it was asked. Ended with the test. */
export class HttpService {
  /** Every request that ever came. */
  readonly calls: Call[] = [];
  readonly #host: string;
  readonly #scripts = new Map<string, Script[]>();
  readonly #seen = new Map<string, number>();
  readonly #waiting: { path: string; take(call: Call): void }[] = [];
  #hung: ServerResponse[] = [];
  #server: Server | undefined;
  #port = 0;

  private constructor(host: string) {
    this.#host = host;
  }

  /** Listens on a free port of loopback. */
  static async start(scripts: Record<string, Script> = {}, host = '127.0.0.1'): Promise<HttpService> {
    const service = new HttpService(host);
    for (const [path, script] of Object.entries(scripts)) service.on(path, script);
    await service.up();
    onTestFinished(() => service.down());
    return service;
  }

  get port(): number {
    return this.#port;
  }

  get endpoint(): string {
    return `http://${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.#port}`;
  }

  /** What it does at a path from now on: one after the other, the last one for ever. */
  on(path: string, ...scripts: Script[]): void {
    this.#scripts.set(path, scripts);
  }

  /** The next request at this path that no test has taken yet. */
  async next(path: string): Promise<Call> {
    const taken = this.#seen.get(path) ?? 0;
    this.#seen.set(path, taken + 1);
    const here = this.at(path)[taken];
    if (here) return here;
    return new Promise((take, fail) => {
      const timer = setTimeout(
        () => fail(new Error(`no ${path} within ${patienceMs} ms; came: ${this.calls.map((c) => c.path).join(' ')}`)),
        patienceMs,
      );
      this.#waiting.push({
        path,
        take: (call) => {
          clearTimeout(timer);
          take(call);
        },
      });
    });
  }

  /** Every request at this path so far. */
  at(path: string): Call[] {
    return this.calls.filter((call) => call.path === path);
  }

  /** Resolves when the caller gives up the first request that was left open. */
  async hungUp(): Promise<void> {
    const [response] = this.#hung;
    if (!response) throw new Error('no request was left open');
    await once(response, 'close');
  }

  /** Answers what was left open. */
  answerHung(script: Exclude<Script, string>): void {
    for (const response of this.#hung.splice(0)) reply(response, script);
  }

  /** Stops listening and breaks every connection. Safe to repeat. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
    this.#hung = [];
  }

  /** Listens again where it did before. */
  async up(): Promise<void> {
    const server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => {
        text += chunk;
      });
      request.on('end', () => this.#take(request, text, response));
    });
    server.listen(this.#port, this.#host);
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  #take(request: IncomingMessage, text: string, response: ServerResponse): void {
    const { method = '', url: path = '', headers } = request;
    const call: Call = { method, path, headers, body: text === '' ? undefined : JSON.parse(text) };
    this.calls.push(call);
    const scripts = this.#scripts.get(path) ?? [];
    const script = (scripts.length > 1 ? scripts.shift() : scripts[0]) ?? {};
    if (script === 'hang') this.#hung.push(response);
    else if (script === 'reset') request.socket.destroy();
    else reply(response, script);
    const waiter = this.#waiting.findIndex((w) => w.path === path);
    if (waiter >= 0) this.#waiting.splice(waiter, 1)[0]?.take(call);
  }

  /** Registers it with a gateway. */
  register(gatewayUrl: string, fields: { service_id: string; [field: string]: unknown }) {
    return rest(`${gatewayUrl}/api/v1/microservices/register`, 'POST', { endpoint: this.endpoint, ...fields });
  }
}

function reply(response: ServerResponse, { status = 200, body, raw, headers = {} }: Exclude<Script, string>): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(raw ?? (body === undefined ? undefined : JSON.stringify(body)));
}

/** One REST call. */
export async function rest(
  url: string,
  method = 'GET',
  body?: object,
  more: { headers?: Record<string, string>; signal?: AbortSignal } = {},
) {
  const response = await fetch(url, {
    method,
    ...(body && { body: JSON.stringify(body) }),
    ...(more.signal && { signal: more.signal }),
    headers: { ...(body && { 'content-type': 'application/json' }), ...more.headers },
  });
  // biome-ignore lint/suspicious/noExplicitAny: a body is what the test says it is
  return { status: response.status, body: (await response.json()) as any };
}
