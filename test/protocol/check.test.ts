import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { check } from '../../protocol/check.ts';
import { allMessages } from '../../protocol/messages.ts';
import { parse } from '../../protocol/parse.ts';
import { routes } from '../../protocol/rest.ts';
import { configSchema } from '../../src/config.ts';

const rawWords = /^Invalid|^Too |expected|received/;
const lineOf = (type: string, fields: object) => {
  const parsed = parse(JSON.stringify({ type, ...fields }));
  return parsed.ok ? undefined : parsed.message;
};

test.each<[string, object, string]>([
  ['RegisterServiceRequest', {}, 'service_id: is required'],
  ['RegisterServiceRequest', { service_id: 7 }, 'service_id: must be a string'],
  ['RegisterServiceRequest', { service_id: '' }, 'service_id: must have at least 1 character'],
  ['NewSessionRequest', { user_identity: 'ada', resume_window_s: 1.5 }, 'resume_window_s: must be a whole number'],
  ['NewSessionRequest', { user_identity: 'ada', resume_window_s: -1 }, 'resume_window_s: must be at least 0'],
  ['NewSessionRequest', { user_identity: 'ada', resume_window_s: 3_601 }, 'resume_window_s: must be at most 3600'],
  ['NewSessionRequest', { user_identity: 'ada', room: 'yes' }, 'room: must be true or false'],
  ['NewSessionRequest', { user_identity: 'ada', metadata: [] }, 'metadata: must be an object'],
  ['NewSessionRequest', { user_identity: 'ada', required_services: 'asr' }, 'required_services: must be an array'],
  [
    'NewSessionRequest',
    { user_identity: 'ada', required_services: Array(33).fill('asr') },
    'required_services: must have at most 32 items',
  ],
  ['NewSessionRequest', { user_identity: 'ada', required_services: [7] }, 'required_services.0: must be a string or an object'],
  [
    'NewSessionRequest',
    { user_identity: 'ada', required_services: [{ type: '' }] },
    'required_services.0.type: must have at least 1 character',
  ],
  ['NewSessionRequest', { user_identity: 'ada', on_service_loss: 'no' }, 'on_service_loss: must be one of replace, degrade, terminate'],
])('%s with %j is refused in plain words', (type, fields, line) => {
  expect(lineOf(type, fields)).toBe(`${type}: ${line}`);
});

test('a key is called one, a value that may be only one thing is named, and a schema keeps its own words', () => {
  const schema = z.object({
    map: z.record(z.string().max(2), z.string()),
    one: z.literal('this'),
    own: z.string('must be what it is'),
    at: z.iso.datetime(),
  });
  const fault = check(schema, { map: { long: '' }, one: 'that', own: 1, at: 'noon' });
  expect(fault).toMatchObject({
    success: false,
    line: 'map.long: the key must have at most 2 characters',
    issues: [
      { path: 'map.long' },
      { path: 'one', message: 'must be this' },
      { path: 'own', message: 'must be what it is' },
      { path: 'at', message: 'must be a time in ISO-8601, as 2026-01-02T03:04:05Z' },
    ],
  });
});

test('words of others who use zod in the same program stay as they are', () => {
  check(z.string(), 1);
  expect(z.string().safeParse(1).error?.issues[0]?.message).toMatch(rawWords);
});

describe('no value is refused in the words of the validator', () => {
  const rows = Object.entries(routes).flatMap(([name, row]) =>
    (['params', 'query', 'headers', 'body'] as const).flatMap((part) => {
      const schema = (row as Partial<Record<typeof part, z.ZodObject>>)[part];
      return schema ? [{ name: `${name} ${part}`, schema }] : [];
    }),
  );
  const settings = Object.entries(configSchema.shape).map(([name, schema]) => ({ name, schema: schema as z.ZodObject }));
  const requests = allMessages.filter(({ direction }) => direction === 'requests').map(({ type, body }) => ({ name: type, schema: body }));

  test.each([...requests, ...rows, ...settings])('of $name', ({ schema }) => {
    const faults = [undefined, null, true, -1, 0.5, 1e300, '', 'x'.repeat(100_000), '\0', [], [[]], {}, { x: [] }].flatMap((value) => {
      const fields = Object.fromEntries(Object.keys(schema.shape ?? {}).map((key) => [key, value]));
      return [check(schema, value), check(schema, fields)];
    });
    const said = faults.flatMap((fault) => (fault.success ? [] : fault.issues.map(({ message }) => message)));
    expect(said).not.toHaveLength(0);
    expect(said.filter((message) => rawWords.test(message) || message === 'is not valid')).toEqual([]);
  });
});
