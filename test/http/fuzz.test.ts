import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc, { type Arbitrary } from 'fast-check';
import { Agent, request } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { controls } from '../../protocol/controls.ts';
import { openapi } from '../../protocol/openapi.ts';
import { type RouteRow, routes } from '../../protocol/rest.ts';
import { startGateway } from '../support/gateway.ts';
import { arbitrary } from '../support/schema.ts';

const requestCount = 10_000;
const atOnce = 16;

// biome-ignore lint/suspicious/noExplicitAny: a document is walked, not typed
type Json = any;
type Schema = Parameters<typeof arbitrary>[0];
const document = JSON.parse(JSON.stringify(openapi('0'))) as Json;

/** A schema with what it refers to in its place. */
function resolved(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(resolved);
  if (typeof schema !== 'object' || schema === null) return schema;
  if (schema.$ref) return resolved(document.components.schemas[schema.$ref.split('/').at(-1)]);
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(value)]));
}

interface Operation {
  name: string;
  method: string;
  path: string;
  query: [name: string, schema: Schema][];
  headers: [name: string, schema: Schema][];
  type: string | undefined;
  body: Schema | undefined;
  /** Codes of errors by status; a status that is a success has none. */
  replies: Map<number, Set<string>>;
}

const operations: Operation[] = Object.entries(document.paths as Json).flatMap(([path, methods]) =>
  Object.entries(methods as Json).map(([method, { operationId, parameters = [], requestBody, responses }]: [string, Json]) => {
    const named = (place: string) => parameters.filter((p: Json) => p.in === place).map((p: Json) => [p.name, resolved(p.schema)]);
    const [[type, content] = []] = Object.entries(requestBody?.content ?? {}) as [string, Json][];
    const codes = (response: Json) => response.description.split(', ');
    return {
      name: operationId,
      method: method.toUpperCase(),
      path,
      query: named('query'),
      headers: named('header'),
      type,
      body: content && resolved(content.schema),
      replies: new Map(Object.entries(responses).map(([status, response]) => [Number(status), new Set<string>(codes(response))])),
    };
  }),
);

interface Plan {
  operation: Operation;
  /** What stands in the path: the number of something that exists, or a text. */
  id: number | string;
  query: Record<string, unknown>;
  headers: Record<string, unknown>;
  /** Absent: none. */
  body: string | undefined;
  type: string | undefined;
}

const some = (fields: [string, Schema][]): Arbitrary<Record<string, unknown>> =>
  fc.record(Object.fromEntries(fields.map(([name, schema]) => [name, arbitrary(schema)])), { requiredKeys: [] });
const anyText = fc.string({ unit: 'binary', maxLength: 24 });

/** Written into bodies, and replaced by where the one service listens. */
const liveEndpoint = 'http://service.invalid';

/** Names that exist stand in for some of what is random, so that requests meet. */
const users = ['ada', 'grace'];
const meeting = (body: Json, [user, service, what]: [number, number, number]): Json => {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const { workspace_dir, room_name, room, metadata, ...rest } = body;
  return {
    ...rest,
    // mostly none: random folders, limits and taken names are refused, and nothing would be made
    ...(what > 1 && metadata && { metadata: { ...metadata, duration_limit: 60 } }),
    ...(what <= 1 && metadata && { metadata }),
    ...(what <= 1 && room !== undefined && { room }),
    // a random text is mostly no absolute path
    ...(what === 0 && workspace_dir !== undefined && { workspace_dir: user < users.length ? '/elsewhere' : workspace_dir }),
    ...(what <= 1 && room_name !== undefined && { room_name }),
    ...('user_identity' in body && user < users.length && { user_identity: users[user] }),
    ...('service_id' in body && service < 3 && { service_id: 'asr' }),
    ...('endpoint' in body && { endpoint: service === 3 ? body.endpoint : liveEndpoint, instance_id: 'one' }),
    ...('required_services' in body && service < 3 && { required_services: service === 0 ? [{ type: 'ASR' }] : ['asr'] }),
    // a random selector is mostly an empty one, which is refused
    ...('optional_services' in body && what > 1 && { optional_services: [{ type: 'TTS' }] }),
    // a random version is never the right one, and a random value of metadata is mostly none
    ...(what > 1 && { if_version: undefined }),
    ...('metadata_updates' in body && what > 1 && { metadata_updates: { floor: what, robot: null } }),
    ...('target_user_id' in body && user < users.length && { target_user_id: users[user] }),
  };
};

/** What needs a session that lives, and its owner: both stand in for what is random half of the time. */
const needLive = ['updateSession', 'extendSession', 'shareSession', 'unshareSession', 'addMessage', 'getMessages'];

