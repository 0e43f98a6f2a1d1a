import { expect, test } from 'vitest';
import { ConfigError, loadConfig, printConfig, settings, warnings } from '../src/config.ts';

test('defaults need nothing', () => {
  expect(loadConfig({})).toMatchObject({
    server: { host: '127.0.0.1', port: 8080 },
    logging: { level: 'info' },
    microservices: { registration_timeout: 30, join_timeout: 60 },
  });
});

test('a flag beats its environment variable, which beats the default', () => {
  expect(loadConfig({ SERVER_PORT: '9000' }).server.port).toBe(9000);
  expect(loadConfig({ SERVER_PORT: '9000' }, { 'server-port': '9001' }).server.port).toBe(9001);
});

test('the names of the documents work', () => {
  const config = loadConfig({
    SERVER_HOST: '0.0.0.0',
    LIVEKIT_SERVER_URL: 'ws://localhost:7880',
    LIVEKIT_API_KEY: 'k',
    LIVEKIT_API_SECRET: 's',
    RUST_LOG: 'debug',
    WORKSPACE_ROOTS: '/tmp, /srv',
  });
  expect(config).toMatchObject({
    server: { host: '0.0.0.0' },
    livekit: { server_url: 'ws://localhost:7880', api_key: 'k', api_secret: 's' },
    logging: { level: 'debug' },
    workspace: { roots: ['/tmp', '/srv'] },
  });
});

test.each([
  [{ RUST_LOG: 'debug' }, 'debug'],
  [{ RUST_LOG: 'hyper=warn,DEBUG' }, 'debug'],
  [{ RUST_LOG: 'debug', LOG_LEVEL: 'warn' }, 'warn'],
  [{ RUST_LOG: 'debug', LOG_LEVEL: 'warn', LOGGING_LEVEL: 'error' }, 'error'],
])('the log level of %j is %s', (env, level) => {
  expect(loadConfig(env).logging.level).toBe(level);
});

test.each([
  [{ SERVER_PORT: 'http' }, /^SERVER_PORT \(server\.port\): /],
  [{ SERVER_PORT: '70000' }, /^SERVER_PORT \(server\.port\): /],
  [{ LIVEKIT_SERVER_URL: 'localhost:7880' }, /^LIVEKIT_SERVER_URL \(livekit\.server_url\): /],
  [{ AUTH_MODE: 'jwt' }, /^AUTH_MODE \(auth\.mode\): /],
  [{ LOG_LEVEL: 'loud' }, /^LOG_LEVEL \(logging\.level\): /],
  [{ MICROSERVICES_JOIN_TIMEOUT: '-1' }, /^MICROSERVICES_JOIN_TIMEOUT \(microservices\.join_timeout\): /],
])('%j is refused by one line that names the setting', (env, message) => {
  expect(() => loadConfig(env)).toThrow(ConfigError);
  expect(() => loadConfig(env)).toThrow(message);
  try {
    loadConfig(env);
  } catch (error) {
    expect((error as Error).message).not.toContain('\n');
  }
});

test('every setting has its own names and a sentence', () => {
  const names = settings.flatMap(({ env, aliases, flag }) => [env, ...aliases, flag]);
  expect(new Set(names).size).toBe(names.length);
  for (const { section, key, about } of settings) expect(about, `${section}.${key}`).not.toBe('');
});

const development = `
[server]
host = "0.0.0.0"
port = 8080
workers = 4

[livekit]
server_url = "http://localhost:7880"
api_key = "devkey"
api_secret = "secret"

[storage]
storage_type = "memory"

[microservices]
registration_timeout = 30
join_timeout = 60

[logging]
level = "debug"
format = "json"
`;
const file = (text: string, name = 'config/development.toml') => ({ name, text });

