import { failureReasons } from '../../protocol/failures.ts';
import { bodySchema, type JsonSchema } from '../../protocol/json-schema.ts';
import { allMessages, type Direction, type Message } from '../../protocol/messages.ts';
import { pascal } from '../../protocol/published.ts';
import { type RequestRow, requests } from '../../protocol/requests.ts';
import { availabilities, endReasons, serviceStatuses, shareRoles, statuses, visibilities } from '../../protocol/states.ts';
import { defaultOf } from './fields.ts';

/** Lists of words that have their own type, by what it is called in the generated file. */
const lists: [type: string, values: readonly string[]][] = [
  ['Availability', availabilities],
  ['EndReason', endReasons],
  ['FailureReason', failureReasons],
  ['ServiceState', serviceStatuses],
  ['SessionStatus', statuses],
  ['ShareRole', shareRoles],
  ['Visibility', visibilities],
];

const head = `// Made by \`npm run docs\` from the rows of requests, answers, events and commands. What zod infers from those has the same types, but not the
// texts, which an editor is to show. They are no interfaces, as those cannot be given where any object of texts or JSON is taken.
import type { FailureReason } from './failures.ts';
import type { Availability, EndReason, ServiceStatus as ServiceState, Status as SessionStatus, ShareRole, Visibility } from './states.ts';
`;

/** By direction. What the gateway says of the connection itself is for the client libraries alone. */
const maps: Partial<Record<Direction, string>> = {
  requests: 'What each request is made with; what has a default may be left out.',
  answers: 'What each answer holds.',
  events: "What each event of a session's log holds.",
  commands: 'What the gateway asks of a service.',
  notices: 'Sent beside the log, without a place in it.',
};

const comment = (text: string, indent = '') => `${indent}/** ${text.replaceAll('*/', '* /')} */\n`;
const union = (types: string[]) => [...new Set(types)].join(' | ');
const literal = (value: unknown) => (typeof value === 'string' ? `'${value}'` : JSON.stringify(value));
const listed = (type: string) => (type.includes(' ') ? `(${type})[]` : `${type}[]`);

/** The types of one file, by their names in the order in which they are met. */
class Types {
  readonly #declared = new Map<string, string>();

  get text(): string {
    return [...this.#declared.values()].join('\n');
  }

  /** @throws Error two of the name differ */
  #declare(name: string, text: string): string {
    if ((this.#declared.get(name) ?? text) !== text) throw new Error(`two types are named ${name}`);
    this.#declared.set(name, text);
    return name;
  }

  message(message: Message): string {
    const { name, about } = message;
    const body = bodySchema(message);
    if (!body.title) return this.#declare(name, `${comment(about)}${this.#object(body, name, message)}`);
    return this.#declare(name, `${comment(about)}export type ${name} = ${this.#type(body, name)};\n`);
  }

  /** @param name of what stands inside and has none of its own */
  #type(schema: JsonSchema, name: string): string {
    if (schema.const !== undefined) return literal(schema.const);
    const { enum: values, anyOf, items, properties, additionalProperties: rest, title } = schema;
    if (values) return lists.find(([, list]) => list.join() === values.join())?.[0] ?? union(values.map(literal));
    if (anyOf) {
      const type = union(anyOf.map((part) => this.#type(part, name)));
      return title ? this.#declare(title, `export type ${title} = ${type};\n`) : type;
    }
    if (items) return listed(this.#type(items, title ?? `${name}Item`));
    if (typeof rest === 'object') {
      const value = this.#type(rest, `${name}Value`);
      // fields that are named for generators of code alone are as all the others
      const isMap = Object.values(properties ?? {}).every((field) => this.#type(field, name) === value);
      if (isMap) return `Record<string, ${value}>`;
    }
    if (properties) return this.#declare(title ?? name, this.#object(schema, title ?? name));
    const types = [schema.type ?? 'unknown'].flat().map((type) => (type === 'integer' ? 'number' : type));
    return union(types);
  }

  #object(schema: JsonSchema, name: string, message?: Message): string {
    const { properties = {}, required = [], additionalProperties: rest } = schema;
    const inside: string[] = [];
    // a service's handlers share it, and of a mapped type, as Readonly is, editors do not show the texts
    const readonly = message?.direction === 'commands' ? 'readonly ' : '';
    const fields = Object.entries(properties).map(([field, part]) => {
      const fallback = message && defaultOf(message, field);
      const type = this.#type(part, `${name}${pascal(field)}`);
      const isOptional = !required.includes(field) || (message?.direction === 'requests' && fallback !== undefined);
      inside.push(type);
      const words = [part.description ?? '', fallback === undefined ? '' : `Default on the wire: ${JSON.stringify(fallback)}`].filter(
        Boolean,
      );
      const said = words.length > 0 ? comment(words.join(words[0]?.endsWith('.') ? ' ' : '. '), '  ') : '';
      return `${said}  ${readonly}${field}${isOptional ? `?: ${type} | undefined` : `: ${type}`};\n`;
    });
    // TypeScript wants every named field to be one of the unnamed
    if (typeof rest === 'object') {
      const types = [...this.#type(rest, `${name}Value`).split(' | '), ...inside.flatMap((type) => type.split(' | '))];
      fields.push(`  [key: string]: ${union([...types, 'undefined'])};\n`);
    }
    return `export type ${name} = {\n${fields.join('')}};\n`;
  }
}

type Entry = [key: string, type: string, about: string];
const map = (name: string, about: string, entries: Entry[]) => {
  const fields = entries.map(([key, type, said]) => `${comment(said, '  ')}  ${key}: ${type};\n`);
  return `${comment(about)}export interface ${name} {\n${fields.join('')}}\n`;
};

/** protocol/types.ts. */
export function typesFile(): string {
  const types = new Types();
  const made = allMessages.filter(({ direction }) => maps[direction]).map((message) => ({ ...message, name: types.message(message) }));
  const byDirection = Object.entries(maps).map(([direction, about]) => {
    const own = made.filter((message) => message.direction === direction);
    return map(
      pascal(direction),
      about,
      own.map((message) => [message.type, message.name, message.about]),
    );
  });
  const replies = Object.entries<RequestRow>(requests).flatMap(([type, { reply }]) =>
    made.filter(({ direction, type }) => direction === 'answers' && type === reply).map(({ name, about }): Entry => [type, name, about]),
  );
  return [head, types.text, ...byDirection, map('Replies', 'The answer to each request that has one.', replies)].join('\n');
}
