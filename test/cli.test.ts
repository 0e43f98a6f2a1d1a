import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { connectService } from './support/client.ts';
import { startGateway } from './support/gateway.ts';

/** Runs the built command line to its end. */
function run(args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/src/main.js', ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env },
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

function configFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'gateway.toml');
  writeFileSync(path, text);
  return path;
}

test('--version and --help answer and end with 0', () => {
  expect(run(['--version'])).toEqual({ status: 0, stdout: '0.1.0\n', stderr: '' });
  expect(run(['--help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('services') });
  expect(run(['serve', '--help']).stdout).toContain('--server-port');
});

test.each([
  [['--nope'], {}, 'session-gateway: unknown option'],
  [['serve', '--server-port', 'x'], {}, 'session-gateway: --server-port (server.port): must be a number'],
  [[], { SERVER_PORT: '70000' }, 'session-gateway: SERVER_PORT (server.port): '],
  [['--config', '/nowhere.toml'], {}, 'session-gateway: --config /nowhere.toml: cannot be read (ENOENT)'],
  [[], { WORKSPACE_ROOTS: '/nowhere', LIVEKIT_MODE: 'on_join' }, 'session-gateway: workspace.roots: '],
  [[], { MICROSERVICES_ALLOWED_NETWORKS: '10.0.0.0/99', LIVEKIT_MODE: 'on_join' }, 'session-gateway: microservices.allowed_networks: '],
  [['--storage-storage-type', 'floppy'], { LIVEKIT_MODE: 'on_join' }, 'session-gateway: storage: there is no storage named floppy'],
  [['sessions', '--url', 'http://127.0.0.1:1'], {}, 'session-gateway: --url http://127.0.0.1:1: no gateway answers there'],
  [
    ['sessions', '--url', 'http://127.0.0.1:1'],
    { SERVER_PORT: 'x' },
    'session-gateway: --url http://127.0.0.1:1: no gateway answers there',
  ],
  [['sessions'], { SERVER_PORT: '1' }, 'session-gateway: --url http://127.0.0.1:1: no gateway answers there'],
  [['services'], { SERVER_PORT: '1', SERVER_HOST: '0.0.0.0' }, 'session-gateway: --url http://127.0.0.1:1: no gateway answers there'],
  [['services'], { SERVER_PORT: '1', SERVER_HOST: '::' }, 'session-gateway: --url http://[::1]:1: no gateway answers there'],
  [['services'], { SERVER_PORT: '0' }, 'session-gateway: --url is needed: with server.port 0 it can be anywhere'],
  [['services'], { SERVER_PORT: 'x' }, 'session-gateway: SERVER_PORT (server.port): must be a number'],
])('%j %j is one line and exit code 78', (args, env, line) => {
  const { status, stderr } = run(args, env as Record<string, string>);
  expect(stderr).toContain(line);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(status).toBe(78);
});

test('config print shows what holds, config check says whether it can', () => {
  const path = configFile('[server]\nport = 9000\n[livekit]\napi_secret = "hidden-from-all"\n');
  const printed = run(['config', 'print', '--config', path, '--server-host', '::1'], { LIVEKIT_API_KEY: 'k' });
  expect(printed.status).toBe(0);
  expect(printed.stdout).toContain('port = 9000');
  expect(printed.stdout).toContain('host = "::1"');
  expect(printed.stdout).toContain('api_key = "k"');
  expect(printed.stdout).not.toContain('hidden-from-all');
  expect(run(['config', 'check', '--config', path])).toMatchObject({ status: 0, stdout: 'the configuration is good\n' });
  for (const [text, line] of [
    ['[storage]\nurl = "mongodb://x"', 'there is no storage named mongodb'],
    ['[storage]\nstorage_type = "redis"\nconnection_string = "postgres://x/db"', 'the address of a postgres storage'],
    ['[workspace]\nroots = ["/nowhere"]', 'workspace.roots'],
    ['[microservices]\nallowed_networks = ["10.0.0.0/99"]', 'microservices.allowed_networks'],
  ] as const) {
    expect(run(['config', 'check', '--config', configFile(text)])).toMatchObject({ status: 78, stderr: expect.stringContaining(line) });
  }
  expect(run(['config', 'check', '--config', configFile('[server]\nprot = 1')])).toMatchObject({
    status: 78,
    stderr: expect.stringContaining('did you mean server.port?'),
  });
});

test('services and sessions list what a running gateway has', async () => {
  const { url } = await startGateway();
  await connectService(url, 'asr');
  await fetch(`${url}/api/v1/sessions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"user_identity":"ada","required_services":[]}',
  });
  // the list is asked by another process: this one must stay able to answer
  const list = (what: string, args = ['--url', url], env = {}) =>
    new Promise<string>((done, fail) =>
      execFile(process.execPath, ['dist/src/main.js', what, ...args], { env: { PATH: process.env.PATH, ...env } }, (error, stdout) =>
        error ? fail(error) : done(stdout),
      ),
    );
  expect(await list('services', [], { SERVER_PORT: new URL(url).port })).toMatch(/^service_id/);
  expect(await list('services')).toMatch(/^service_id {2}status.*\nasr +Registered +available/);
  expect(await list('sessions')).toMatch(/^session_id .*\n[0-9a-f-]{36} +Ready +ada/);
});
