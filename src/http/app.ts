import type { RequestListener } from 'node:http';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import { z } from 'zod';
import { tooComplex } from '../../protocol/parse.ts';
import { type Operation, type RouteRow, routes } from '../../protocol/rest.ts';
import { unknownNames } from '../../protocol/unknown-fields.ts';
import { type Admission, askedFor } from '../auth/admission.ts';
import { audit } from '../auth/audit.ts';
import { mayCall } from '../auth/caller.ts';
import { type NotAdmitted, type Principal, refusalHeaders } from '../auth/principal.ts';
import type { Clock } from '../clock.ts';
import { hasBody } from '../edge/target.ts';
import { checked, GatewayError, StorageError, storageFailed } from '../errors.ts';
import { mayNotAsk } from '../sessions/access.ts';
import type { Budget } from './budget.ts';
import { askForBody } from './expect.ts';
import { CredentialOver, type Ongoing } from './ongoing.ts';

type Env = { Bindings: HttpBindings; Variables: { principal: Principal | undefined; level: NotAdmitted['level'] | undefined } };
export type App = Hono<Env>;

type Row<T extends Operation> = (typeof routes)[T];
type Part<T extends Operation, P extends 'params' | 'query' | 'body' | 'headers'> =
  Row<T> extends {
    [K in P]: infer S extends z.ZodType;
  }
    ? z.output<S>
    : undefined;

/** One checked request. `gone` is aborted when its sender has stopped waiting. */
export interface Call<T extends Operation> {
  params: Part<T, 'params'>;
  query: Part<T, 'query'>;
  body: Part<T, 'body'>;
  headers: Part<T, 'headers'>;
  gone: AbortSignal;
  /** Who sends it; undefined: a stranger, who may only ask whether the gateway is there. */
  principal: Row<T> extends { access: 'anything' } ? Principal | undefined : Principal;
}

/** One entry per endpoint; a missing or extra one, and a wrong answer, do not compile. */
export type Endpoints = {
  [T in Operation]: (call: Call<T>) => Promise<z.input<(typeof routes)[T]['reply']>> | z.input<(typeof routes)[T]['reply']>;
};

export interface AppParts {
  admit: Admission;
  endpoints: Endpoints;
  clock: Clock;
  log: Logger;
  maxBodyBytes: number;
  budget: Budget;
  ongoing: Ongoing;
  /** Where WebSockets are opened: a plain request there gets 426, which says so. */
  socketPaths: readonly string[];
}

/** What answers anybody: who looks after the gateway asks by its address, over HTTP/1.0, or through a proxy. */
const probes = new Set([routes.health.path, routes.ready.path]);
/** What anybody may have who comes from where one may: LiveKit signs its webhooks, and the documents say how to authenticate. */
const open = new Set(['/livekit/webhook', '/openapi.json', '/asyncapi.json']);
/** Whether a request is answered though its sender is refused. A browser asks whether it may call before it says who calls. */
const passes = ({ path, method }: { path: string; method: string }, { code }: NotAdmitted) =>
  probes.has(path) || (code !== 'FORBIDDEN' && (open.has(path) || method === 'OPTIONS'));
const methods = ['GET', 'POST', 'PATCH', 'DELETE'] as const;

