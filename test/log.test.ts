import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { LimitedLog } from '../src/log/limited.ts';
import { makeLog } from '../src/log/log.ts';
import { printable, visible } from '../src/log/visible.ts';
import { ManualClock } from './support/clock.ts';
import { keptLog } from './support/log.ts';
import { root } from './support/process.ts';

const lines = () => {
  const written: string[] = [];
  const log = makeLog('info', { write: (line: string) => void written.push(line) });
  return { log, written, last: () => JSON.parse(written.at(-1) ?? '{}') };
};

test('a line has the level by name, the time in ISO, the fields and the text', () => {
  const { log, last } = lines();
  log.warn({ session_id: 's1', missing: ['asr'] }, 'late');
  expect(last()).toEqual({
    level: 'warn',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    session_id: 's1',
    missing: ['asr'],
    msg: 'late',
  });
});

test.each([
  'access_token',
  'resume_token',
  'token',
  'apiSecret',
  'api_secret',
  'secret',
  'password',
  'authorization',
  'sec-websocket-protocol',
  'cookie',
  'x-api-key',
])('%s is covered, also below other names and in lists, and the fields themselves stay as they were', (name) => {
  const { log, last, written } = lines();
  const fields = {
    [name]: 'hidden-1',
    request: { headers: { [name]: 'hidden-2', host: 'x' } },
    list: ['a', { [name]: 'hidden-3' }],
    session_id: 's1',
  };
  log.info(fields, 'said');
  expect(written.join()).not.toMatch(/hidden/);
  expect(last()).toMatchObject({ request: { headers: { host: 'x' } }, list: ['a', expect.anything()], session_id: 's1' });
  expect(fields[name]).toBe('hidden-1');
});

const token = 'eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6e319.1C2SlDwJwmVyi6m01fIziAsXhxoG2x64';
test.each([
  [`not valid: ${token}, says LiveKit`, 'not valid: [Redacted], says LiveKit'],
  ['connect redis://:hidden-1@127.0.0.1:6379/0', 'connect redis://:[Redacted]@127.0.0.1:6379/0'],
  ['two: postgres://a:hid@den@h/d,x://b:hidden@h', 'two: postgres://a:[Redacted]@h/d,x://b:[Redacted]@h'],
  ['at file:///srv/node_modules/@redis/client.js:1:2', 'at file:///srv/node_modules/@redis/client.js:1:2'],
  ['no http://127.0.0.1:8080/a@b and ws://ada@host:80', 'no http://127.0.0.1:8080/a@b and ws://ada@host:80'],
])('what is a secret by its form is covered wherever it stands: %s', (text, safe) => {
  const { log, last } = lines();
  log.warn(text);
  expect(last().msg).toBe(safe);
  log.warn({ reason: text, deep: { down: { in: { a: { list: [text] } } } } }, 'failed');
  expect(last()).toMatchObject({ reason: safe, deep: { down: { in: { a: { list: [safe] } } } } });
});

test('an error keeps its message and stack', () => {
  const { log, last } = lines();
  log.error({ err: new Error('broken') }, 'failed');
  expect(last().err).toMatchObject({ type: 'Error', message: 'broken', stack: expect.stringContaining('log.test') });
});

test('a secret that an error carries is covered', () => {
  const { log, written } = lines();
  log.warn({ err: Object.assign(new Error('refused'), { authorization: 'hidden-2' }) }, 'failed');
  expect(written.join()).not.toMatch(/hidden/);
  expect(written.join()).toMatch(/refused/);
});

test('a signed token in the text of an error from outside is covered, in its stack and its cause as well', () => {
  const { log, written, last } = lines();
  const cause = new Error(`invalid token: ${token}, error: not valid yet`);
  log.warn({ err: new Error(`LiveKit answered 401: ${cause.message}`, { cause }), reason: cause.message }, 'failed');
  expect(written.join()).not.toMatch(/eyJ|1C2SlDw/);
  expect(last()).toMatchObject({ reason: 'invalid token: [Redacted], error: not valid yet' });
});

test.each([
  ['exits at once', 'process.exit(3)'],
  ['throws', 'setImmediate(() => { throw new Error("bug") })'],
  ['is ended by a signal after a warning', 'log.warn("last words"); process.kill(process.pid, "SIGKILL")'],
])('every line is out when the process %s', async (_, end) => {
  const program = `import { makeLog } from './src/log/log.ts'; const log = makeLog('info'); for (let i = 0; i < 100; i++) log.info({ i }, 'line'); ${end};`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  expect((await text(child.stdout)).match(/"msg":"line"/g)).toHaveLength(100);
});

