import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { quickInfo } from './support/language-server.ts';
import { root } from './support/process.ts';

const folder = mkdtempSync(join(tmpdir(), 'package-'));
afterAll(() => rmSync(folder, { recursive: true }));
const installed = join(folder, 'user/node_modules/session-gateway');
const exported = Object.keys(packageJson.exports).map((name) => name.replace('.', 'session-gateway'));

const run = (command: string, args: string[], cwd: string) => execFileSync(command, args, { cwd, encoding: 'utf8' });

// packed from a copy that was never built, since packing builds anew; what it depends on, and nothing else, lies beside it as npm would put it there
beforeAll(() => {
  const checkout = join(folder, 'checkout');
  const names = [
    'package.json',
    'package-lock.json',
    '.npmrc',
    'tsconfig.json',
    'README.md',
    'LICENSE',
    'CONFIG.md',
    'protocol',
    'src',
    'scripts',
    'test',
  ];
  for (const name of names) cpSync(join(root, name), join(checkout, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));
  run('npm', ['pack', '--silent', '--pack-destination', folder], checkout);
  mkdirSync(installed, { recursive: true });
  run('tar', ['-xzf', join(folder, `session-gateway-${packageJson.version}.tgz`), '-C', installed, '--strip-components=1'], folder);
  for (const name of Object.keys(packageJson.dependencies)) {
    const place = join(folder, 'user/node_modules', name);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), place);
  }
  writeFileSync(join(folder, 'user/package.json'), '{"type":"module"}');
}, 600_000);

test('it holds the build and its sources, and nothing else', () => {
  const files = readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1));
  const expected =
    /^(package\.json|README\.md|LICENSE|(dist\/)?(src|protocol)\/.*\.(ts|js|map)|src\/.*README\.md|src\/client\/SERVICE\.md)$/;
  expect(files.filter((file) => !expected.test(file))).toEqual([]);
  // every map leads to a source that is there
  for (const file of files.filter((name) => name.endsWith('.map'))) {
    const { sources } = JSON.parse(readFileSync(join(installed, file), 'utf8'));
    for (const source of sources) expect(existsSync(join(installed, dirname(file), source)), `${file}: ${source}`).toBe(true);
  }
});

test('each export can be imported, and the command runs', () => {
  const names = run(
    process.execPath,
    [
      '-e',
      `Promise.all(${JSON.stringify(exported)}.map((name) => import(name))).then((all) => console.log(JSON.stringify(all.map((one) => Object.keys(one)))))`,
    ],
    join(folder, 'user'),
  );
  expect(JSON.parse(names)).toEqual([
    expect.arrayContaining(['connect']),
    expect.arrayContaining(['serve']),
    expect.arrayContaining(['createSessionManager']),
  ]);
  expect(run(process.execPath, [join(installed, packageJson.bin['session-gateway']), '--version'], folder)).toBe(
    `${packageJson.version}\n`,
  );
});

test('its types serve a program that has nothing else', () => {
  writeFileSync(
    join(folder, 'user/main.ts'),
    `import { connect } from 'session-gateway/client';
import { serve } from 'session-gateway/service';
import { createSessionManager } from 'session-gateway/sessions';
export const session = await connect('ws://localhost:8080/ws').newSession({ user_identity: 'ada' });
export const token: string = (await session.ready()).access_token;
// @ts-expect-error no such field
void connect('').newSession({ user_identty: 'ada' });
export { createSessionManager, serve };
`,
  );
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2023', '--types', ''];
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options, 'main.ts'], join(folder, 'user'));
});

test('an editor shows what a field means', async () => {
  const source = `import { connect } from 'session-gateway/client';
import { type Offer, serve } from 'session-gateway/service';
import { createSessionManager } from 'session-gateway/sessions';
const session = await connect('').newSession({ user_identity: 'ada', resume_window_s: 30 });
session.opened.expires_at;
await session.addMessage({ role: 'user', content: 'hello' });
session.on('SessionReady', (event) => event.timings.services_ms);
session.on('event', (event) => event.ts);
const accept = (offer: Offer) => void offer.attempt;
serve('', { service_id: 'echo', accept }, (assignment) => {
  assignment.deadline_ms;
  assignment.on('presence', (presence) => presence.resume_deadline);
});
(await createSessionManager().getSession({ session_id: '', user_id: '' })).visibility;
`;
  const fields = {
    resume_window_s: 'Seconds the session waits for its client after the socket breaks; 0: it ends with its socket',
    expires_at: 'When the session expires',
    content: 'The text',
    services_ms: 'Every required service was ready',
    'ts);': 'When it happened',
    attempt: '1 for the first service asked for this place',
    deadline_ms: 'Time left until it must be ready',
    resume_deadline: 'when the session ends without its client',
    visibility: 'Who may read it besides the owner',
  };
  const shown = await quickInfo(join(folder, 'user'), 'shown.ts', source, Object.keys(fields));
  for (const [index, text] of Object.values(fields).entries()) expect(shown[index]).toContain(text);
});
