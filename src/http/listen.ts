import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { safeHeaders } from '../edge/headers.ts';
import { respondRaw } from '../edge/raw.ts';
import { believeProxies, senderOf } from '../edge/sender.ts';
import { normalize } from '../edge/target.ts';
import { GatewayError } from '../errors.ts';
import { type TlsFiles, type TlsPair, watchTls } from '../tls.ts';
import { holdContinue } from './expect.ts';
import type { Upgrade } from './upgrades.ts';

/** Connections that wait to be accepted; the system may set a lower limit. After a restart all clients come back at once. */
const backlog = 4_096;
/** How often Node looks for requests that take too long. */
const checkMs = 1_000;
/** A TLS handshake may take as long as a request's head. */
const handshakeMs = 5_000;
const json = { 'content-type': 'application/json' };

export interface ListenParts {
  host: string;
  port: number;
  /** How long an idle connection is kept for further requests. */
  keepAliveMs: number;
  /** Networks of proxies that say for whom they speak. */
  trustedProxies: readonly string[];
  /** Serves https and wss with these, and nothing else; undefined: without TLS. */
  tls?: { files: TlsFiles; pair: TlsPair } | undefined;
  clock: Clock;
  log: Logger;
}

/** Who takes what comes in. */
export interface Takers {
  request: RequestListener;
  /** A GET that asks for a WebSocket. */
  upgrade: Upgrade;
}

export interface Listener {
  /** Where it is bound. */
  address: string;
  port: number;
  /** Serves from now on; before, everything gets 503. */
  open(takers: Takers): void;
  /** Cuts every connection and stops listening. */
  close(): Promise<void>;
}