/** Runs a program with a log whose output is `stdout`. Its own words come on standard error. */
function logging(program: string, stdout: 'pipe' | number = 'pipe') {
  const source = `import { makeLog } from './src/log/log.ts'; const log = makeLog('info'); const say = (text) => void process.stderr.write(text + '\\n'); ${program}`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    cwd: root,
    stdio: ['pipe', stdout, 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const said = createInterface(child.stderr as Readable)[Symbol.asyncIterator]();
  return {
    child,
    said: async () => (await said.next()).value as string,
    exited: once(child, 'exit').then(([code]) => code as number | null),
  };
}

describe('where the log cannot be written', () => {
  test('a reader that stands still holds up neither the work nor a signal', async () => {
    const { child, said, exited } = logging(`
      process.once('SIGTERM', () => { log.warn('stopped'); process.exit(7); });
      for (let i = 0; i < 1_000; i++) log.warn({ i, text: 'x'.repeat(1_000) }, 'line');
      setInterval(() => {}, 1_000);
      say('went on');`);
    expect(await said()).toBe('went on');
    child.kill('SIGTERM');
    expect(await exited).toBe(7);
  });

  test('what is lost while nobody reads is counted, and said once somebody reads again', async () => {
    const { child, said, exited } = logging(`
      for (let i = 0; i < 1_200; i++) log.warn({ i, text: 'x'.repeat(10_000) }, 'line');
      say('went on');
      process.stdin.once('data', () => process.exit(0));`);
    expect(await said()).toBe('went on');
    const lines: { msg: string; lost?: number }[] = [];
    for await (const line of createInterface(child.stdout as Readable)) {
      lines.push(JSON.parse(line));
      if (lines.at(-1)?.lost !== undefined) child.stdin?.write('exit');
    }
    expect(await exited).toBe(0);
    const { lost = 0, msg } = lines.at(-1) ?? {};
    expect(msg).toBe('log lines were lost: they could not be written');
    expect(lost).toBeGreaterThan(0);
    // what was kept came first, in order and whole
    expect(lines.length - 1 + lost).toBe(1_200);
  });

  test('a reader that goes away ends nothing', async () => {
    const { child, said, exited } = logging(`
      log.warn('first');
      process.stdin.once('data', () => {
        for (let i = 0; i < 100; i++) log.warn({ i }, 'line');
        setImmediate(() => { say('went on'); process.exit(7); });
      });`);
    await once(child.stdout as Readable, 'data');
    child.stdout?.destroy();
    child.stdin?.write('more');
    expect(await said()).toBe('went on');
    expect(await exited).toBe(7);
  });

  test.runIf(existsSync('/dev/full'))('a full disk ends nothing and holds up no exit', async () => {
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    const { said, exited } = logging(`for (let i = 0; i < 100; i++) log.warn({ i }, 'line'); say('went on'); process.exit(7);`, full);
    expect(await said()).toBe('went on');
    expect(await exited).toBe(7);
  });

  test('a reader that is slow gets everything before the exit', async () => {
    const { child, exited } = logging(`for (let i = 0; i < 1_000; i++) log.info({ i, text: 'x'.repeat(300) }, 'line'); process.exit(7);`);
    expect((await text(child.stdout as Readable)).match(/"msg":"line"/g)).toHaveLength(1_000);
    expect(await exited).toBe(7);
  });
});

const acting = '\u009b31m \u0085 \u202e \u2066 \u200f \u061c \u2028 \u007f';

test('what would act on a terminal is written out, and is the same for programs', () => {
  const { log, written, last } = lines();
  log.warn({ name: acting, err: new Error(acting) }, 'said');
  expect(written.join()).toMatch(/^[\x20-\x7e\n]*$/);
  expect(last()).toMatchObject({ name: acting, err: { message: acting } });
});

test('a readable line has nothing that acts on a terminal either', () => {
  const { log, written } = lines();
  const text = `\u001b[2J \u0008\r ${acting} \\u001b C:\\users\t"`;
  log.warn({ name: text }, 'said');
  const shown = JSON.parse(printable(written[0] ?? '')).name;
  expect(shown).toMatch(/^[\x20-\x7e\t]*$/);
  expect(shown).toContain('\\u001b[2J \\b\\r \\u009b31m');
  expect(shown).toContain('\\u001b C:\\users\t"');
  expect(visible(`${text}\n`)).toMatch(/^[\x20-\x7e]*$/);
});

describe('a limited log', () => {
  test('writes ten lines a second of each kind, and a warning behind many lines of its text', async () => {
    const { log: to, lines } = keptLog();
    const clock = new ManualClock();
    const limited = new LimitedLog(to, clock);
    const { log } = limited;
    for (let i = 0; i < 12; i++) log.info({ i }, 'refused');
    log.warn('refused');
    log.info('other');
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).toEqual([
      ...Array.from({ length: 10 }, () => 'info refused'),
      'warn refused',
      'info other',
    ]);
    await clock.advance(1_000);
    expect(lines.at(-1)).toMatchObject({ level: 'info', more: 2, msg: 'refused: and 2 more' });
    for (let i = 0; i < 12; i++) log.info('%s refused', i);
    await clock.advance(1_000);
    expect(lines.at(-1)).toMatchObject({ more: 2, msg: '... refused: and 2 more' });
    log.info('refused');
    limited.close();
    expect(lines.at(-1)?.msg).toBe('refused');
  });

  test('writes every debug line, and none below its level', () => {
    const clock = new ManualClock();
    const { log: to, lines } = keptLog('debug');
    const { log } = new LimitedLog(to, clock);
    for (let i = 0; i < 30; i++) log.debug({ i }, 'seen');
    expect(lines).toHaveLength(30);
    const quiet = keptLog('warn');
    const limited = new LimitedLog(quiet.log, clock);
    for (let i = 0; i < 30; i++) limited.log.info({ i }, 'seen');
    limited.close();
    expect(quiet.lines).toEqual([]);
  });
});
