import { z } from 'zod';
import { requestId, sessionId } from './fields.ts';
import { hasId, type Message } from './messages.ts';

/** As much of a JSON Schema as the messages use. */
export interface JsonSchema {
  $ref?: string;
  title?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  format?: string;
  default?: unknown;
  description?: string;
  /** True of an enum to which later gateways may add. */
  mayGrow?: true;
}

/** Removes from a JSON Schema what is internal. Passed to zod as `override`. */
export function publicSchema({ jsonSchema }: { jsonSchema: object }): void {
  const schema: JsonSchema = jsonSchema;
  // a later gateway may add fields, and peers must take them
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  // says what `format` says, at the length of a paragraph
  if (schema.format === 'date-time') delete schema.pattern;
  // the bounds of what JavaScript can count
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}

/** The JSON Schema of a message's own fields: a request as it is sent, anything else as it is received. */
export const bodySchema = ({ direction, body }: Message): JsonSchema =>
  z.toJSONSchema(body, { io: direction === 'requests' ? 'input' : 'output', override: publicSchema }) as JsonSchema;

const inEnvelope = (schema: z.ZodType): JsonSchema => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest as JsonSchema;
};

const ignored: JsonSchema = {
  type: 'array',
  items: { type: 'string' },
  description: 'Fields of the request that its message does not have; only on a socket that offered the subprotocol',
};

/** What stands around the fields of a message. */
function envelope(message: Message): { properties: Record<string, JsonSchema>; required: string[] } {
  const properties: Record<string, JsonSchema> = { type: { const: message.type } };
  if (hasId(message)) properties.id = inEnvelope(requestId);
  if (message.direction === 'answers') properties.ignored = ignored;
  if (message.direction !== 'events') return { properties, required: ['type'] };
  properties.seq = { type: 'integer', minimum: 1 };
  properties.ts = { type: 'string', format: 'date-time' };
  properties.session_id = inEnvelope(sessionId);
  return { properties, required: Object.keys(properties) };
}

/** The JSON Schema of a whole frame. Rules between fields are not in it. */
export function frameSchema(message: Message): JsonSchema {
  const body = bodySchema(message);
  const { properties, required } = envelope(message);
  return {
    title: message.name,
    description: message.about,
    type: 'object',
    properties: { ...properties, ...body.properties },
    required: [...required, ...(body.required ?? [])],
  };
}
