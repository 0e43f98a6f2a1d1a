import { describe, expect, test } from 'vitest';
import { ConfigError, settings } from '../src/config.ts';
import { loadConfig, printConfig, unreadEnvFile, warnings } from '../src/config-load.ts';

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

test.each([
  [{ AUTH_MODE: 'None' }, 'AUTH_MODE (auth.mode): must be one of none, required'],
  [{ SERVER_PORT: '70000' }, 'SERVER_PORT (server.port): must be at most 65535'],
  [{ SERVER_PORT: '1.5' }, 'SERVER_PORT (server.port): must be a whole number'],
  [
    { SERVER_TRUSTED_PROXIES: '10.0.0.1, proxy' },
    'SERVER_TRUSTED_PROXIES (server.trusted_proxies): proxy is not a network, as in 10.0.0.0/8; separate several with commas',
  ],
  [{ LIVEKIT_MODE: 'x' }, 'LIVEKIT_MODE (livekit.mode): must be one of create, on_join'],
  [{ GATEWAY_NAME: 'x'.repeat(129) }, 'GATEWAY_NAME (gateway.name): must have at most 128 characters'],
  [{ VECTOR_LOG_ENDPOINT: 'ftp://x' }, 'VECTOR_LOG_ENDPOINT (vector.log_endpoint): must be an http or https URL'],
])('%j is refused in plain words: %s', (env, line) => {
  expect(() => loadConfig(env)).toThrow(new ConfigError(line));
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
    LIVEKIT_API_KEY: 'key',
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
  ['[server', 'config/development.toml:1:2: not TOML: '],
  ['[server]\nport = 1\nhost = localhost', 'config/development.toml:3:8: not TOML: '],
  ['[storage]\ntimeout_s = 0', 'config/development.toml (storage.timeout_s): '],
  ['port = 9000', 'config/development.toml (port): belongs below a line [server]'],
  ['mode = "none"', 'config/development.toml (mode): belongs below a line [auth] or [livekit]'],
  ['[server]\nlevel = "debug"', 'config/development.toml (server.level): there is no such setting; did you mean logging.level?'],
  ['[server]\nport = true', 'config/development.toml (server.port): must be a number'],
  ['[server]\nport = ""', 'config/development.toml (server.port): must be a number'],
  [
    '[server]\nallowed_origins = ["https://a.example/x"]',
    'config/development.toml (server.allowed_origins): https://a.example/x is not an origin',
  ],
])('the file %j is refused by one line', (text, message) => {
  expect(() => loadConfig({}, {}, [file(text)])).toThrow(message);
});

