import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { connectService } from './support/client.ts';
import { startGateway } from './support/gateway.ts';
import { startBuiltGateway } from './support/process.ts';

/** Runs the built command line to its end. */
function run(args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/src/main.js', ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env },
    timeout: 120_000,
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
  [['--port', '9000'], {}, "session-gateway: unknown option '--port' (Did you mean --server-port?)"],
  [['config', 'check', '--port=9000'], {}, "session-gateway: unknown option '--port' (Did you mean --server-port?)"],
  [['sevices'], {}, 'session-gateway: there is no command sevices; did you mean services?'],
  [['config', 'chek'], {}, "session-gateway: unknown command 'chek' (Did you mean check?)"],
  [['serve', '--server-port', 'x'], {}, 'session-gateway: --server-port (server.port): must be a number'],
  [[], { SERVER_PORT: '70000' }, 'session-gateway: SERVER_PORT (server.port): '],
  [['--config', '/nowhere.toml'], {}, 'session-gateway: --config /nowhere.toml: cannot be read (ENOENT)'],
  [
    [],
    { WORKSPACE_ROOTS: '/nowhere', LIVEKIT_MODE: 'on_join' },
    'session-gateway: WORKSPACE_ROOTS (workspace.roots): /nowhere is not an existing folder',
  ],
  [
    [],
    { MICROSERVICES_ALLOWED_NETWORKS: '10.0.0.0/99', LIVEKIT_MODE: 'on_join' },
    'session-gateway: MICROSERVICES_ALLOWED_NETWORKS (microservices.allowed_networks): ',
  ],
  [
    ['--storage-storage-type', 'floppy'],
    { LIVEKIT_MODE: 'on_join' },
    'session-gateway: --storage-storage-type (storage.storage_type): there is no storage named floppy',
  ],
  [['sessions', '--url', 'http://127.0.0.1:1'], {}, 'session-gateway: no gateway answers at http://127.0.0.1:1'],
  [['sessions', '--url', 'http://127.0.0.1:1'], { SERVER_PORT: 'x' }, 'session-gateway: no gateway answers at http://127.0.0.1:1'],
  [['sessions', '--url', 'ftp://h:1'], {}, 'session-gateway: --url ftp://h:1: is not an address: write http://host:port'],
  ...['http://ada:hidden@h:1', 'ada:hidden@h', 'http://ada:hid den@h'].map((url): [string[], object, string] => [
    ['sessions', '--url', url],
    {},
    'session-gateway: --url: must not contain a user name or password, which the gateway does not know',
  ]),
  [['redis://:hidden@h'], {}, 'session-gateway: there is no command redis://:[Redacted]@h'],
  [['sessions', '--url', 'h:x'], {}, 'session-gateway: --url h:x: is not an address: write http://host:port'],
  [['sessions', '--config', '/nowhere.toml'], {}, 'session-gateway: --config /nowhere.toml: cannot be read (ENOENT)'],
  [['sessions'], { SERVER_PORT: '1' }, 'session-gateway: no gateway answers at http://127.0.0.1:1'],
  [['services'], { SERVER_PORT: '1', SERVER_HOST: '0.0.0.0' }, 'session-gateway: no gateway answers at http://127.0.0.1:1'],
  [['services'], { SERVER_PORT: '1', SERVER_HOST: '::' }, 'session-gateway: no gateway answers at http://[::1]:1'],
  [['services'], { SERVER_PORT: '0' }, 'session-gateway: --url is required: server.port is 0, so the port is not known'],
  [['services'], { SERVER_PORT: 'x' }, 'session-gateway: SERVER_PORT (server.port): must be a number'],
])('%j %j is one line and exit code 78', (args, env, line) => {
  const { status, stderr } = run(args, env as Record<string, string>);
  expect(stderr).toContain(line);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(status).toBe(78);
});

test('config print shows what holds, config check says whether it can', () => {
  const path = configFile('[server]\nport = 9000\n[livekit]\napi_key = "j"\napi_secret = "hidden-from-all"\n');
  const printed = run(['config', 'print', '--config', path, '--server-host', '::1'], { LIVEKIT_API_KEY: 'k' });
  expect(printed.status).toBe(0);
  expect(printed.stdout).toContain('port = 9000');
  expect(printed.stdout).toContain('host = "::1"');
  expect(printed.stdout).toContain('api_key = "k"');
  expect(printed.stdout).not.toContain('hidden-from-all');
  expect(run(['config', 'check', '--config', path])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^the configuration is valid(; port 9000 is currently in use)?\n$/),
  });
});

