import { z } from 'zod';
import { requestId, sessionId } from '../../protocol/fields.ts';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '../../protocol/version.ts';
import { allMessages, bodySchema, type Direction, directions, type JsonSchema, type Message } from './messages.ts';

const draft = 'https://json-schema.org/draft/2020-12/schema';

const plain = (schema: z.ZodType): JsonSchema => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest as JsonSchema;
};

/** What stands around the fields of a message. */
function envelope({ direction, type }: Message): { properties: Record<string, JsonSchema>; required: string[] } {
  const properties: Record<string, JsonSchema> = { type: { const: type } };
  if (direction === 'requests' || direction === 'answers' || type === 'Error') properties.id = plain(requestId);
  if (direction !== 'events') return { properties, required: ['type'] };
  properties.seq = { type: 'integer', minimum: 1 };
  properties.ts = { type: 'string', format: 'date-time' };
  properties.session_id = plain(sessionId);
  return { properties, required: Object.keys(properties) };
}

/** The JSON Schema of a whole frame. Rules between fields are not in it. */
export function frameSchema(message: Message): JsonSchema {
  const body = bodySchema(message);
  const { properties, required } = envelope(message);
  return {
    description: message.about,
    type: 'object',
    properties: { ...properties, ...body.properties },
    required: [...required, ...(body.required ?? [])],
  };
}

/** The wire contract as data: per direction and type the schema of its frame. */
export function schema() {
  const frames = Object.fromEntries(directions.map((direction) => [direction, {} as Record<string, JsonSchema>]));
  for (const message of allMessages) (frames[message.direction] as Record<string, JsonSchema>)[message.type] = frameSchema(message);
  return {
    $schema: draft,
    protocol: PROTOCOL_VERSION,
    subprotocol: SUBPROTOCOL,
    ...(frames as Record<Direction, Record<string, JsonSchema>>),
  };
}

/** protocol/schema.json. */
export const schemaFile = () => `${JSON.stringify(schema(), null, 2)}\n`;
