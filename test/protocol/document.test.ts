import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type AccessRow, access, kinds, type Scope, type Standing, scopes, standings } from '../../protocol/access.ts';
import { Close, verdict } from '../../protocol/close.ts';
import { type ErrorKind, errors } from '../../protocol/errors.ts';
import { allMessages, directions } from '../../protocol/messages.ts';
import { type RequestRow, requests } from '../../protocol/requests.ts';
import { type RouteRow, routes } from '../../protocol/rest.ts';
import { endReasons, serviceStatuses, statuses } from '../../protocol/states.ts';
import { settings } from '../../src/config.ts';
import { loadConfig } from '../../src/config-load.ts';

const markdown = readFileSync(join(import.meta.dirname, '../../protocol/PROTOCOL.md'), 'utf8');
/** The examples are checked with those of protocol/golden. */
const text = markdown.replace(/^```json\n[\s\S]*?^```$/gm, '');

/** What stands under a heading, down to the next of its level or above. */
function section(heading: string, level: number): string {
  const mark = '#'.repeat(level);
  const [, found] = text.split(`\n${mark} ${heading}\n`);
  if (found === undefined) throw new Error(`PROTOCOL.md has no ${mark} ${heading}`);
  return found.split(new RegExp(`^#{1,${level}} `, 'm'))[0] ?? '';
}

const headings = (markdown: string, level: number) =>
  [...markdown.matchAll(new RegExp(`^#{${level}} (.+)$`, 'gm'))].map(([, heading]) => heading ?? '');

/** The rows of the table whose head begins with `first`, without the marks of code. */
function table(heading: string, first: string, level = 2): string[][] {
  const lines = section(heading, level).split('\n');
  const head = lines.findIndex((line) => line.startsWith(`| ${first} |`));
  if (head < 0) throw new Error(`${heading} has no table | ${first} |`);
  const rows = lines.slice(head + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')),
  );
}

const column = (rows: string[][], index: number) => rows.map((row) => row[index] ?? '');
const bullet = (type: string, name: string) => section(type, 3).match(new RegExp(`^- ${name}: (.*)$`, 'm'))?.[1] ?? '';
const inCode = (markdown: string) => [...markdown.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '');

test.each(directions)('the %s have a section each, in the order of the code, and no other has one', (direction) => {
  const heading = `${direction[0]?.toUpperCase()}${direction.slice(1)}`;
  expect(headings(section(heading, 2), 3)).toEqual(allMessages.filter((m) => m.direction === direction).map(({ name }) => name));
});

test.each(allMessages)('$name has its table of fields and says when it is sent', ({ name }) => {
  expect(section(name, 3)).toContain(`<!-- fields:${name} -->`);
  expect(bullet(name, 'When')).not.toBe('');
});

describe.each(Object.entries(requests) as [string, RequestRow][])('%s', (type, { from, reply }) => {
  test('names who sends it', () => {
    expect(bullet(type, 'From')).toBe(from.join(', '));
  });

  test('names its answer', () => {
    expect(inCode(bullet(type, 'Answer'))[0]).toBe(reply);
  });

  test('names FORBIDDEN where it is not for everybody', () => {
    if (from.length === 1) expect(section(type, 3)).toContain('`FORBIDDEN`');
  });
});

test('the table of errors names each code with status, word and whether to repeat, and no other', () => {
  const wanted = (Object.entries(errors) as [string, ErrorKind][]).map(([code, { status, error, retryable }]) => [
    code,
    `${status}`,
    error,
    retryable ? 'yes' : 'no',
  ]);
  expect(table('Errors', '`code`').map((row) => row.slice(0, 4))).toEqual(wanted);
});

describe('the table of close codes', () => {
  const rows = table('Close codes', 'Code');
  const own = rows.filter(([code]) => Number(code) >= 4000);

  test('names each with its number, and no other', () => {
    expect(own.map(([code, name]) => [name, Number(code)])).toEqual(Object.entries(Close).map(([name, { code }]) => [name, code]));
  });

  test.each(rows)('says of %s %s what the peer does', (code, _name, _meaning, does) => {
    expect(does).toBe(verdict(Number(code)));
  });
});