test("the documents' development.toml works as written, and says what has no effect", () => {
  const config = loadConfig({}, {}, [file(development)]);
  expect(config).toMatchObject({
    server: { host: '0.0.0.0', port: 8080, workers: 4 },
    livekit: { server_url: 'http://localhost:7880', api_key: 'devkey', api_secret: 'secret' },
    logging: { level: 'debug', format: 'json' },
  });
  expect(warnings(config)).toEqual([
    expect.stringContaining('server.workers=4'),
    expect.stringContaining('protected mode'),
    expect.stringContaining('api_secret'),
  ]);
});

test("the documents' environment works as written, and says what has no effect", () => {
  const config = loadConfig({
    VECTOR_LOG_ENABLED: 'true',
    VECTOR_LOG_ENDPOINT: 'http://localhost:8686',
    LIVEKIT_API_SECRET: 'x'.repeat(40),
  });
  expect(config.vector).toEqual({ log_enabled: true, log_endpoint: 'http://localhost:8686' });
  expect(warnings(config)).toEqual([expect.stringContaining('VECTOR_LOG_ENABLED')]);
});

test('a later file beats an earlier one, the environment both, a flag all', () => {
  const files = [file('server.port = 1\nserver.host = "::1"'), file('[server]\nport = 2', 'later.toml')];
  expect(loadConfig({}, {}, files).server).toMatchObject({ port: 2, host: '::1' });
  expect(loadConfig({ SERVER_PORT: '3' }, {}, files).server.port).toBe(3);
  expect(loadConfig({ SERVER_PORT: '3' }, { 'server-port': '4' }, files).server.port).toBe(4);
});

test.each([
  ['[servr]\nport = 1', 'config/development.toml (servr): there is no such setting; did you mean server?'],
  ['[server]\nprot = 1', 'config/development.toml (server.prot): there is no such setting; did you mean server.port?'],
  ['[server]\nport = "many"', 'config/development.toml (server.port): must be a number'],
  ['server = 3', 'config/development.toml (server): must be a table'],
  ['[server', 'config/development.toml: not TOML: '],
  ['[storage]\ntimeout_s = 0', 'config/development.toml (storage.timeout_s): '],
])('the file %j is refused by one line', (text, message) => {
  expect(() => loadConfig({}, {}, [file(text)])).toThrow(message);
});

test('a printed configuration can be read again, but for its secrets', () => {
  const config = loadConfig({
    LIVEKIT_API_SECRET: 'a-secret',
    SERVER_PORT: '9',
    SERVER_ALLOWED_ORIGINS: 'https://a.example,https://b.example',
  });
  const printed = printConfig(config);
  expect(printed).not.toContain('a-secret');
  expect(loadConfig({}, {}, [file(printed)])).toEqual({ ...config, livekit: { ...config.livekit, api_secret: '***' } });
});

test.each([
  [{ REDIS_URL: 'redis://r:6379/0' }, {}, { url: 'redis://r:6379/0' }],
  [{ REDIS_URL: 'redis://r:6379/0', STORAGE_URL: 'memory:' }, {}, { url: 'memory:' }],
  [{ REDIS_URL: 'redis://r:6379/0', STORAGE_STORAGE_TYPE: 'redis' }, {}, { url: 'redis://r:6379/0', storage_type: 'redis' }],
  [{ REDIS_URL: 'redis://r:6379/0', STORAGE_STORAGE_TYPE: 'memory' }, {}, { storage_type: 'memory' }],
  [{ REDIS_URL: 'redis://r:6379/0' }, { text: '[storage]\nurl = "postgres://p/db"' }, { url: 'postgres://p/db' }],
  [{ SESSION_KEY_PREFIX: 'mine:', SESSION_DEFAULT_EXPIRY: '3600' }, {}, { key_prefix: 'mine:' }],
])('the storage of %j and %j is %j', (env, { text }: { text?: string }, storage) => {
  const config = loadConfig(env, {}, text === undefined ? [] : [file(text)]);
  expect(config.storage).toMatchObject(storage);
  if (!('url' in storage)) expect(config.storage.url).toBeUndefined();
});
