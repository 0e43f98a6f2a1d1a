import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bodySchema, frameSchema } from '../../protocol/json-schema.ts';
import { allMessages } from '../../protocol/messages.ts';
import { PROTOCOL_VERSION } from '../../protocol/version.ts';
import { fieldTable, fillTables, words } from '../../scripts/docs/fields.ts';
import { schema } from '../../scripts/docs/schema.ts';
import { generated, stale } from '../../scripts/docs.ts';

const pinned = JSON.parse(readFileSync(new URL('../../protocol/schema.json', import.meta.url), 'utf8'));

const message = (type: string) => {
  const found = allMessages.find((candidate) => candidate.type === type);
  if (!found) throw new Error(`no message ${type}`);
  return found;
};

test('the schema of the code is the pinned one', () => {
  const hint = 'run npm run docs; and if an existing message changed its meaning, raise PROTOCOL_VERSION';
  expect(JSON.parse(JSON.stringify(schema())), hint).toEqual(pinned);
});

test('the pinned schema names the protocol version', () => {
  expect(pinned.protocol).toBe(PROTOCOL_VERSION);
});

test.each(generated)('$path says what the code says', ({ path }) => {
  expect(
    stale().map((file) => file.path),
    'run npm run docs',
  ).not.toContain(path);
});

test('of all a peer is sent no two messages have the same type', () => {
  const types = allMessages.filter(({ direction }) => direction !== 'requests').map(({ type }) => type);
  expect(types).toHaveLength(new Set(types).size);
});

test('events have ts, and nothing else does', () => {
  for (const one of allMessages) expect('ts' in (frameSchema(one).properties ?? {}), one.name).toBe(one.direction === 'events');
});

test('no two messages have the same name', () => {
  const names = allMessages.map(({ name }) => name);
  expect(names).toHaveLength(new Set(names).size);
});

test('a request is described as it is sent: with a default a field is not required', () => {
  expect(bodySchema(message('RegisterServiceRequest')).required).toEqual(['service_id']);
});

test('what the gateway sends may grow: no schema forbids further fields', () => {
  expect(JSON.stringify(schema())).not.toContain('"additionalProperties":false');
});

test('a table shows type, default and meaning, also of fields inside a list', () => {
  const table = fieldTable(message('RegisterServiceRequest'));
  expect(table).toContain(
    "| `service_id` | string, 1 to 128 characters | required | The service's id, which is also its identity in the room |",
  );
  expect(table).toContain('| `held` | list of at most 1,000 objects | default `[]` |');
  expect(table).toContain('| `held[].assignment_id` | string, 1 to 64 characters | required |');
});

test.each(allMessages)('every field of $name has a meaning', (one) => {
  expect(fieldTable(one)).not.toMatch(/\|\s*\|$/m);
});

test.each([
  [{ const: true }, '`true`'],
  [{ enum: ['a', 'b', 'c'] }, '`"a"`, `"b"` or `"c"`'],
  [{ type: 'integer', minimum: 0 }, 'whole number, at least 0'],
  [{ type: 'number', minimum: 1, maximum: 3_600 }, 'number, 1 to 3,600'],
  [{ type: 'string', format: 'date-time' }, 'time'],
  [{ type: 'object', additionalProperties: { anyOf: [{ type: 'number' }, { type: 'boolean' }] } }, 'object; each value: number or boolean'],
  [{}, 'anything'],
])('%j is said in plain words', (field, said) => {
  expect(words(field)).toBe(said);
});

test('a table is written between its markers, and the text around it stays', () => {
  const filled = fillTables('before\n<!-- fields:Ping -->\nold\n<!-- /fields -->\nafter\n');
  expect(filled).toBe(`before\n<!-- fields:Ping -->\n${fieldTable(message('Ping'))}\n<!-- /fields -->\nafter\n`);
  expect(fillTables(filled)).toBe(filled);
});

test('a marker that names no message is an error', () => {
  expect(() => fillTables('<!-- fields:Pnig -->\n<!-- /fields -->')).toThrow('no such message');
});

test('a marker without an end is an error', () => {
  expect(() => fillTables('<!-- fields:Ping -->\n\n<!-- fields:Pong -->\n<!-- /fields -->')).toThrow('has no');
});