test('the table of endpoints names each with its status and meaning, and no other', () => {
  const wanted = (Object.values(routes) as RouteRow[]).map(({ method, path, status, statusOf, about }) => [
    method.toUpperCase(),
    path,
    statusOf ? '200 or 503' : `${status}`,
    about,
  ]);
  expect(table('REST', 'Method')).toEqual(wanted);
});

describe('the tables of access', () => {
  const rows = Object.values(access) as AccessRow[];
  const cell = (by: Scope | true | undefined) => (by === undefined ? '403' : by === true ? 'ok' : by);

  test('say which kinds may ask for what', () => {
    const wanted = rows.map(({ about, by }) => [about, ...kinds.map((kind) => (by ? cell(by[kind]) : 'ok'))]);
    expect(table('Access', `To ask | ${kinds.join(' | ')}`)).toEqual(wanted);
  });

  test('say what each standing may do', () => {
    const may = (standing: Standing, allowed: readonly string[]) =>
      standing === 'operator' || allowed.includes(standing) ? 'ok' : standing === 'stranger' ? '404' : '403';
    const wanted = rows.flatMap(({ about, standings: allowed }) =>
      allowed ? [[about, ...standings.map((one) => may(one, allowed))]] : [],
    );
    expect(table('Access', `With a session | ${standings.join(' | ')}`)).toEqual(wanted);
  });

  test('say what each scope allows', () => {
    expect(table('Access', 'Scope of an operator')).toEqual(Object.entries(scopes));
  });
});

test('the table of end reasons names each, and no other', () => {
  expect(column(table('End reasons', 'Reason'), 0)).toEqual([...endReasons]);
});

test('the table of service statuses names each, and no other', () => {
  expect(column(table('Service status', 'Status', 3), 0)).toEqual([...serviceStatuses]);
});

test('the table of session statuses names each, and no other', () => {
  const rows = table('Session status', 'From');
  const named = new Set([...column(rows, 0), ...column(rows, 1)].flatMap((cell) => cell.match(/[A-Z]\w+/g) ?? []));
  expect([...named].sort()).toEqual([...statuses].sort());
});

test.each(table('Limits', 'Setting'))('the limit %s has the default %s', (setting, said) => {
  const config = loadConfig({}) as unknown as Record<string, Record<string, unknown>>;
  const [group = '', key = ''] = setting?.split('.') ?? [];
  expect(String(config[group]?.[key])).toBe(said);
});

describe('every name in code', () => {
  const names = new Set(inCode(text));
  const types = allMessages.map(({ name }) => name);

  test('in capitals is an error code', () => {
    const capitals = [...names].filter((name) => /^[A-Z]+(_[A-Z]+)+$|^[A-Z]{4,}$/.test(name));
    expect(capitals.filter((name) => !Object.hasOwn(errors, name))).toEqual([]);
  });

  test('with a capital is a message, a status, a close code or the word of an error', () => {
    const known = new Set<string>([
      ...types,
      ...statuses,
      ...serviceStatuses,
      ...Object.keys(Close),
      ...column(table('Errors', '`code`'), 2),
    ]);
    // headers
    for (const name of ['Origin', 'Host', 'Allow', 'Expect', 'Connection', 'Upgrade', 'Forwarded', 'Via']) known.add(name);
    known.add('Idempotency-Key').add('Authorization');
    expect([...names].filter((name) => /^[A-Z][a-z]\w*$/.test(name) && !known.has(name))).toEqual([]);
  });

  test('with a dot and a lower-case group is a setting', () => {
    const groups = new Set(settings.map(({ section }) => section));
    const paths = new Set(settings.map(({ section, key }) => `${section}.${key}`));
    const dotted = [...names].filter((name) => groups.has(name.split('.')[0] ?? '') && /^\w+\.\w+$/.test(name));
    // fields of messages whose names begin like a group
    const fields = new Set(allMessages.flatMap(({ body }) => Object.keys(body.shape)));
    expect(dotted.filter((name) => !paths.has(name) && !fields.has(name.split('.')[0] ?? ''))).toEqual([]);
  });
});

test('every number of a close code in the text is one', () => {
  const codes = new Set<number>(Object.values(Close).map(({ code }) => code));
  const ranges = [4449, 4450, 4499, 4599];
  const said = [...text.matchAll(/\b4[45]\d\d\b/g)].map(([code]) => Number(code));
  expect(said.filter((code) => !codes.has(code) && !ranges.includes(code))).toEqual([]);
});