test('a printed configuration can be read again, but for its secrets', () => {
  const config = loadConfig({
    LIVEKIT_API_KEY: 'key',
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

test.each([
  ['https://app.example.com/', 'https://app.example.com'],
  ['HTTPS://App.Example.com', 'https://app.example.com'],
  ['https://app.example.com:443', 'https://app.example.com'],
  ['http://app.example.com:80/', 'http://app.example.com'],
  ['http://app.example.com:8080', 'http://app.example.com:8080'],
  ['http://[::1]:3000', 'http://[::1]:3000'],
  ['https://bücher.example', 'https://xn--bcher-kva.example'],
  ['Capacitor://Localhost', 'capacitor://localhost'],
  ['file://', 'file://'],
  ['null', 'null'],
])('the origin %s is what browsers send as %s', (given, origin) => {
  expect(loadConfig({ SERVER_ALLOWED_ORIGINS: given }).server.allowed_origins).toEqual([origin]);
});

test.each([
  ['SERVER_ALLOWED_ORIGINS', '*', '* allows no page'],
  ['SERVER_ALLOWED_ORIGINS', 'https://*.example.com', 'https://*.example.com allows no page'],
  ['SERVER_ALLOWED_ORIGINS', 'app.example.com', 'app.example.com is not an origin'],
  ['SERVER_ALLOWED_ORIGINS', 'wss://app.example.com', 'wss://app.example.com is not an origin'],
  ['SERVER_ALLOWED_ORIGINS', 'https://a.example/page', 'https://a.example/page is not an origin'],
  ['SERVER_ALLOWED_ORIGINS', 'https://a.example;https://b.example', 'is not an origin'],
  ['SERVER_ALLOWED_ORIGINS', 'https://a.example https://b.example', 'is not an origin'],
  ['SERVER_ALLOWED_ORIGINS', '["https://a.example"]', 'is a JSON list'],
  ['SERVER_HOST', 'http://0.0.0.0', 'must be an address or a host name'],
  ['SERVER_PORT', 'tcp://10.3.104.46:80', 'must be a number (set by Kubernetes'],
  ['LIVEKIT_SERVER_URL', 'ws://livekit:7880/rtc', 'must not contain a path'],
  ['LIVEKIT_SERVER_URL', 'ws://key:hidden@livekit:7880', 'must not contain a user name or password'],
  ['LIVEKIT_PUBLIC_URL', 'wss://livekit.example/?a=b', 'must not contain ? or #'],
  ['LIVEKIT_API_SECRET', '"hidden"', 'has quotes around it'],
  ['LIVEKIT_API_SECRET', "'hidden'", 'has quotes around it'],
  ['LIVEKIT_API_SECRET', 'hid\r\nden', 'contains a line break'],
  ['LIVEKIT_API_SECRET', 'hid den', 'contains white space'],
  ['LIVEKIT_API_KEY', 'key: hid', 'contains white space'],
  ['LIVEKIT_PUBLIC_URL', 'wss://livekit.example/a%b', 'has a % that is not followed by two hexadecimal digits'],
  ['LIVEKIT_API_KEY', 'k\u0000', 'contains a line break or another control character'],
])('%s=%s could have no effect and is refused', (name, value, why) => {
  const { section, key } = settings.find(({ env }) => env === name) ?? {};
  const error = (() => {
    try {
      return loadConfig({ [name]: value });
    } catch (error) {
      return error as Error;
    }
  })();
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as Error).message).toMatch(new RegExp(`^${name} \\(${section}\\.${key}\\): `));
  expect((error as Error).message).toContain(why);
  expect((error as Error).message).not.toContain('hidden');
});

test('white space around a value, as the end of a file or of a line leaves it, does not count', () => {
  const env = {
    SERVER_PORT: ' 9000\r',
    SERVER_HOST: '[::1]\r\n',
    LIVEKIT_API_KEY: 'key ',
    LIVEKIT_API_SECRET: 'secret\n',
    LOG_LEVEL: 'debug\r',
    AUTH_MODE: '\r',
  };
  expect(loadConfig(env)).toMatchObject({
    server: { port: 9000, host: '::1' },
    livekit: { api_key: 'key', api_secret: 'secret' },
    logging: { level: 'debug' },
    auth: {},
  });
});

test('a URL that a connection string covers up is refused', () => {
  const files = [file('[storage]\nstorage_type = "redis"\nconnection_string = "redis://a"')];
  expect(() => loadConfig({ STORAGE_URL: 'redis://b' }, {}, files)).toThrow(
    'STORAGE_URL (storage.url): only one of it and storage.connection_string (config/development.toml) can be used',
  );
  expect(loadConfig({ STORAGE_URL: 'redis://a' }, {}, files).storage.url).toBe('redis://a');
});

test.each([
  ['SERVER_PROT', 'did you mean SERVER_PORT?'],
  ['SERVER_ALLOWED_ORIGIN', 'did you mean SERVER_ALLOWED_ORIGINS?'],
  ['LIVEKIT_SECRET', 'did you mean LIVEKIT_API_SECRET?'],
  ['server_port', 'did you mean SERVER_PORT?'],
  ['STORAGE_UR', 'did you mean STORAGE_URL?'],
  ['STORAGE_URI', 'did you mean STORAGE_URL?'],
  ['STORAGE_TIMEOUT', 'did you mean STORAGE_TIMEOUT_S?'],
  ['SERVER_HOSTS', 'did you mean SERVER_HOST?'],
  ['SESSION_EXPIRY', 'did you mean SESSION_DEFAULT_EXPIRY?'],
  ['MICROSERVICE_JOIN_TIMEOUT', 'did you mean MICROSERVICES_JOIN_TIMEOUT?'],
  ['MICROSERVICE_TIMEOUT', 'CONFIG.md lists those of microservices'],
  ['LIMIT_FRAME_BYTES', 'did you mean LIMITS_FRAME_BYTES?'],
  ['LIVEKT_URL', 'did you mean LIVEKIT_SERVER_URL?'],
  ['LIVEKIT_HOST', 'CONFIG.md lists those of livekit'],
  ['LIVEKIT_WS_URL', 'CONFIG.md lists those of livekit'],
  ['LIMITS_SOCKETS', 'CONFIG.md lists those of limits'],
])('the variable %s is warned of: %s', (name, line) => {
  expect(warnings(loadConfig({ [name]: '9' }))).toEqual([`${name} is not a setting; ${line}`]);
});

test.each([
  ['of a desktop or a shell', ['SESSION_MANAGER', 'SESSIONNAME', 'DESKTOP_SESSION', 'HOST', 'PORT', 'LOGNAME', 'LOGLEVEL', 'LOG_FORMAT']],
  ['of a web server', ['SERVER_NAME', 'SERVER_SOFTWARE', 'SERVER_PROTOCOL', 'SERVER_ADDR', 'SERVER_ADMIN', 'GATEWAY_INTERFACE']],
  ['of web frameworks', ['AUTH_SECRET', 'AUTH_URL', 'AUTH_TOKEN', 'SESSION_SECRET', 'SESSION_KEY', 'SESSION_ID', 'SESSION_DRIVER']],
  ['of clouds', ['STORAGE_BUCKET', 'STORAGE_ACCOUNT', 'STORAGE_ACCOUNT_NAME', 'STORAGE_KEY', 'STORAGE_EMULATOR_HOST', 'WORKSPACE_ID']],
  [
    "of LiveKit's programs",
    [
      'LIVEKIT_KEYS',
      'LIVEKIT_CONFIG',
      'LIVEKIT_CONFIG_FILE',
      'LIVEKIT_REGION',
      'LIVEKIT_AGENT_NAME',
      'LIVEKIT_INFERENCE_URL',
      'LIVEKIT_TOKEN',
    ],
  ],
  ['of our scripts', ['LIVEKIT_SERVER_BIN']],
  ['of Vector', ['VECTOR_CONFIG', 'VECTOR_LOG', 'VECTOR_LOG_FORMAT', 'VECTOR_THREADS']],
  [
    'of Kubernetes',
    [
      'SERVER_SERVICE_HOST',
      'LIVEKIT_SERVICE_HOST',
      'LIVEKIT_SERVICE_PORT_HTTP',
      'LIVEKIT_PORT_7880_TCP_ADDR',
      'LIVEKIT_SERVER_SERVICE_PORT',
    ],
  ],
])('the variables %s are not warned of', (_, names) => {
  expect(warnings(loadConfig(Object.fromEntries(names.map((name) => [name, 'x']))))).toEqual([]);
});

test('the address that Kubernetes sets for a Service is not warned of, a port is', () => {
  expect(warnings(loadConfig({ LIVEKIT_PORT: 'tcp://10.0.0.1:7880' }))).toEqual([]);
  expect(warnings(loadConfig({ LIVEKIT_PORT: '7880' }))).toHaveLength(1);
});

test.each([
  ['3f1c0ffee001', {}, false],
  ['3f1c0ffee001', { STORAGE_URL: 'redis://r' }, false],
  ['3f1c0ffee001', { LIVEKIT_SERVER_URL: 'ws://127.0.0.1:7880' }, true],
  ['session-gateway-7d9c5b6f4d-x2x7k', { LIVEKIT_SERVER_URL: 'ws://127.0.0.1:7880' }, true],
  ['session-gateway-7d9c5b6f4d-x2x7k', { LIVEKIT_SERVER_URL: 'ws://127.0.0.1:7880', GATEWAY_NAME: 'us' }, false],
  ['robots.example.com', { LIVEKIT_SERVER_URL: 'ws://127.0.0.1:7880' }, false],
  ['gateway-0', { LIVEKIT_SERVER_URL: 'ws://127.0.0.1:7880' }, false],
])("the host name %s with %j: a warning of a container's name: %j", (host, env, isWarned) => {
  expect(warnings(loadConfig(env), host)).toEqual(isWarned ? [expect.stringContaining('set GATEWAY_NAME')] : []);
});

test('the lifetime that another overrides is said', () => {
  expect(warnings(loadConfig({ SESSION_DEFAULT_EXPIRY: '60' }))).toEqual([]);
  expect(warnings(loadConfig({ SESSION_DEFAULT_EXPIRY: '60', SESSION_TTL_HOURS: '2' }))).toEqual([
    'session.ttl_hours has no effect: session.default_expiry overrides it',
  ]);
});

const key = { LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'a-secret-of-at-least-32-characters' };

test("LiveKit's own name for its address works, and ours is stronger", () => {
  expect(loadConfig({ ...key, LIVEKIT_URL: 'wss://a.livekit.cloud' }).livekit.server_url).toBe('wss://a.livekit.cloud');
  const both = { ...key, LIVEKIT_URL: 'wss://a.livekit.cloud', LIVEKIT_SERVER_URL: 'ws://b:7880' };
  expect(loadConfig(both).livekit.server_url).toBe('ws://b:7880');
});

describe("LiveKit's dev key stays on one machine", () => {
  const open = { AUTH_MODE: 'none', SERVER_HOST: '0.0.0.0' };

  test.each([
    [{ LIVEKIT_SERVER_URL: 'ws://livekit:7880' }, 'LIVEKIT_SERVER_URL (livekit.server_url)'],
    [{ LIVEKIT_URL: 'wss://10.0.0.7' }, 'LIVEKIT_URL (livekit.server_url)'],
    [{ LIVEKIT_SERVER_URL: 'ws://127.0.0.1:7880', LIVEKIT_PUBLIC_URL: 'wss://rtc.example.com' }, 'LIVEKIT_PUBLIC_URL (livekit.public_url)'],
    [{ ...open, LIVEKIT_URL: 'wss://10.0.0.7' }, 'LIVEKIT_URL (livekit.server_url)'],
  ])('%j is refused without key and secret', (env, name) => {
    expect(() => loadConfig(env)).toThrow(
      new ConfigError(
        `${name}: is not on this machine: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET; the default is LiveKit's dev key, which everybody knows`,
      ),
    );
    expect(loadConfig({ ...env, ...key }).livekit.api_key).toBe('key');
  });

  test.each([
    [{ LIVEKIT_API_KEY: 'k' }, {}, 'LIVEKIT_API_KEY (livekit.api_key): is set without livekit.api_secret (LIVEKIT_API_SECRET)'],
    [{ LIVEKIT_API_SECRET: 's' }, {}, 'LIVEKIT_API_SECRET (livekit.api_secret): is set without livekit.api_key (LIVEKIT_API_KEY)'],
    [{}, { 'livekit-api-secret': 's' }, '--livekit-api-secret (livekit.api_secret): is set without livekit.api_key (LIVEKIT_API_KEY)'],
    [{ SERVER_TLS_CERT: 'c.pem' }, {}, 'SERVER_TLS_CERT (server.tls_cert): is set without server.tls_key (SERVER_TLS_KEY)'],
    [{}, { 'server-tls-key': 'k.pem' }, '--server-tls-key (server.tls_key): is set without server.tls_cert (SERVER_TLS_CERT)'],
  ])('half a key is refused: %j %j', (env, flags, line) => {
    expect(() => loadConfig(env, flags)).toThrow(new ConfigError(`${line}: set both or neither`));
  });

  test.each([
    [{}],
    [{ LIVEKIT_SERVER_URL: 'ws://localhost:7880' }],
    [{ LIVEKIT_SERVER_URL: 'http://[::1]:7880', LIVEKIT_PUBLIC_URL: 'ws://127.0.0.1:7880' }],
  ])('on this machine it does, and says so: %j', (env) => {
    expect(warnings(loadConfig({ ...open, ...env })).join()).toContain('with its dev key');
  });
});

test('a .env that is not read is named with what it would set, and never with a value', () => {
  const text = 'LIVEKIT_URL=ws://there:7880\nLIVEKIT_API_SECRET="hidden"\nOTHER=1\n# SERVER_PORT=1\nLOG_LEVEL=debug\n';
  const line = unreadEnvFile(text, { LOG_LEVEL: 'debug' });
  expect(line).toMatch(/no effect: LIVEKIT_API_SECRET, LIVEKIT_URL;/);
  expect(line).not.toContain('hidden');
  expect(unreadEnvFile(text, { LIVEKIT_URL: 'x', LIVEKIT_API_SECRET: 'y', LOG_LEVEL: 'info' })).toBeUndefined();
  expect(unreadEnvFile('OTHER=1', {})).toBeUndefined();
});
