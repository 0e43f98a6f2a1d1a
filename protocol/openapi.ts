import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject, type ZodOpenApiResponseObject } from 'zod-openapi';
import { controls } from './controls.ts';
import { type ErrorCode, errors } from './errors.ts';
import { examples, refusal } from './examples.ts';
import { titled, word } from './fields.ts';
import { type JsonSchema, publicSchema } from './json-schema.ts';
import { type Named, published } from './published.ts';
import { commonErrors, type Operation, type RouteRow, routes } from './rest.ts';

const json = 'application/json';
const error = controls.Error.body.extend({
  code: word(Object.keys(errors) as [ErrorCode, ...ErrorCode[]]).describe('The error code; for programs'),
});

titled('ErrorResponse', error);

/** The first part of a path that says what it is about. */
function tagOf(path: string): string {
  if (path.startsWith('/livekit')) return 'livekit';
  if (path.startsWith('/api/v1/microservices')) return 'microservices';
  return path.startsWith('/api/v1') ? 'sessions' : 'system';
}

/** What may be refused, by HTTP status. */
function refusals(codes: readonly ErrorCode[]): Record<string, ZodOpenApiResponseObject> {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of codes) byStatus.set(errors[code].status, (byStatus.get(errors[code].status) ?? new Set()).add(code));
  return Object.fromEntries(
    [...byStatus].map(([status, possible]) => [
      status,
      {
        description: [...possible].join(', '),
        content: {
          [json]: { schema: error, example: { ...refusal, code: [...possible][0], error: errors[[...possible][0] as ErrorCode].error } },
        },
      },
    ]),
  );
}

function operation(operationId: Operation, row: RouteRow): ZodOpenApiOperationObject {
  const { params: path, query, headers: header } = row;
  const example = examples[operationId];
  const refused = refusals([...row.errors, ...commonErrors]);
  const reply = (description: string, shown: object): ZodOpenApiResponseObject => ({
    description,
    content: { [json]: { schema: row.reply, example: shown } },
  });
  return {
    operationId,
    tags: [tagOf(row.path)],
    summary: row.about,
    ...((path || query || header) && { requestParams: { ...(path && { path }), ...(query && { query }), ...(header && { header }) } }),
    ...(row.body && {
      requestBody: { required: row.bodyOptional !== true, content: { [json]: { schema: row.body, example: example.body } } },
    }),
    responses: {
      [row.status]: reply('Done', example.reply),
      ...refused,
      // with the same body as when it succeeds
      ...(row.statusOf && { 503: reply(`Not now, ${refused[503]?.description}`, { ...example.reply, ready: false }) }),
    } as ZodOpenApiOperationObject['responses'],
  };
}

const documentOperation = (operationId: string, summary: string): ZodOpenApiOperationObject => ({
  operationId,
  tags: ['system'],
  summary,
  responses: {
    200: { description: 'The document', content: { [json]: { schema: { type: 'object' }, example: {} } } },
    ...refusals(commonErrors),
  } as ZodOpenApiOperationObject['responses'],
});

/** Endpoints that are not rows: what they take and answer is not JSON of ours. */
const others: ZodOpenApiPathsObject = {
  '/livekit/webhook': {
    post: {
      operationId: 'livekitWebhook',
      tags: ['livekit'],
      summary: "Receives LiveKit's webhooks. A webhook is only used as a trigger to poll LiveKit.",
      security: [{ livekit: [] }],
      requestBody: {
        required: true,
        content: { 'application/webhook+json': { schema: { type: 'object' }, example: { event: 'room_finished', id: 'EV_9fQ2' } } },
      },
      responses: {
        200: {
          description: 'Done',
          content: { [json]: { schema: z.object({ success: z.literal(true).describe('Always true') }), example: { success: true } } },
        },
        ...refusals(['UNAUTHENTICATED', ...commonErrors]),
      } as ZodOpenApiOperationObject['responses'],
    },
  },
  '/openapi.json': { get: documentOperation('openapi', 'This document.') },
  '/asyncapi.json': { get: documentOperation('asyncapi', 'The messages of /ws, as AsyncAPI.') },
};

/** The `servers` of the document, by where it is served. */
export const openapiServers = (url: string) => [{ url }];

/** The REST side as an OpenAPI document, as served at localhost:8080. `version`: the gateway's own. */
export function openapi(version: string): object {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const [operationId, row] of Object.entries(routes) as [Operation, RouteRow][]) {
    paths[row.path] = { ...paths[row.path], [row.method]: operation(operationId, row) };
  }
  const document = createDocument(
    {
      openapi: '3.1.0',
      info: {
        title: 'Session Gateway',
        version,
        description: 'The REST side of the gateway. A call that names no user_identity is the operator’s. The socket side: /asyncapi.json.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: openapiServers('http://localhost:8080'),
      tags: [
        { name: 'system', description: 'The gateway itself' },
        { name: 'microservices', description: 'The services that join rooms' },
        { name: 'sessions', description: 'Sessions and their tokens' },
        { name: 'livekit', description: 'What LiveKit and its SDKs call' },
      ],
      paths: { ...paths, ...others } as ZodOpenApiPathsObject,
      components: {
        securitySchemes: {
          livekit: {
            type: 'apiKey',
            in: 'header',
            name: 'Authorization',
            description: 'A JWT that LiveKit signed over the raw body, without the word Bearer',
          },
        },
      },
    },
    { override: publicSchema },
  );
  return withNames(document);
}

type Content = { content?: Record<string, { schema?: JsonSchema }> };
interface Written {
  operationId: string;
  parameters?: { name: string; schema: JsonSchema }[];
  requestBody?: Content;
  responses: Record<string, Content>;
}

/** The document with each body under its own name, as code is generated from it. */
function withNames(document: ReturnType<typeof createDocument>) {
  const named: Named = { prefix: '#/components/schemas/', schemas: {}, plain: true };
  const name = ({ content = {} }: Content, as: string) => {
    for (const media of Object.values(content)) if (media.schema) media.schema = published(media.schema, as, named);
  };
  for (const operations of Object.values(document.paths ?? {}) as Record<string, Written>[]) {
    for (const { operationId, parameters = [], requestBody = {}, responses } of Object.values(operations)) {
      const as = `${operationId[0]?.toUpperCase()}${operationId.slice(1)}`;
      for (const parameter of parameters) parameter.schema = published(parameter.schema, `${as}Parameter`);
      name(requestBody, `${as}Body`);
      for (const response of Object.values(responses)) name(response, `${as}Reply`);
    }
  }
  return { ...document, components: { ...document.components, schemas: named.schemas } };
}
