import { frameSchema, type JsonSchema } from '../../protocol/json-schema.ts';
import { allMessages, type Direction, directions } from '../../protocol/messages.ts';
import { frameSchemas } from '../../protocol/published.ts';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '../../protocol/version.ts';

const prefix = '#/$defs/';
const draft = 'https://json-schema.org/draft/2020-12/schema';

/** The wire contract as data: per direction and type the schema of its frame, and all of them once more for programs that generate code. */
export function schema() {
  const frames = Object.fromEntries(directions.map((direction) => [direction, {} as Record<string, JsonSchema>]));
  for (const message of allMessages) (frames[message.direction] as Record<string, JsonSchema>)[message.type] = frameSchema(message);
  return {
    $schema: draft,
    protocol: PROTOCOL_VERSION,
    subprotocol: SUBPROTOCOL,
    ...(frames as Record<Direction, Record<string, JsonSchema>>),
    title: 'Frame',
    anyOf: allMessages.map(({ name }) => ({ $ref: `${prefix}${name}` })),
    $defs: frameSchemas(prefix),
  };
}

/** protocol/schema.json. */
export const schemaFile = () => `${JSON.stringify(schema(), null, 2)}\n`;