/** A body as its schema says, then with wrong fields, as other JSON, or cut. */
const bodies = (schema: Schema): Arbitrary<string> => {
  const right = fc.tuple(arbitrary(schema), fc.tuple(fc.nat(3), fc.nat(3), fc.nat(5))).map(([body, which]) => meeting(body, which));
  const names = [...Object.keys(schema.properties ?? {}), '__proto__', 'constructor'];
  const wrong = fc
    .tuple(right, fc.dictionary(fc.constantFrom(...names), fc.jsonValue(), { minKeys: 1, maxKeys: 2 }))
    .map(([body, fields]) => ({ ...body, ...fields }));
  return fc.oneof(
    { weight: 6, arbitrary: right.map((body) => JSON.stringify(body)) },
    { weight: 3, arbitrary: wrong.map((body) => JSON.stringify(body)) },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 20 }).map((value) => JSON.stringify(value)) },
    {
      weight: 1,
      arbitrary: fc.tuple(right, fc.nat()).map(([body, at]) => JSON.stringify(body).slice(0, at % JSON.stringify(body).length)),
    },
    { weight: 1, arbitrary: anyText },
  );
};

const planOf = (operation: Operation): Arbitrary<Plan> =>
  fc.record({
    operation: fc.constant(operation),
    id: fc.oneof({ weight: 3, arbitrary: fc.nat() }, { weight: 1, arbitrary: anyText }),
    query: fc.oneof(
      { weight: 5, arbitrary: some(operation.query) },
      { weight: 1, arbitrary: fc.dictionary(fc.constantFrom('x', ...operation.query.map(([name]) => name)), anyText, { maxKeys: 3 }) },
    ),
    headers: some(operation.headers),
    body: operation.body
      ? fc.option(bodies(operation.body), { freq: 12, nil: undefined })
      : fc.option(anyText, { freq: 1, nil: undefined }).map((body) => (operation.method === 'POST' ? body : undefined)),
    type: fc.oneof(
      { weight: 12, arbitrary: fc.constant(operation.type) },
      { weight: 1, arbitrary: fc.constantFrom('text/plain', 'application/xml', 'application/json; charset=utf-8', 'APPLICATION/JSON', '') },
    ),
  });

