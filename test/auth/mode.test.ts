import '../support/bearer.ts';
import { execFile } from 'node:child_process';
import { expect, test } from 'vitest';
import { loadConfig, printConfig } from '../../src/config-load.ts';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { raw } from '../support/raw.ts';

const token = 'only-the-tests-know-it';
const gateway = () => startGateway({ auth: { mode: 'bearer', token } });

/** The command line with the mode. */
const run = (args: string[], env: Record<string, string>) =>
  new Promise<{ code: unknown; stdout: string; stderr: string }>((done) =>
    execFile(
      process.execPath,
      ['--import', 'tsx', '--import', './test/support/bearer.ts', 'src/main.ts', ...args],
      { env: { PATH: process.env.PATH, LIVEKIT_MODE: 'on_join', SERVER_PORT: '0', ...env } },
      (error, stdout, stderr) => done({ code: error?.code ?? 0, stdout, stderr }),
    ),
  );

test('a mode without a setting that it needs is refused by its name, by config check as at the start', async () => {
  const why = 'AUTH_MODE (auth.mode): bearer needs auth.token (AUTH_TOKEN), which is not set';
  expect(() => loadConfig({ AUTH_MODE: 'bearer' })).toThrow(why);
  const outcomes = await Promise.all([['config', 'check'], []].map((args) => run(args, { AUTH_MODE: 'bearer' })));
  for (const outcome of outcomes) expect(outcome).toEqual({ code: 78, stdout: '', stderr: `session-gateway: ${why}\n` });
  expect(printConfig(loadConfig({ AUTH_MODE: 'bearer', AUTH_TOKEN: token }))).not.toContain(token);
});

const upgrade = { upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
test.each([
  ['a call', 'GET /api/v1/sessions', { connection: 'close' }],
  ['a socket', 'GET /ws', { connection: 'upgrade', ...upgrade }],
])('%s that is refused says how to authenticate, and is accepted when it does', async (_, line, headers) => {
  const { url } = await gateway();
  const ask = async (more: object) => {
    const lines = Object.entries({ host: new URL(url).host, ...headers, ...more }).map(([name, value]) => `${name}: ${value}\r\n`);
    const [answer] = await raw(url, `${line} HTTP/1.1\r\n${lines.join('')}\r\n`);
    return [answer?.status, answer?.headers['www-authenticate']];
  };
  expect(await ask({})).toEqual([401, 'Bearer realm="test"']);
  expect(await ask({ authorization: 'Bearer other' })).toEqual([401, 'Bearer realm="test", error="invalid_token"']);
  // who may not come from there at all is not asked who it is
  expect(await ask({ origin: 'https://elsewhere.example' })).toEqual([403, undefined]);
  const own = { headers: { authorization: `Bearer ${token}` } };
  expect((await fetch(`${url}/api/v1/sessions`, own)).status).toBe(200);
  expect(await (await TestClient.connect(url, [], own)).ask({ type: 'Ping' })).toMatchObject({ type: 'Pong' });
});

test('services and sessions say who they are, as the gateway is configured', async () => {
  const { url } = await gateway();
  const env = { AUTH_MODE: 'bearer', AUTH_TOKEN: token };
  const port = new URL(url).port;
  const outcomes = await Promise.all([
    run(['services'], { ...env, SERVER_PORT: port }),
    // with an address, the rest of the configuration may be faulty
    run(['sessions', '--url', url], { ...env, SERVER_PORT: 'x' }),
    run(['services'], { SERVER_PORT: port }),
  ]);
  expect(outcomes).toMatchObject([
    { code: 0, stderr: '' },
    { code: 0, stderr: '' },
    { code: 78, stderr: expect.stringContaining('send the token') },
  ]);
});
