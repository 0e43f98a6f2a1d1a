import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { makeLog } from '../src/log.ts';
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

test.each(['access_token', 'resume_token', 'token', 'apiSecret', 'api_secret', 'authorization'])(
  '%s is covered, also one level down, and the fields themselves stay as they were',
  (name) => {
    const { log, written } = lines();
    const fields = { [name]: 'hidden-1', request: { [name]: 'hidden-2', url: '/ws' }, session_id: 's1' };
    log.info(fields, 'said');
    expect(written.join()).not.toMatch(/hidden/);
    expect(written.join()).toMatch(/"url":"\/ws".*"session_id":"s1"/);
    expect(fields[name]).toBe('hidden-1');
  },
);

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
  const token = 'eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6e319.1C2SlDwJwmVyi6m01fIziAsXhxoG2x64';
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
  const program = `import { makeLog } from './src/log.ts'; const log = makeLog('info'); for (let i = 0; i < 100; i++) log.info({ i }, 'line'); ${end};`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  expect((await text(child.stdout)).match(/"msg":"line"/g)).toHaveLength(100);
});
