import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { mint } from '../src/auth/mint.ts';
import { settings } from '../src/config.ts';
import { loadConfig, warnings } from '../src/config-load.ts';
import { startGateway } from './support/gateway.ts';

const markdown = readFileSync(new URL('../CONFIG.md', import.meta.url), 'utf8');
const [everything = '', development = '', open = '', issuer = ''] = [...markdown.matchAll(/^```toml\n([\s\S]*?)^```$/gm)].map(
  ([, toml]) => toml,
);

test('the complete example names every setting and changes nothing', () => {
  for (const { section, key } of settings) {
    const [, table = ''] = `\n${everything}`.split(`\n[${section}]\n`);
    expect(table.split('\n[')[0], `${section}.${key}`).toMatch(new RegExp(`^(# )?${key} = `, 'm'));
  }
  expect(loadConfig({}, {}, [{ name: 'CONFIG.md', text: everything }])).toEqual(loadConfig({}));
});

test('the development example is taken', () => {
  expect(loadConfig({}, {}, [{ name: 'CONFIG.md', text: development }])).toMatchObject({
    server: { host: '0.0.0.0', port: 8080, workers: 4 },
    livekit: { server_url: 'http://localhost:7880', api_key: 'devkey', api_secret: 'secret' },
    storage: { storage_type: 'memory' },
    logging: { level: 'debug', format: 'json' },
  });
});

test('the example of an identity provider is taken', () => {
  const { auth } = loadConfig({}, {}, [{ name: 'CONFIG.md', text: `[auth]\nmode = "required"\n${issuer}` }]);
  expect(auth).toMatchObject({ issuers: [{ issuer: 'https://login.example.com/', kinds: ['user', 'service'] }] });
});

/** An address of this machine on a network, if it has one. */
const address = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === 'IPv4' && !one.internal)?.address;

const key = { id: 'app', secret: 'a-secret-of-the-application-for-tests', kinds: ['user'] };

test.each([address, '127.0.0.1'])('the example for a network serves who has a credential: at %s by its public name', async (host) => {
  const config = loadConfig({}, {}, [{ name: 'CONFIG.md', text: open }]);
  expect(warnings(config)).toEqual([]);
  const { url, clock } = await startGateway({
    ...config,
    server: { ...config.server, port: 0 },
    auth: { ...config.auth, keys: [key] },
  });
  const { port } = new URL(url);
  const token = await mint({ keyId: key.id, secret: key.secret, identity: 'ada', kind: 'user', now: clock.now(), ttlS: 60 });
  const ask = (more: object) =>
    new Promise((done, fail) => {
      // a machine without a network has loopback alone
      const headers = { host: 'gateway.example.com', 'x-forwarded-for': '192.0.2.1', ...more };
      request({ host: host ?? '127.0.0.1', port, path: '/api/v1/sessions', headers }, (response) => done(response.resume().statusCode))
        .on('error', fail)
        .end();
    });
  expect([await ask({}), await ask({ authorization: `Bearer ${token}` })]).toEqual([401, 200]);
});
