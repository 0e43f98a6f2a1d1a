import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeWith, parts } from '../support/parts.ts';

const read = (name: string): unknown => JSON.parse(readFileSync(join(import.meta.dirname, '../../protocol', name), 'utf8'));

/** Every regular expression of a document, and the names under which one stands where fields are described. */
function patterns(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.values(value).flatMap(patterns);
  const { pattern, type } = value as { pattern?: unknown; type?: unknown };
  return typeof pattern === 'string' && typeof type === 'string' ? [pattern, ...inner] : inner;
}

const published = [...new Set(['schema.json', 'openapi.json', 'asyncapi.json'].flatMap((name) => patterns(read(name))))];
const examples = [
  'ada',
  '中文',
  'two\nlines',
  '/srv/work',
  'C:\\work',
  '3',
  '"3"',
  '',
  '\u0000',
  'a\u0000b',
  '-1',
  '12345678901234567890',
  '1٣',
];

test('the published schemas have patterns', () => {
  expect(published).toContain('^[^\\x00]*$');
});

test.each(published)('%s is a regular expression in JavaScript, also with the flag u', (pattern) => {
  const plain = new RegExp(pattern);
  const unicode = new RegExp(pattern, 'u');
  expect(examples.map((text) => plain.test(text))).toEqual(examples.map((text) => unicode.test(text)));
});

test.each(published)('%s uses nothing that only some languages have', (pattern) => {
  // \p{..}, \0, \u and look-around are missing or different in Python, Java, Go or Rust
  expect(pattern).not.toMatch(/\\[pPu0-9dwskbBzZAG]|\(\?|\[\[|&&|--|~~/);
});

describeWith(parts.python3)('Python', () => {
  test('takes every pattern, and the same texts by it as JavaScript', () => {
    const program = `import json, re, sys
asked = json.load(sys.stdin)
print(json.dumps([[bool(re.search(p, t)) for t in asked["examples"]] for p in asked["patterns"]]))`;
    const { stdout, stderr } = spawnSync(parts.python3.path ?? '', ['-c', program], {
      input: JSON.stringify({ patterns: published, examples }),
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(published.map((pattern) => examples.map((text) => new RegExp(pattern, 'u').test(text))));
  });
});

describe('the search for patterns', () => {
  test('finds one that no other language has', () => {
    expect(patterns({ properties: { pattern: { type: 'string', pattern: '^\\p{Cs}$' } } })).toEqual(['^\\p{Cs}$']);
  });
});
