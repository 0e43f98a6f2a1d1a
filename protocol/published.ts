import { frameSchema, type JsonSchema } from './json-schema.ts';
import { allMessages } from './messages.ts';
import { availabilities, serviceStatuses, shareRoles, statuses, visibilities } from './states.ts';

/** Where schemas of a document stand under their names, by the prefix of their references. */
export interface Named {
  prefix: string;
  schemas: Record<string, JsonSchema>;
  /**
   * For generators of clients: of a choice between a text and an object only its description is left, which most of them cannot
   * compile, and lists of words have no names, whose words would be constants of one name space.
   */
  plain?: true;
}

/** Lists of words that many messages use, by their words. */
const lists = new Map([
  [statuses.join(), 'SessionStatus'],
  [serviceStatuses.join(), 'ServiceState'],
  [availabilities.join(), 'Availability'],
  [visibilities.join(), 'Visibility'],
  [shareRoles.join(), 'ShareRole'],
]);

export const pascal = (name: string) => name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * A schema as the programs that generate code from schemas can read it. It takes everything that the original takes.
 * @param name of the schema; what stands inside has one made of it and of the field
 * @param named takes each object with fields under its title or name, and a reference takes its place; absent: all stays where it is
 */
export function published(schema: JsonSchema, name: string, named?: Named): JsonSchema {
  const { properties, items, anyOf, additionalProperties, ...rest } = inWords(merged(schema));
  const title = schema.title ?? lists.get(schema.enum?.join() ?? '') ?? name;
  const inner = (part: JsonSchema, partName: string) => published(part, `${title}${partName}`, named);
  const out: JsonSchema = { ...rest };
  if (properties) {
    // of two spellings of a field only one can be a field of a class
    const known = Object.entries(properties).filter(([key]) => snake(key) === key || !(snake(key) in properties));
    out.properties = Object.fromEntries(known.map(([key, part]) => [key, inner(part, pascal(key))]));
  }
  if (items) out.items = published(items, title.endsWith('s') ? title.slice(0, -1) : `${title}Item`, named);
  // no two of them take the same value
  if (anyOf && !named?.plain) out.oneOf = anyOf.map((part) => inner(part, part.title ?? pascal(String(part.type))));
  if (typeof additionalProperties === 'object') out.additionalProperties = inner(additionalProperties, 'Value');
  // to many programs what is said of the fields without a name holds for those with one as well
  if (properties && out.additionalProperties) out.additionalProperties = {};
  const hasName = out.properties || (!named?.plain && out.enum && out.enum.length > 1) || (out.oneOf && schema.title);
  if (!named || !hasName) return out;
  const there = named.schemas[title];
  const { description, ...said } = out;
  const one = { title, ...said };
  if (there && JSON.stringify({ ...there, description: undefined }) !== JSON.stringify(one))
    throw new Error(`two schemas are named ${title}`);
  named.schemas[title] = there ?? { ...one, ...(description !== undefined && { description }) };
  return { $ref: `${named.prefix}${title}`, ...(description !== undefined && { description }) };
}

/** Every frame under the name of its message, and what several of them hold. */
export function frameSchemas(prefix: string): Record<string, JsonSchema> {
  const named: Named = { prefix, schemas: {} };
  for (const message of allMessages) published(frameSchema(message), message.name, named);
  return named.schemas;
}

const scalars = ['string', 'integer', 'number', 'boolean', 'null'];

/** With alternatives that programs can distinguish: a list of types where each is a single value, else anything where one is a list. */
function merged(schema: JsonSchema): JsonSchema {
  const { anyOf, ...rest } = schema;
  if (!anyOf) return schema;
  const [first, second] = anyOf;
  // an empty text is taken for none
  if (anyOf.length === 2 && first?.const === '' && second?.type === 'string') return { ...second, minLength: 0, ...rest };
  const types = anyOf.map(({ type }) => String(type));
  const isOneOrNull = types.length === 2 && types.includes('null');
  if (isOneOrNull || types.every((type) => scalars.includes(type))) return { ...Object.assign({}, ...anyOf), type: types, ...rest };
  return types.includes('array') ? rest : schema;
}

/** Of a default and of a list that may grow only the description: a program that is generated would send the one and refuse what is new in the other. */
function inWords(schema: JsonSchema): JsonSchema {
  const { default: fallback, mayGrow, ...rest } = schema;
  const said = [rest.description];
  if (fallback !== undefined) said.push(`Default: ${JSON.stringify(fallback)}`);
  if (mayGrow) {
    said.push(`One of ${rest.enum?.join(', ')}; later gateways may have more`);
    delete rest.enum;
  }
  return said.length === 1 ? rest : { ...rest, description: said.filter(Boolean).join('. ') };
}