/** The REST edge: checks each request by its row, hands it to its endpoint, and gives every error the one shape. */
export function restApp({ admit, endpoints, clock, log, maxBodyBytes, budget, ongoing, socketPaths }: AppParts): App {
  const app: App = new Hono();
  /** The methods that a path takes; none where nothing is there. */
  const allowed = (path: string): string[] => {
    // a method that nothing has is matched by what stands before all routes alone
    const found = (method: string) => app.router.match(method, path)[0].length;
    const taken = methods.filter((method) => found(method) > found('NONE'));
    return taken.length > 0 ? [...taken, ...(taken.includes('GET') ? ['HEAD'] : []), 'OPTIONS'] : [];
  };

  app.use(async (c, next) => {
    c.header('x-request-id', requestId(c));
    const found = await admit(c.env.incoming);
    const refusal = 'refused' in found ? found.refused : undefined;
    c.set('principal', 'principal' in found ? found.principal : undefined);
    const origin = c.req.header('origin');
    const isAllowed = origin !== undefined && refusal?.code !== 'FORBIDDEN';
    if (isAllowed) {
      c.header('access-control-allow-origin', origin);
      c.header('vary', 'Origin');
      c.header('access-control-expose-headers', 'x-request-id, retry-after, etag, allow, www-authenticate');
    }
    if (refusal !== undefined && !passes(c.req, refusal)) {
      c.set('level', refusal.level);
      for (const [name, value] of Object.entries(refusalHeaders(refusal))) c.header(name, value);
      throw new GatewayError(refusal.code, refusal.message, refusal.code === 'UNAVAILABLE' ? { retryAfterMs: refusal.retryAfterMs } : {});
    }
    if (isReadOnly(c.req.method) && hasBody(c.env.incoming)) {
      // nobody reads it, and it could name a user
      throw new GatewayError('INVALID_REQUEST', `a ${c.req.method} request takes no body`);
    }
    if (!probes.has(c.req.path)) await budget.enter(c.env.incoming, c.env.outgoing);
    if (c.req.method !== 'OPTIONS') return next();
    const taken = allowed(c.req.path);
    c.header('allow', taken.length > 0 ? taken.join(', ') : [...methods, 'HEAD', 'OPTIONS'].join(', '));
    if (isAllowed) preflight(c);
    return c.body(null, 204);
  });

  for (const [operation, row] of Object.entries(routes) as [Operation, RouteRow][]) {
    const forUser = row.query !== undefined && 'user_identity' in row.query.shape;
    const noteUnknown = { query: unknownNoter(log, row.path, row.query), body: unknownNoter(log, row.path, row.body) };
    app.on(row.method.toUpperCase(), row.path.replaceAll(/\{(\w+)\}/g, ':$1'), async (c) => {
      const principal = c.get('principal');
      if (row.access !== 'anything' && !(principal && mayCall(principal, row.access))) throw mayNotAsk(row.access);
      const query = row.query && queryOf(c);
      // what is not read could name a user
      const body = row.body || forUser ? await readJson(c, maxBodyBytes, !row.body || row.bodyOptional === true) : undefined;
      if (forUser && query) nameOnce(query, body, row, principal?.user);
      const call = {
        params: row.params && checked(row.params, c.req.param(), 'path'),
        query: row.query && checked(row.query, query, 'query'),
        headers: row.headers && checked(row.headers, headersOf(c, row.headers), 'header'),
        body: row.body && checked(row.body, body, 'body'),
        principal,
      };
      noteUnknown.query(query);
      noteUnknown.body(body);
      if (principal) audit(log, principal, operation, call);
      const { signal } = c.req.raw;
      const carryOut = (gone: AbortSignal) => (endpoints[operation] as (call: unknown) => unknown)({ ...call, gone });
      // where nothing authenticates there is no credential to end with
      const isAnybody = principal === undefined || principal.kind === 'anybody';
      const answer = (await (isAnybody ? carryOut(signal) : ongoing.run(principal, signal, carryOut))) as { version?: number };
      if (row.hasVersion) {
        const etag = `"${answer.version}"`;
        c.header('etag', etag);
        if (
          row.method === 'get' &&
          c.req
            .header('if-none-match')
            ?.split(',')
            .some((given) => given.trim().replace('W/', '') === etag)
        )
          return c.body(null, 304);
      }
      return c.json(answer as object, row.statusOf?.(answer as object) ?? row.status);
    });
  }

  for (const path of socketPaths) {
    app.get(path, (c) => {
      c.header('upgrade', 'websocket');
      c.header('connection', 'upgrade, close');
      const error = new GatewayError(
        'UPGRADE_REQUIRED',
        'this is where WebSockets are opened, and the request asks for none. A proxy in front must speak HTTP/1.1 and pass on the headers Upgrade and Connection',
      );
      return fail(c, error);
    });
  }

  const fail = (c: Context<Env>, error: GatewayError) => {
    if (error.retryAfterMs !== undefined) c.header('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)));
    if (error instanceof CredentialOver) c.header('www-authenticate', error.challenge);
    const { status, code, message } = error;
    // an outage of the storage has its own line, one for all requests
    const level = code === 'STORAGE_ERROR' ? 'debug' : (c.get('level') ?? 'info');
    log[level]({ ...askedFor(c.env.incoming), status, code, message }, 'request refused');
    // a browser may send a request again by itself on a connection that is reused after 408
    if (error.status === 408) c.header('connection', 'close');
    // none but this is read (RFC 9110, 15.5.16)
    if (error.status === 415) c.header('accept-encoding', 'identity');
    return c.json(error.body(clock.now()), error.status as 400);
  };
  app.notFound((c) => {
    const asked = `${c.req.method} ${c.req.path.slice(0, 200)}`;
    const taken = allowed(c.req.path);
    if (taken.length === 0) return fail(c, new GatewayError('NOT_FOUND', `no route for ${asked}`));
    c.header('allow', taken.join(', '));
    return fail(c, new GatewayError('METHOD_NOT_ALLOWED', `no route for ${asked}; the methods of this path are ${taken.join(', ')}`));
  });
  app.onError((err, c) => {
    if (err instanceof GatewayError) return fail(c, err);
    if (err instanceof StorageError) {
      log.debug({ err, path: c.req.path }, 'storage failed');
      return fail(c, storageFailed(err));
    }
    const error_id = uuid();
    log.error({ err, error_id, path: c.req.path }, 'http request failed');
    return fail(c, new GatewayError('INTERNAL', 'Internal error', { details: { error_id } }));
  });
  return app;
}

/** As Node takes it; what Hono cannot read is refused in the one shape. */
export function requestListener(app: App, clock: Clock): RequestListener {
  const malformed = () => {
    const error = new GatewayError('INVALID_REQUEST', 'not a valid request target or Host header');
    return Response.json(error.body(clock.now()), { status: error.status });
  };
  const listener = getRequestListener(app.fetch as Parameters<typeof getRequestListener>[0], {
    overrideGlobalObjects: false,
    // a request of HTTP/1.0 may have no Host
    hostname: 'localhost',
    errorHandler: malformed,
  });
  return (request, response) => void listener(request, response);
}

const isReadOnly = (method: string) => method === 'GET' || method === 'HEAD';

/** A page that may call may ask for whatever headers it sends. */
function preflight(c: Context): void {
  c.header('access-control-allow-methods', methods.join(', '));
  const asked = c.req.header('access-control-request-headers');
  if (asked !== undefined && /^[\w!#$%&'*+.^`|~, -]{1,4096}$/.test(asked)) c.header('access-control-allow-headers', asked);
  if (c.req.header('access-control-request-private-network') === 'true') c.header('access-control-allow-private-network', 'true');
  c.header('vary', 'Origin, Access-Control-Request-Headers, Access-Control-Request-Private-Network');
  c.header('access-control-max-age', '600');
}

const requestId = (c: Context) => {
  const given = c.req.header('x-request-id');
  return given && /^[\w.:-]{1,128}$/.test(given) ? given : uuid();
};

/** Logs what a caller names and the endpoint does not know: later versions may, but a misspelt name has no effect. */
function unknownNoter(log: Logger, path: string, schema: z.ZodType | undefined): (value: unknown) => void {
  // a user may be named in any body
  const known = new Set(['user_identity', ...(schema instanceof z.ZodObject ? Object.keys(schema.shape) : [])]);
  return (value) => {
    const ignored = typeof value === 'object' && value !== null ? unknownNames(value, known) : undefined;
    if (ignored) log.debug({ path, ignored }, 'unknown fields ignored');
  };
}

/** The query's parameters. @throws GatewayError VALIDATION_FAILED one is given twice, differently */
function queryOf(c: Context): Record<string, string> {
  const query: Record<string, string> = Object.create(null);
  for (const [name, [first = '', ...more]] of Object.entries(c.req.queries())) {
    if (more.some((value) => value !== first)) throw invalid('query', name.slice(0, 64), 'must be given once');
    query[name] = first;
  }
  return query;
}

/** The headers that a row reads. Node hands on their bytes as Latin-1, while they are UTF-8 as everything else. */
function headersOf(c: Context, { shape }: z.ZodObject): Record<string, string> {
  const given: Record<string, string> = {};
  for (const name of Object.keys(shape)) {
    const value = c.req.header(name);
    if (value === undefined) continue;
    const text = utf8(Buffer.from(value, 'latin1'));
    if (text === undefined) throw invalid('header', name, 'must be UTF-8');
    given[name] = text;
  }
  return given;
}

/** `user`: whom it speaks for where it names nobody. Whom a call speaks for counts wherever it stands: afterwards in the query, and in the body of a call that keeps it there. @throws GatewayError VALIDATION_FAILED the two differ */
function nameOnce(query: Record<string, unknown>, body: unknown, row: RouteRow, user: string | undefined): void {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
  const fields = body as Record<string, unknown>;
  const inQuery = query.user_identity;
  const inBody = Object.hasOwn(fields, 'user_identity') ? fields.user_identity : undefined;
  if (inQuery !== undefined && inBody !== undefined && inQuery !== inBody) {
    throw invalid('query', 'user_identity', 'the body names another user');
  }
  const name = inQuery ?? inBody ?? (row.bodyHasUser ? user : undefined);
  if (name === undefined) return;
  query.user_identity = name;
  if (row.body && row.bodyHasUser) fields.user_identity = name;
}

const invalid = (where: string, path: string, message: string) =>
  new GatewayError('VALIDATION_FAILED', `${where}: ${path}: ${message}`, { details: { issues: [{ path, message }] } });

async function readJson(c: Context<Env>, maxBytes: number, optional: boolean): Promise<unknown> {
  const { 'content-encoding': encoding = 'identity' } = c.req.header();
  if (encoding.toLowerCase() !== 'identity') throw new GatewayError('UNSUPPORTED_MEDIA_TYPE', 'the body must not be compressed');
  const text = await readText(c, maxBytes);
  const [type, ...parameters] = (c.req.header('content-type') ?? '').toLowerCase().split(';');
  if (optional && text === '') return {};
  if (type?.trim() !== 'application/json') throw new GatewayError('UNSUPPORTED_MEDIA_TYPE', 'the body must be application/json');
  // JSON has no other (RFC 8259, 8.1)
  const charset = parameters.map((parameter) => parameter.trim()).find((parameter) => parameter.startsWith('charset='));
  if (charset !== undefined && !/^charset="?utf-?8"?$/.test(charset))
    throw new GatewayError('UNSUPPORTED_MEDIA_TYPE', 'the body must be UTF-8');
  const complexity = tooComplex(text);
  if (complexity !== undefined) throw new GatewayError('INVALID_JSON', complexity);
  try {
    return JSON.parse(text);
  } catch {
    throw new GatewayError('INVALID_JSON', 'the body is not JSON');
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Text from UTF-8, without its byte order mark; undefined: it is not UTF-8. */
function utf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Reads a body up to a limit. @throws GatewayError PAYLOAD_TOO_LARGE; INVALID_REQUEST it broke off; INVALID_JSON it is not UTF-8 */
export async function readText({ req: { raw: request }, env }: Context<Env>, maxBytes: number): Promise<string> {
  const tooLarge = () => new GatewayError('PAYLOAD_TOO_LARGE', `the body is larger than ${maxBytes} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge();
  askForBody(env.incoming);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('INVALID_REQUEST', 'the body is incomplete');
  }
  const text = utf8(Buffer.concat(chunks));
  // with substitutes, two names could become one
  if (text === undefined) throw new GatewayError('INVALID_JSON', 'the body is not UTF-8');
  return text;
}
