import { type ZodObject, z } from 'zod';
import { answers } from '../../protocol/answers.ts';
import { commands, controls, events } from '../../protocol/events.ts';
import { requests } from '../../protocol/requests.ts';

/** As much of a JSON Schema as the messages use. */
export interface JsonSchema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
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
}

/** Every message, by direction and type. */
export const messages = { requests, answers, events, commands, controls } satisfies Record<
  string,
  Record<string, { about: string; body: ZodObject }>
>;
export type Direction = keyof typeof messages;
export const directions = Object.keys(messages) as Direction[];

/** The directions of what the gateway sends. */
export const sent = directions.filter((direction) => direction !== 'requests');

export interface Message {
  direction: Direction;
  type: string;
  about: string;
  body: ZodObject;
}

/** Every message in the order of the code. */
export const allMessages: readonly Message[] = directions.flatMap((direction) =>
  Object.entries(messages[direction]).map(([type, { about, body }]) => ({ direction, type, about, body })),
);

/** The JSON Schema of a message's own fields: a request as it is sent, anything else as it is received. */
export const bodySchema = ({ direction, body }: Message): JsonSchema =>
  z.toJSONSchema(body, {
    io: direction === 'requests' ? 'input' : 'output',
    override: ({ jsonSchema }) => {
      // a later gateway may add fields, and peers must take them
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      // says what `format` says, at the length of a paragraph
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
      // the bounds of what JavaScript can count
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  }) as JsonSchema;
