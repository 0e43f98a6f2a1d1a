import type { ZodObject } from 'zod';
import { answers } from './answers.ts';
import { commands } from './commands.ts';
import { controls } from './controls.ts';
import { events } from './events.ts';
import { notices } from './notices.ts';
import { requests } from './requests.ts';

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

/** Whether a message carries the `id` of a request. */
export const hasId = ({ direction, type }: Message) => direction === 'requests' || direction === 'answers' || type === 'Error';
