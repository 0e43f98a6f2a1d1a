import { expect, test } from 'vitest';
import { ConfigError, loadConfig, settings } from '../src/config.ts';

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
  for (const { path, about } of settings) expect(about, path.join('.')).not.toBe('');
});
