import { type Context, Hono } from 'hono';
import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import type { z } from 'zod';
import { issuesOf, maxDepth, tooDeep } from '../../protocol/parse.ts';
import { type Operation, type RouteRow, routes } from '../../protocol/rest.ts';
import { GatewayError, storageFailed } from '../sessions/errors.ts';
import { type Clock, StorageError } from '../sessions/ports.ts';

type Part<T extends Operation, P extends 'params' | 'query' | 'body' | 'headers'> = (typeof routes)[T] extends {
  [K in P]: infer S extends z.ZodType;
}
  ? z.output<S>
  : undefined;

/** One checked request. `gone` is aborted when its sender does not wait any more. */
export interface Call<T extends Operation> {
  params: Part<T, 'params'>;
  query: Part<T, 'query'>;
  body: Part<T, 'body'>;
  headers: Part<T, 'headers'>;
  gone: AbortSignal;
}

/** One entry per endpoint; a missing or extra one, and a wrong answer, do not compile. */
export type Endpoints = {
  [T in Operation]: (call: Call<T>) => Promise<z.input<(typeof routes)[T]['reply']>> | z.input<(typeof routes)[T]['reply']>;
};

export interface AppParts {
  endpoints: Endpoints;
  clock: Clock;
  log: Logger;
  maxBodyBytes: number;
}

/** The REST edge: checks each request by its row, hands it to its endpoint, and gives every error the one shape. */
export function restApp({ endpoints, clock, log, maxBodyBytes }: AppParts): Hono {
  const app = new Hono();

  // who may call at all is decided before; a page that may is told so
  app.use(async (c, next) => {
    const origin = c.req.header('origin');
    if (origin !== undefined) {
      c.header('access-control-allow-origin', origin);
      c.header('vary', 'Origin');
      c.header('access-control-expose-headers', 'x-request-id, retry-after');
    }
    c.header('x-request-id', requestId(c));
    if (c.req.method !== 'OPTIONS') return next();
    c.header('access-control-allow-methods', 'GET, POST, PATCH, DELETE');
    c.header('access-control-allow-headers', 'content-type, idempotency-key, if-match, x-request-id, traceparent');
    c.header('access-control-max-age', '600');
    return c.body(null, 204);
  });

  for (const [operation, row] of Object.entries(routes) as [Operation, RouteRow][]) {
    app.on(row.method.toUpperCase(), row.path.replaceAll(/\{(\w+)\}/g, ':$1'), async (c) => {
      const call = {
        params: row.params && check(row.params, c.req.param(), 'path'),
        query: row.query && check(row.query, c.req.query(), 'query'),
        headers: row.headers && check(row.headers, c.req.header(), 'header'),
        body: row.body && check(row.body, await readJson(c, maxBodyBytes, row.bodyOptional === true), 'body'),
        gone: c.req.raw.signal,
      };
      const answer = await (endpoints[operation] as (call: unknown) => unknown)(call);
      return c.json(answer as object, row.statusOf?.(answer as object) ?? row.status);
    });
  }

  const fail = (c: Context, error: GatewayError) => {
    if (error.retryAfterMs !== undefined) c.header('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)));
    const { status, code, message } = error;
    const origin = c.req.header('origin')?.slice(0, 200);
    log.info({ method: c.req.method, path: c.req.path.slice(0, 200), origin, status, code, message }, 'request refused');
    // a browser may send a request again by itself on a connection that is reused after 408
    if (error.status === 408) c.header('connection', 'close');
    return c.json(error.body(clock.now()), error.status as 400);
  };
  app.notFound((c) => fail(c, new GatewayError('NOT_FOUND', `there is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}`)));
  app.onError((err, c) => {
    if (err instanceof GatewayError) return fail(c, err);
    if (err instanceof StorageError) {
      log.warn({ err, path: c.req.path }, 'storage failed');
      return fail(c, storageFailed());
    }
    const error_id = uuid();
    log.error({ err, error_id, path: c.req.path }, 'http request failed');
    return fail(c, new GatewayError('INTERNAL', 'Internal error', { details: { error_id } }));
  });
  return app;
}

const requestId = (c: Context) => {
  const given = c.req.header('x-request-id');
  return given && /^[\w.:-]{1,128}$/.test(given) ? given : uuid();
};

function check<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = issuesOf(result.error);
  const [first] = issues;
  throw new GatewayError('VALIDATION_FAILED', `${where}: ${first?.path ? `${first.path}: ` : ''}${first?.message}`, {
    details: { issues },
  });
}

async function readJson(c: Context, maxBytes: number, optional: boolean): Promise<unknown> {
  const text = await readText(c.req.raw, maxBytes);
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (optional && text === '') return {};
  if (type !== 'application/json') throw new GatewayError('UNSUPPORTED_MEDIA_TYPE', 'the body must be application/json');
  if (tooDeep(text)) throw new GatewayError('INVALID_JSON', `nested deeper than ${maxDepth}`);
  try {
    return JSON.parse(text);
  } catch {
    throw new GatewayError('INVALID_JSON', 'the body is not JSON');
  }
}

/** Reads a body up to a limit. @throws GatewayError PAYLOAD_TOO_LARGE */
export async function readText(request: Request, maxBytes: number): Promise<string> {
  const tooLarge = () => new GatewayError('PAYLOAD_TOO_LARGE', `the body is larger than ${maxBytes} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
