import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, test } from 'vitest';
import { controls } from '../../protocol/controls.ts';
import { type ErrorCode, errors } from '../../protocol/errors.ts';
import { openapi } from '../../protocol/openapi.ts';
import { commonErrors, type RouteRow, routes } from '../../protocol/rest.ts';
import { version } from '../../src/version.ts';
import { startGateway } from '../support/gateway.ts';

interface Content {
  content?: Record<string, { example?: unknown }>;
}
interface Operation {
  operationId: string;
  summary: string;
  tags: string[];
  parameters?: { in: string; name: string; description?: string }[];
  requestBody?: { required: boolean } & Content;
  responses: Record<string, { description: string } & Content>;
}
const document = JSON.parse(JSON.stringify(openapi(version))) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
);
const rows = Object.entries(routes) as [string, RouteRow][];
/** Served beside the rows. */
const others = ['livekitWebhook', 'openapi', 'asyncapi'];

test('it is valid OpenAPI 3.1 by the official schema', async () => {
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

test('the validator refuses a document that is not', async () => {
  const broken = { ...structuredClone(document), paths: { '/health': { get: { responses: { 200: {} } } } } };
  expect((await new Validator().validate(broken)).valid).toBe(false);
});

test('every endpoint is in it, and no other', () => {
  expect(operations.map(({ operationId }) => operationId).sort()).toEqual([...rows.map(([name]) => name), ...others].sort());
});

describe.each(rows)('%s', (name, row) => {
  const operation = operations.find(({ operationId }) => operationId === name);

  test('stands under its method and path', () => {
    expect(operation).toMatchObject({ path: row.path, method: row.method, summary: row.about });
  });

  test('names each parameter and whether a body is needed', () => {
    const places = { path: row.params, query: row.query, header: row.headers };
    const wanted = Object.entries(places).flatMap(([place, schema]) => Object.keys(schema?.shape ?? {}).map((key) => `${place} ${key}`));
    expect((operation?.parameters ?? []).map((parameter) => `${parameter.in} ${parameter.name}`).sort()).toEqual(wanted.sort());
    expect(operation?.requestBody?.required).toBe(row.body && row.bodyOptional !== true);
  });

  test('has each error under its status, and no other status', () => {
    const codes: readonly ErrorCode[] = [...row.errors, ...commonErrors];
    const wanted = new Set([row.status, ...(row.statusOf ? [200, 503] : []), ...codes.map((code) => errors[code].status)].map(String));
    expect(new Set(Object.keys(operation?.responses ?? {}))).toEqual(wanted);
    for (const code of codes) expect(operation?.responses[errors[code].status]?.description).toContain(code);
  });
});

test('every parameter in a path is described', () => {
  for (const { path, parameters = [] } of operations) {
    const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
  }
});

test('every field and parameter has a meaning', () => {
  const silent: string[] = [];
  const look = (schema: unknown, path: string): void => {
    if (typeof schema !== 'object' || schema === null) return;
    for (const [key, value] of Object.entries(schema)) {
      if (key === 'properties' && !path.endsWith('allOf.1')) {
        for (const [field, body] of Object.entries(value as Record<string, { description?: string; $ref?: string }>)) {
          if (!body.description && !body.$ref) silent.push(`${path}.${field}`);
        }
      }
      look(value, `${path}.${key}`);
    }
  };
  look(document, '');
  for (const { operationId, parameters = [] } of operations) {
    for (const { name, description } of parameters) if (!description) silent.push(`${operationId} ${name}`);
  }
  expect(silent).toEqual([]);
});

test('what is used in many places has a name', () => {
  expect(Object.keys(document.components.schemas)).toEqual(
    expect.arrayContaining(['Session', 'Service', 'SessionRequest', 'ErrorResponse']),
  );
});

test('the gateway serves it, and the file says the same', async () => {
  const { url } = await startGateway();
  const response = await fetch(`${url}/openapi.json`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/json');
  const file = JSON.parse(readFileSync(new URL('../../protocol/openapi.json', import.meta.url), 'utf8'));
  expect(file.servers).toEqual([{ url: 'http://localhost:8080' }]);
  expect(await response.json(), 'run npm run docs').toEqual({ ...file, servers: [{ url }] });
});

test('behind TLS the served document says so', async () => {
  const { url } = await startGateway({ auth: { mode: 'none' } });
  const response = await fetch(`${url}/openapi.json`, { headers: { 'x-forwarded-proto': 'https' } });
  expect(await response.json()).toMatchObject({ servers: [{ url: url.replace('http:', 'https:') }] });
});

describe.each(operations)('$operationId', ({ operationId, requestBody, responses }) => {
  const media = [...(requestBody ? [requestBody] : []), ...Object.values(responses)].flatMap(({ content = {} }) => Object.values(content));

  test('shows an example of all that it takes and answers', () => {
    expect(media.length).toBeGreaterThan(0);
    for (const { example } of media) expect(example).toBeDefined();
  });

  test('has examples that are right', () => {
    const row = rows.find(([name]) => name === operationId)?.[1];
    const shown = Object.values(requestBody?.content ?? {}).map(({ example }) => example);
    for (const body of shown) row?.body?.parse(body);
    for (const [status, { content = {} }] of Object.entries(responses)) {
      const isReply = Number(status) === row?.status || (row?.statusOf && status === '503');
      for (const { example } of Object.values(content))
        (isReply ? row.reply : Number(status) >= 400 ? controls.Error.body : undefined)?.parse(example);
    }
  });
});