const common = { LIVEKIT_MODE: 'on_join', SERVER_PORT: '0' };
const encoded = 'write # as %23, / as %2F';
test.each<[env: Record<string, string>, file: string, line: string]>([
  [
    {},
    '[storage]\nstorage_type = "redis"\nconnection_string = "postgres://x/db"',
    '(storage.storage_type): redis beside the address of a postgres storage',
  ],
  [
    {},
    '[storage]\nstorage_type = "redis"\nconnection_string = "redis://:s3cret#@h"',
    `(storage.connection_string): is not a valid URL: in a user name or password ${encoded}`,
  ],
  [{}, '[storage]\nproviders = ["./nowhere.js"]', '(storage.providers): ./nowhere.js cannot be loaded'],
  [{}, '[workspace]\nroots = ["package.json"]', '(workspace.roots): package.json is not a folder'],
  [{}, '[microservices]\nallowed_networks = ["10.0.0.0/99"]', '(microservices.allowed_networks): 10.0.0.0/99 is not a network'],
  [{}, '[server]\nhost = "192.0.2.1"', '(server.host): cannot listen on 192.0.2.1:0 (EADDRNOTAVAIL)'],
  [{}, '[server]\nprot = 1', '(server.prot): there is no such setting; did you mean server.port?'],
  [
    { STORAGE_URL: 'redis://:s3#cret@127.0.0.1:6379' },
    '',
    `STORAGE_URL (storage.url): is not a valid URL: in a user name or password ${encoded}`,
  ],
  [
    { LIVEKIT_URL: 'wss://prod.example.com' },
    '',
    'LIVEKIT_URL (livekit.server_url): is not on this machine: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET',
  ],
  [{ LIVEKIT_API_KEY: 'k' }, '', 'LIVEKIT_API_KEY (livekit.api_key): is set without livekit.api_secret'],
  [{ STORAGE_URL: 'redis://u:s3cret@h:70000' }, '', 'STORAGE_URL (storage.url): has a port that is not a number up to 65535'],
  [{ REDIS_URL: 'redis://:s3cret@h/x' }, '', 'REDIS_URL (storage.url): must end in the number of a database'],
])('config check and a start refuse %j %j with the same line', (env, text, line) => {
  const args = text === '' ? [] : ['--config', configFile(text)];
  const refused = run(['config', 'check', ...args], { ...common, ...env });
  expect(refused.stderr).toContain(line);
  expect(refused.stderr).not.toMatch(/s3.?cret/);
  expect(refused.stderr.trim().split('\n')).toHaveLength(1);
  expect(refused).toMatchObject({ status: 78, stdout: '' });
  expect(run(args, { ...common, ...env })).toEqual(refused);
});

test('a file that is not UTF-8 is refused by a line that says so', () => {
  const path = configFile('');
  writeFileSync(path, Buffer.from('\ufeff[server]\nport = 1\n', 'utf16le'));
  expect(run(['config', 'check', '--config', path])).toMatchObject({
    status: 78,
    stderr: `session-gateway: --config ${path}: is not UTF-8 but UTF-16: save it as UTF-8\n`,
  });
  writeFileSync(path, '\ufeff[server]\r\nport = 0\r\n');
  expect(run(['config', 'check', '--config', path])).toMatchObject({ status: 0 });
});

test('config check warns as a start does, and takes a port in use for a gateway that runs', async () => {
  const { url } = await startGateway();
  const { port } = new URL(url);
  expect(run(['config', 'check'], { SERVER_PORT: port, SERVER_PROT: '1' })).toEqual({
    status: 0,
    stdout: `the configuration is valid; port ${port} is currently in use\n`,
    stderr: 'session-gateway: warning: SERVER_PROT is not a setting; did you mean SERVER_PORT?\n',
  });
});