/** A service that takes every session. */
async function service(): Promise<string> {
  const server = createServer((asked, response) => {
    asked.resume().on('end', () => response.end('{"accepted":true}'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const header = (value: unknown) =>
  String(value)
    .replace(/[^\x21-\x7e]/g, '')
    .padEnd(1, 'k');

test(`${requestCount} random requests made from openapi.json: each is answered as documented`, { timeout: 600_000 }, async () => {
  const { url, holds, clock } = await startGateway();
  const agent = new Agent({ connections: atOnce });
  onTestFinished(() => agent.destroy());
  const endpoint = await service();
  const ids: Record<'sessions' | 'microservices', string[]> = { sessions: [], microservices: ['asr', 'tts-1', '60'] };
  /** Ada's, and mostly not ended yet. */
  let live = 'none';
  /** Successes by operation, and refusals by code. */
  const seen = new Map<string, number>();
  const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);

  const call = async (operation: Operation, path: string, body?: string, headers: Record<string, string> = {}) => {
    const answer = await request(`${url}${path}`, {
      dispatcher: agent,
      method: operation.method as 'GET',
      headers,
      ...(body !== undefined && { body }),
    });
    const text = await answer.body.text();
    const shown = `${operation.method} ${path} ${body ?? ''} -> ${answer.statusCode} ${text}`;
    expect([...operation.replies.keys()], shown).toContain(answer.statusCode);
    const reply = JSON.parse(text) as Json;
    if (answer.statusCode < 300) {
      count(operation.name);
      const row: RouteRow | undefined = Object.hasOwn(routes, operation.name) ? routes[operation.name as keyof typeof routes] : undefined;
      const fits = row?.reply.safeParse(reply);
      if (fits?.error) throw new Error(`not as documented: ${shown} ${fits.error.message}`);
    } else {
      const error = controls.Error.body.safeParse(reply);
      if (!error.success) throw new Error(`not an Error: ${shown}`);
      expect(operation.replies.get(answer.statusCode), shown).toContain(error.data.code);
      expect(error.data.code, shown).not.toBe('INTERNAL');
      count(error.data.code);
    }
    const made = answer.statusCode === 201 && (reply.session_id ?? reply.room_name?.replace(/^room-/, ''));
    // a token or a message is made of a session that is there
    if (made && !ids.sessions.includes(made)) ids.sessions.push(made);
    return reply;
  };

  const named = (name: string) => operations.find((operation) => operation.name === name) as Operation;
  const json = { 'content-type': 'application/json' };
  /** Random requests take the service from the registry: it is put back, with a session that waits for it to be ready. */
  const putBack = async () => {
    const { items } = await call(named('listServices'), '/api/v1/microservices');
    if (!items.some((item: Json) => item.service_id === 'asr' && item.availability === 'available')) {
      const body = { service_id: 'asr', instance_id: 'one', endpoint, metadata: { type: 'ASR' } };
      await call(named('registerService'), '/api/v1/microservices/register', JSON.stringify(body), json);
    }
    const body = { user_identity: 'ada', required_services: ['asr'] };
    const { session_id } = await call(named('createSessionAtOnce'), '/api/v1/create-session', JSON.stringify(body), json);
    live = session_id ?? live;
  };

  const run = async ({ operation, id, query: asked, headers, body, type }: Plan) => {
    const onLive = typeof id === 'number' && id % 2 === 0 && needLive.includes(operation.name);
    const query: Record<string, unknown> = onLive ? { ...asked, user_identity: 'ada' } : { ...asked };
    // mostly another one than the body's, which is refused
    if (operation.name.startsWith('createSession') && typeof id === 'number') delete query.user_identity;
    const known = operation.path.includes('microservices') ? ids.microservices : ids.sessions;
    // the newest, for the others have mostly ended
    const recent = typeof id === 'string' ? id : (known.at(-1 - (id % Math.min(known.length || 1, 24))) ?? 'none');
    const place = onLive ? live : recent;
    const target = typeof id === 'string' ? id : (users[id % users.length] ?? '');
    let sent = body?.replace(liveEndpoint, endpoint);
    const wait = query.wait ?? (operation.name === 'createSession' ? 'ready' : 'none');
    if (wait === 'ready') sent = waitingForNothing(sent);
    const search = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value).toWellFormed()]));
    const inPath = (text: string) => encodeURIComponent(text.toWellFormed());
    const filled = operation.path.replace('{id}', () => inPath(place)).replace('{target_user_id}', () => inPath(target));
    const path = `${filled}${search.size > 0 ? `?${search}` : ''}`;
    const given = Object.entries(headers).map(([name, value]) => [name, header(value)]);
    await call(operation, path, sent, { ...(type && sent !== undefined && { 'content-type': type }), ...Object.fromEntries(given) });
  };

  /** Time hardly moves here: what waits for a service would wait for very long. */
  const waitingForNothing = (body: string | undefined): string | undefined => {
    try {
      const value = JSON.parse(body ?? '') as Json;
      return JSON.stringify(
        typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value, required_services: [] } : value,
      );
    } catch {
      return body;
    }
  };

  // those that need a session in the right state more often
  const often = ['createSession', 'createSessionAtOnce', 'serviceReady', 'sessionToken', 'updateSession'];
  const kinds = operations.map((operation) => ({ weight: often.includes(operation.name) ? 3 : 1, arbitrary: planOf(operation) }));
  const plans = fc.sample(fc.oneof(...kinds), { numRuns: requestCount, seed: 7 });
  let next = 0;
  const worker = async () => {
    for (let plan = plans[next++]; plan; plan = plans[next++]) {
      if (next % 20 === 0) await putBack();
      if (next % 200 === 0) await clock.advance(1_000);
      await run(plan);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));

  if (process.env.TEST_LOG) console.log(seen, ids.sessions.length);
  // the requests reached every part: a fuzz that is refused at the door proves nothing
  // nobody signs webhooks here, and where nothing authenticates there are no keys to read
  const never = ['livekitWebhook', 'reloadKeys'];
  for (const { name } of operations.filter(({ name }) => !never.includes(name))) expect(seen.get(name) ?? 0, name).toBeGreaterThan(10);
  for (const code of [
    'INVALID_JSON',
    'VALIDATION_FAILED',
    'UNSUPPORTED_MEDIA_TYPE',
    'UNAUTHENTICATED',
    'SESSION_NOT_FOUND',
    'SERVICE_NOT_FOUND',
    'ASSIGNMENT_NOT_FOUND',
    'ILLEGAL_STATE',
    'WORKSPACE_FORBIDDEN',
    'ROOM_NAME_IN_USE',
    'FORBIDDEN',
    'VERSION_CONFLICT',
  ])
    expect(seen.get(code) ?? 0, code).toBeGreaterThan(0);
  expect(holds()).toMatchObject({ sockets: 0, live_sessions: 0 });
});
