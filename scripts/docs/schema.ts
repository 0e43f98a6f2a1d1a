import { allMessages, type Direction, directions, frameSchema, type JsonSchema } from '../../protocol/frames.ts';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '../../protocol/version.ts';

const draft = 'https://json-schema.org/draft/2020-12/schema';

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
