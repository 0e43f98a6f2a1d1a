import { type ZodObject, z } from 'zod';
import { answers } from './answers.ts';
import { commands } from './commands.ts';
import { controls } from './controls.ts';
import { events } from './events.ts';
import { requestId, sessionId } from './fields.ts';
import { notices } from './notices.ts';
import { requests } from './requests.ts';

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

/** Every message, by direction and type. */
export const messages = { requests, answers, events, commands, notices, controls } satisfies Record<
  string,
  Record<string, { about: string; body: ZodObject }>
>;
export type Direction = keyof typeof messages;
export const directions = Object.keys(messages) as Direction[];

export interface Message {
  direction: Direction;
  type: string;
  /** Its type; of a notice that passes a request on under the request's type, that with `Notice` behind it. */
  name: string;
  about: string;
  body: ZodObject;
}

/** Every message in the order of the code. */
export const allMessages: readonly Message[] = directions.flatMap((direction) =>
  Object.entries(messages[direction]).map(([type, { about, body }]) => {
    const name = direction === 'notices' && Object.hasOwn(requests, type) ? `${type}Notice` : type;
    return { direction, type, name, about, body };
  }),
);

/** Reduces a schema to what is published. Passed to zod as `override`. */
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

/** Whether a message carries the `id` of a request. */
export const hasId = ({ direction, type }: Message) => direction === 'requests' || direction === 'answers' || type === 'Error';

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