/** Listens for HTTP/1.1. @throws the system's error where it cannot */
export async function listen({ host, port, keepAliveMs, trustedProxies, tls, clock, log }: ListenParts): Promise<Listener> {
  const options = {
    connectionsCheckingInterval: checkMs,
    keepAliveTimeout: keepAliveMs,
    // `normalize` does it, with a body that says so
    requireHostHeader: false,
  };
  let stopWatching = () => {};
  let server: Server;
  if (tls) {
    const { cert, key } = tls.pair;
    const secure = createHttpsServer({ ...options, cert, key, minVersion: 'TLSv1.2', handshakeTimeout: handshakeMs });
    stopWatching = watchTls(tls.files, tls.pair, secure, clock, log);
    server = secure;
  } else server = createHttpServer(options);
  // past its count Node drops headers in silence, those that say who asks among them; their bytes are bounded
  server.maxHeadersCount = 0;
  const stopLimiting = limitTimes(server);
  let takers: Takers | undefined;
  const bodyOf = (error: GatewayError) => {
    const { status, code, message } = error;
    log.info({ status, code, message }, 'request refused');
    return JSON.stringify(error.body(clock.now()));
  };
  const starting = () => new GatewayError('UNAVAILABLE', 'The gateway is starting', { retryAfterMs: 1_000 });
  const answer = (response: ServerResponse, error: GatewayError, headers: Record<string, string> = {}) => {
    const body = bodyOf(error);
    const all = { ...json, 'content-length': Buffer.byteLength(body), connection: 'close', ...headers };
    response.writeHead(error.status, all).end(body);
  };
  const refuse = (socket: Duplex, error: GatewayError, headers: Record<string, string> = {}) =>
    respondRaw(socket, error.status, { ...json, ...headers }, bodyOf(error));

  const believe = believeProxies(trustedProxies, log);
  const received = (request: IncomingMessage, response: ServerResponse) => {
    believe(request);
    response.setHeaders(safeHeaders(senderOf(request).protocol === 'https' && request.headers.host));
  };

  /** The newest request's answer on each connection that has had one. */
  const newest = new WeakMap<Duplex, ServerResponse>();

  server.on('request', (request, response) => {
    newest.set(request.socket, response);
    received(request, response);
    const fault = normalize(request);
    if (fault !== undefined) return answer(response, new GatewayError('INVALID_REQUEST', fault));
    if (!takers) return answer(response, starting(), { 'retry-after': '1' });
    takers.request(request, response);
  });

  // whoever is refused sends no body
  server.on('checkContinue', (request, response) => {
    holdContinue(request, response);
    server.emit('request', request, response);
  });

  server.on('checkExpectation', (request, response) => {
    received(request, response);
    answer(response, new GatewayError('EXPECTATION_FAILED', 'only Expect: 100-continue is supported'));
  });

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', destroy);
    believe(request);
    // requests that came before on this connection are answered first
    afterAnswer(newest.get(socket), () => {
      newest.delete(socket);
      if (!socket.readable || !socket.writable) return void socket.destroy();
      const forWebSocket = asksForWebSocket(request);
      const fault = forWebSocket ? normalize(request) : undefined;
      if (fault !== undefined) return refuse(socket, new GatewayError('INVALID_REQUEST', fault));
      if (forWebSocket && !takers) return refuse(socket, starting(), { 'retry-after': '1' });
      socket.off('error', destroy);
      if (forWebSocket) return takers?.upgrade(request, socket, head);
      // as a connection that has just been accepted: its first request is this one, without the offer to upgrade
      socket.unshift(Buffer.concat([headOf(request), head]));
      server.emit(tls ? 'secureConnection' : 'connection', socket);
    });
  });

  server.on('connect', (_, socket) => {
    socket.on('error', destroy);
    refuse(socket, new GatewayError('METHOD_NOT_ALLOWED', 'this is not a proxy'), { allow: 'GET, HEAD, POST, PATCH, DELETE, OPTIONS' });
  });

  const refused = new WeakSet<Duplex>();
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (refused.has(socket)) return;
    refused.add(socket);
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    const response = newest.get(socket);
    const say = () => (socket.writable ? refuse(socket, faultOf(error)) : void socket.destroy());
    // a fault in a request's own body takes the place of its answer; one in what follows waits for the answers before
    if (response?.req.complete !== false) afterAnswer(response, say);
    else if (response.socket === socket && !response.headersSent) say();
    else socket.destroy();
  });

  server.listen(port, host, backlog);
  await once(server, 'listening');
  const { address, port: boundPort } = server.address() as AddressInfo;
  return {
    address,
    port: boundPort,
    open: (given) => {
      takers = given;
    },
    async close() {
      stopLimiting();
      stopWatching();
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/**
 * Bounds the time a request may take to come. Node looks at it before it reads: after the loop stood still, what came meanwhile is read first.
 * @returns a function that ends it
 */
function limitTimes(server: Server): () => void {
  let lookedAt = performance.now();
  let readingUntil = 0;
  const isReading = () => {
    const now = performance.now();
    if (now - lookedAt > 2 * checkMs) readingUntil = now + 2 * checkMs;
    lookedAt = now;
    return now < readingUntil;
  };
  const timer = setInterval(isReading, checkMs).unref();
  const limits = { headersTimeout: 5_000, requestTimeout: 30_000 };
  for (const [name, ms] of Object.entries(limits)) Object.defineProperty(server, name, { get: () => (isReading() ? 0 : ms) });
  return () => clearInterval(timer);
}

function destroy(this: Duplex): void {
  this.destroy();
}

function afterAnswer(response: ServerResponse | undefined, run: () => void): void {
  if (!response || response.closed) run();
  else response.once('close', run);
}

/** Any other upgrade, as that to h2c which some HTTP clients offer with each request, is ignored (RFC 9110, 7.8), and so is one of HTTP/1.0. */
function asksForWebSocket({ method, httpVersion, headers }: IncomingMessage): boolean {
  if (method !== 'GET' || httpVersion !== '1.1' || headers.upgrade === undefined) return false;
  return headers.upgrade === 'websocket' || headers.upgrade.split(',').some((name) => name.trim().toLowerCase() === 'websocket');
}

/** A request's head as it came, without its Upgrade. */
function headOf({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'upgrade') lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** What was wrong with what Node could not read as a request. */
function faultOf({ code }: NodeJS.ErrnoException): GatewayError {
  if (code === 'HPE_HEADER_OVERFLOW') return new GatewayError('HEADERS_TOO_LARGE', 'the header is larger than 16384 bytes');
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return new GatewayError('PAYLOAD_TOO_LARGE', 'the chunk extensions are too large');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new GatewayError('REQUEST_TIMEOUT', 'the request did not arrive in time');
  return new GatewayError('INVALID_REQUEST', 'not an HTTP request');
}
