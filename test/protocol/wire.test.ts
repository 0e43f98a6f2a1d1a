import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { allMessages, type Message } from '../../protocol/messages.ts';
import { type Parsed, parse } from '../../protocol/parse.ts';

/** `ok-*.json` is a frame; `later-*.json` one that a newer gateway may send, with values that this version does not know; `bad-*.json` is a frame of a peer and how it is refused. */
const folder = join(import.meta.dirname, '../../protocol/golden');
interface Bad {
  frame: object;
  code: string;
  paths: string[];
}

const filesOf = (name: string) => readdirSync(join(folder, name)).sort();
const read = (name: string, file: string) => JSON.parse(readFileSync(join(folder, name, file), 'utf8'));
const folders = readdirSync(folder).sort();

/** What stands around a message's own fields. */
const envelopes = {
  answers: z.object({ id: z.string().min(1).max(64).optional(), ignored: z.array(z.string()).optional() }),
  events: z.object({ seq: z.number().int().min(1), ts: z.iso.datetime(), session_id: z.string() }),
  commands: z.object({}),
  notices: z.object({}),
  controls: z.object({ id: z.string().min(1).max(64).optional() }),
};

/** @throws what is wrong with a frame of this message */
function check({ direction, type, body }: Message, frame: Record<string, unknown>): void {
  expect(frame.type).toBe(type);
  if (direction === 'requests') {
    const parsed: Parsed = parse(JSON.stringify(frame));
    if (!parsed.ok) throw new Error(`${parsed.code}: ${parsed.message}`);
    return;
  }
  envelopes[direction].parse(frame);
  body.parse(frame);
}

test('every message has a folder of examples, and every folder a message', () => {
  expect(folders).toEqual(allMessages.map(({ name }) => name).sort());
});

describe.each(allMessages.filter(({ name }) => folders.includes(name)))('$name', (message) => {
  const { direction, type, name, body } = message;
  const files = filesOf(name);

  test('has the examples its kind needs, and nothing else', () => {
    expect(files.filter((file) => !/^(ok|bad|later)(-[a-z]+)*\.json$/.test(file))).toEqual([]);
    expect(files.some((file) => file.startsWith('ok'))).toBe(true);
    const canBeWrong = direction === 'requests' && Object.keys(body.shape).length > 0;
    expect(files.some((file) => file.startsWith('bad'))).toBe(canBeWrong);
  });

  test.each(files.filter((file) => file.startsWith('ok')))('%s is taken', (file) => {
    check(message, read(name, file));
  });

  test.each(files.filter((file) => file.startsWith('later')))(
    '%s differs by values of lists that may grow, and by nothing else',
    (file) => {
      const frame = read(name, file);
      envelopes[direction as keyof typeof envelopes].parse(frame);
      const issues = body.safeParse(frame).error?.issues ?? [];
      expect(new Set(issues.map(({ code }) => code))).toEqual(new Set(['invalid_value']));
    },
  );

  test.each(files.filter((file) => file.startsWith('bad')))('%s is refused for what it says', (file) => {
    const { frame, code, paths } = read(name, file) as Bad;
    expect(frame).toHaveProperty('type', type);
    const parsed = parse(JSON.stringify(frame));
    if (parsed.ok) throw new Error('it was taken');
    expect({ code: parsed.code, paths: parsed.details?.issues.map(({ path }) => path) }).toEqual({ code, paths });
  });
});

describe('PROTOCOL.md', () => {
  const markdown = readFileSync(join(import.meta.dirname, '../../protocol/PROTOCOL.md'), 'utf8');
  const examples = [...markdown.matchAll(/^```json\n([\s\S]*?)^```$/gm)].map(([, json]) => json ?? '');
  const frames = examples.map((json) => ({ json, ...(JSON.parse(json) as { type?: string }) })).filter(({ type }) => type !== undefined);

  test('shows an example of every message', () => {
    const sections = markdown.split(/^#{2,3} /m);
    const shown = (name: string) => sections.some((section) => section.startsWith(`${name}\n`) && section.includes('```json\n{'));
    expect(allMessages.map(({ name }) => name).filter((name) => !shown(name))).toEqual([]);
  });

  test.each(frames)('the example of $type is one: $json', ({ type, json }) => {
    // of two messages of one type it is an example of the one it stands under
    const [, heading] = [...markdown.slice(0, markdown.indexOf(json)).matchAll(/^### (\w+)$/gm)].at(-1) ?? [];
    const same = allMessages.filter((candidate) => candidate.type === type);
    const message = same.find(({ name }) => name === heading) ?? same[0];
    if (!message) throw new Error(`there is no message ${type}`);
    check(message, JSON.parse(json));
    const envelope = message.direction === 'requests' ? ['id'] : Object.keys(envelopes[message.direction].shape);
    expect(['type', ...envelope, ...Object.keys(message.body.shape)]).toEqual(expect.arrayContaining(Object.keys(JSON.parse(json))));
  });
});
