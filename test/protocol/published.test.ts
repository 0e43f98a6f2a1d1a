import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { JsonSchema } from '../../protocol/json-schema.ts';
import { type Named, published } from '../../protocol/published.ts';
import { endReasons } from '../../protocol/states.ts';

const read = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, '../../protocol', name), 'utf8'));
const documents: [string, Record<string, JsonSchema>][] = [
  ['schema.json', read('schema.json').$defs],
  ['openapi.json', read('openapi.json').components.schemas],
  ['asyncapi.json', read('asyncapi.json').components.schemas],
];

const inner = ({ properties = {}, items, anyOf = [], oneOf = [], additionalProperties }: JsonSchema): JsonSchema[] => [
  ...Object.values(properties),
  ...(items ? [items] : []),
  ...anyOf,
  ...oneOf,
  ...(typeof additionalProperties === 'object' ? [additionalProperties] : []),
];
const all = (schema: JsonSchema): JsonSchema[] => [schema, ...inner(schema).flatMap(all)];

// each of these broke the code that somebody's program made of the documents
describe.each(documents)('in %s', (_, schemas) => {
  const everywhere = Object.values(schemas).flatMap(all);

  test('each object with fields has a name, and is found under its title', () => {
    for (const [name, schema] of Object.entries(schemas)) expect(schema.title).toBe(name);
    expect(
      Object.values(schemas)
        .flatMap(inner)
        .flatMap(all)
        .filter(({ properties }) => properties),
    ).toEqual([]);
  });

  test('no name is another one behind New, which is what constructors are called', () => {
    expect(Object.keys(schemas).filter((name) => `New${name}` in schemas)).toEqual([]);
  });

  test('alternatives exclude each other, and none is null or a list', () => {
    expect(everywhere.filter(({ anyOf }) => anyOf)).toEqual([]);
    const types = everywhere.flatMap(({ oneOf = [] }) => oneOf.map(({ type }) => type));
    expect(types.filter((type) => type === 'null' || type === 'array')).toEqual([]);
  });

  test('no object has two spellings of a field', () => {
    const plain = (key: string) => key.replaceAll('_', '').toLowerCase();
    for (const { properties = {} } of everywhere) {
      const keys = Object.keys(properties).map(plain);
      expect(keys).toHaveLength(new Set(keys).size);
    }
  });

  test('what is said of the fields without a name holds for those with one', () => {
    const open = everywhere.filter(({ properties, additionalProperties }) => properties && additionalProperties !== undefined);
    expect(open.length).toBeGreaterThan(0);
    for (const { additionalProperties } of open) expect(additionalProperties).toEqual({});
  });

  test('no field is filled in by whoever leaves it out', () => {
    expect(everywhere.filter((schema) => schema.default !== undefined)).toEqual([]);
  });

  test('why a session ended may be a word of a later gateway', () => {
    const reasons = everywhere.filter(({ description }) => description?.includes('client_ended'));
    expect(reasons.length).toBeGreaterThan(0);
    for (const { enum: words, description } of reasons) {
      expect(words).toBeUndefined();
      for (const reason of endReasons) expect(description).toContain(reason);
    }
  });
});

test('two schemas of one name are refused', () => {
  const named: Named = { prefix: '#/', schemas: {} };
  const object = (field: string): JsonSchema => ({ title: 'One', type: 'object', properties: { [field]: {} } });
  expect(published(object('a'), 'x', named)).toEqual({ $ref: '#/One' });
  expect(published({ ...object('a'), description: 'here' }, 'y', named)).toEqual({ $ref: '#/One', description: 'here' });
  expect(() => published(object('b'), 'z', named)).toThrow('two schemas are named One');
});

test.each([
  [{ anyOf: [{ type: 'string', maxLength: 3 }, { type: 'null' }] }, { type: ['string', 'null'], maxLength: 3 }],
  [{ anyOf: [{ type: 'array', items: {} }, { type: 'null' }] }, { type: ['array', 'null'], items: {} }],
  [{ anyOf: [{ type: 'string' }, { type: 'array', items: {} }], description: 'one or many' }, { description: 'one or many' }],
  [{ anyOf: [{ const: '' }, { type: 'string', minLength: 1 }] }, { type: 'string', minLength: 0 }],
  [
    { type: 'integer', default: 0, description: 'How many' },
    { type: 'integer', description: 'How many. Default: 0' },
  ],
  [{ enum: ['a', 'b'], mayGrow: true }, { description: 'One of a, b; later gateways may have more' }],
  [{ properties: { agent_name: {}, agentName: {} } }, { properties: { agent_name: {} } }],
] as [JsonSchema, JsonSchema][])('%j is published as %j', (schema, wanted) => {
  expect(published(schema, 'x')).toEqual(wanted);
});
