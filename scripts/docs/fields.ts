import { bodySchema, type JsonSchema } from '../../protocol/json-schema.ts';
import { allMessages, type Message } from '../../protocol/messages.ts';
import { endReasons, serviceStatuses, statuses } from '../../protocol/states.ts';

/** Lists that stand in PROTOCOL.md once, by what a field that holds one of them is called. */
const named: [word: string, values: readonly string[]][] = [
  ['session status', statuses],
  ['service status', serviceStatuses],
  ['end reason', endReasons],
];

const number = (value: number) => value.toLocaleString('en-US');
const code = (value: unknown) => `\`${JSON.stringify(value)}\``;

const anyOf = (words: string[]) => (words.length > 1 ? `${words.slice(0, -1).join(', ')} or ${words.at(-1)}` : (words[0] ?? ''));

/** `1 to 64`, `at least 1`, `at most 64`; empty where nothing is said. */
function range(min: number | undefined, max: number | undefined): string {
  if (min !== undefined && max !== undefined) return `${number(min)} to ${number(max)}`;
  if (min !== undefined) return `at least ${number(min)}`;
  return max !== undefined ? `at most ${number(max)}` : '';
}

const wordsWithRange = (word: string, bounds: string, unit = '') => (bounds ? `${word}, ${bounds}${unit}` : word);

/** A field's type in plain words. */
export function words(field: JsonSchema): string {
  if (field.const !== undefined) return code(field.const);
  const { enum: values } = field;
  if (values) return named.find(([, list]) => list.join() === values.join())?.[0] ?? anyOf(values.map(code));
  if (field.anyOf) return anyOf(field.anyOf.map(words));
  switch (field.type) {
    case 'string':
      if (field.format === 'date-time') return 'time';
      // a minimum of 0 says nothing
      return wordsWithRange('string', range(field.minLength || undefined, field.maxLength), ' characters');
    case 'integer':
      return wordsWithRange('whole number', range(field.minimum, field.maximum));
    case 'number':
      return wordsWithRange('number', range(field.minimum, field.maximum));
    case 'array': {
      const { items = {}, maxItems } = field;
      const kinds = (items.anyOf ?? [items]).map(({ type }) => `${type}s`);
      const of = [...(maxItems === undefined ? [] : [`at most ${number(maxItems)}`]), anyOf(kinds)].join(' ');
      const bounds = items.type === 'string' ? range(items.minLength || undefined, items.maxLength) : '';
      return wordsWithRange(`list of ${of}`, bounds, ' characters each');
    }
    case 'object':
      return typeof field.additionalProperties === 'object' ? `object; each value: ${words(field.additionalProperties)}` : 'object';
    default:
      return String(field.type ?? 'anything');
  }
}

/** The default of a message's own field; JSON Schema leaves out those of fields that are rewritten while they are checked. */
export function defaultOf({ body }: Message, field: string): unknown {
  const def = body.shape[field]?.def as { type?: string; defaultValue?: unknown } | undefined;
  return def?.type === 'default' ? def.defaultValue : undefined;
}

function rows(message: Message, object: JsonSchema, prefix = ''): string[][] {
  return Object.entries(object.properties ?? {}).flatMap(([name, field]) => {
    const fallback = prefix === '' ? defaultOf(message, name) : undefined;
    const required = object.required?.includes(name) && fallback === undefined;
    const need = required ? 'required' : fallback === undefined ? 'optional' : `default ${code(fallback)}`;
    const inner =
      field.type === 'array' ? rows(message, field.items ?? {}, `${prefix}${name}[].`) : rows(message, field, `${prefix}${name}.`);
    return [[`\`${prefix}${name}\``, words(field), need, field.description ?? ''], ...inner];
  });
}

export const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;

/** The table of a message's fields, those inside of objects and lists by their path. */
export function fieldTable(message: Message): string {
  const body = rows(message, bodySchema(message));
  if (body.length === 0) return 'No fields.';
  return [line(['Field', 'Type', 'Required', 'Meaning']), '|---|---|---|---|', ...body.map(line)].join('\n');
}

/**
 * Fills each `<!-- fields:Name -->` ... `<!-- /fields -->` with the table of that message.
 * @throws Error a marker names no message, or has no end
 */
export function fillTables(markdown: string): string {
  const opened = markdown.match(/<!-- fields:/g)?.length ?? 0;
  let filled = 0;
  const text = markdown.replace(/<!-- fields:(\w+) -->\n(?:(?!<!-- fields:)[\s\S])*?<!-- \/fields -->/g, (_, name: string) => {
    const message = allMessages.find((candidate) => candidate.name === name);
    if (!message) throw new Error(`<!-- fields:${name} -->: there is no such message`);
    filled += 1;
    return `<!-- fields:${name} -->\n${fieldTable(message)}\n<!-- /fields -->`;
  });
  if (filled !== opened) throw new Error('a <!-- fields:... --> marker has no <!-- /fields -->');
  return text;
}