test('config print warns as well, and keeps its standard output TOML', () => {
  const { status, stdout, stderr } = run(['config', 'print'], { STORAGE_UR: 'redis://x' });
  expect(status).toBe(0);
  expect(stderr).toBe('session-gateway: warning: STORAGE_UR is not a setting; did you mean STORAGE_URL?\n');
  expect(stdout).toMatch(/^\[server\]/);
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
  // wherever a start takes it from
  const { host, port } = new URL(url);
  const file = configFile(`[server]\nport = ${port}\n`);
  expect(await list('services', ['--config', file])).toContain('asr');
  expect(await list('services', ['--server-port', port])).toContain('asr');
  expect(await list('services', ['--server-port', port], { SERVER_PORT: '1' })).toContain('asr');
  for (const address of [host, `${url}/`, `ws://${host}/ws`]) expect(await list('services', ['--url', address])).toContain('asr');
  // so much metadata that each is a page of its own
  const metadata = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, 'v'.repeat(1_000)]));
  for (const user_identity of ['bea', 'cid'])
    await fetch(`${url}/api/v1/sessions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user_identity, room: false, metadata }),
    });
  for (const user of ['ada', 'bea', 'cid']) expect(await list('sessions')).toContain(user);
  // of services all are listed, also where they are more than a page
  const heavy = Object.fromEntries(Object.entries(metadata).slice(0, 15));
  const ids = Array.from({ length: 45 }, (_, i) => `tts-${i}`);
  for (const id of ids) await connectService(url, id, { metadata: heavy });
  const lines = (await list('services')).trim().split('\n');
  expect(lines.slice(1).map((line) => line.split(' ')[0])).toEqual(['asr', ...ids]);
});

test('services and sessions ask a gateway that serves TLS, by its own certificate and no other', async () => {
  const tls = (name: string) => join(import.meta.dirname, `http/tls/${name}`);
  const env = { SERVER_TLS_CERT: tls('first.cert.pem'), SERVER_TLS_KEY: tls('first.key.pem') };
  const gateway = await startBuiltGateway(env);
  const { port, protocol } = new URL(gateway.url);
  expect(protocol).toBe('https:');
  const at = { SERVER_PORT: port, ...env };
  expect(run(['sessions'], at)).toMatchObject({ status: 0, stdout: expect.stringContaining('session_id'), stderr: '' });
  const other = { SERVER_TLS_CERT: tls('second.cert.pem'), SERVER_TLS_KEY: tls('second.key.pem') };
  expect(run(['services'], { SERVER_PORT: port, ...other })).toMatchObject({
    status: 78,
    stderr: expect.stringContaining('it has another certificate than'),
  });
});

test('a key that is created is taken from a file, its tokens by the gateway, and reload has it read again', async () => {
  const made = run(['keys', 'create', '--id', 'app', '--kinds', 'user,operator']);
  expect(made).toMatchObject({ status: 0, stderr: '' });
  const file = configFile(`[auth]\nmode = "required"\n\n${made.stdout}`);
  expect(run(['config', 'check', '--config', file]).stdout).toBe('the configuration is valid\n');
  const [, secret = ''] = /secret = "(.+)"/.exec(made.stdout) ?? [];
  expect(run(['config', 'print', '--config', file]).stdout).toMatch(/secret = "\*\*\*"/);

  const { url } = await startBuiltGateway({}, ['--config', file]);
  const token = run(['keys', 'token', '--config', file, '--identity', 'ada', '--ttl', '15m']).stdout.trim();
  const list = () => fetch(`${url}/api/v1/sessions`, { headers: { authorization: `Bearer ${token}` } });
  expect((await list()).status).toBe(200);
  const asOperator = ['--config', file, '--url', url];
  expect(run(['services', ...asOperator])).toMatchObject({ status: 0, stderr: '' });
  expect(run(['services', '--url', url], { GATEWAY_TOKEN: token })).toMatchObject({
    status: 78,
    stderr: expect.stringContaining('only a service, or an operator with the scope read'),
  });

  writeFileSync(file, readFileSync(file, 'utf8').replace('"user", ', ''));
  expect(run(['keys', 'reload', ...asOperator]).stdout).toBe('the keys were read again; 0 sockets were closed\n');
  expect((await list()).status).toBe(401);
  expect(made.stdout.split(secret)).toHaveLength(2);
});

test('flags may stand before a command', () => {
  const file = configFile('[server]\nport = 9000\n');
  expect(run(['--config', file, '--server-host=::1', 'config', 'print']).stdout).toMatch(/host = "::1"\nport = 9000/);
  expect(run(['--gateway-name', 'config', 'config', 'check', '--server-port', '0']).stdout).toBe('the configuration is valid\n');
});

test.each([
  [['keys'], 'keys: expected create or token or reload'],
  [['keys', 'create', '--kinds', 'usr'], '--kinds: usr is none of user, device, service, operator'],
  [['keys', 'create', '--id', 'a b'], '--id: must be 1 to 128 letters, digits and _ . : -'],
  [['keys', 'token', '--identity', 'ada'], 'there is no [[auth.keys]] in the configuration: name its file with --config'],
  [['keys', 'token'], "required option '--identity <identity>' not specified"],
])('%j says what is wrong', (args, why) => {
  expect(run(args)).toEqual({ status: 78, stdout: '', stderr: expect.stringContaining(`session-gateway: ${why}\n`) });
});
