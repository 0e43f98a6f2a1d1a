import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { get, type RequestOptions } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigError } from '../../src/config.ts';
import { checkConfig } from '../../src/resources.ts';
import { TestClient } from '../support/client.ts';
import type { ManualClock } from '../support/clock.ts';
import { startGateway, testConfig } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';

const here = (name: string) => join(import.meta.dirname, 'tls', name);
const ca = ['first', 'second', 'ending'].map((name) => readFileSync(here(`${name}.cert.pem`)));

/** A folder with the certificate and the key of this name. */
function filesOf(name: string) {
  const folder = mkdtempSync(join(tmpdir(), 'tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const files = { tls_cert: join(folder, 'cert.pem'), tls_key: join(folder, 'key.pem') };
  const use = (which: string, key = which) => {
    copyFileSync(here(`${which}.cert.pem`), files.tls_cert);
    copyFileSync(here(`${key}.key.pem`), files.tls_key);
  };
  use(name);
  return { files, use };
}

async function start(name = 'first') {
  const { files, use } = filesOf(name);
  const { log, lines, said } = keptLog();
  const gateway = await startGateway({ server: { port: 0, drain_s: 1, ...files } }, log);
  const { port } = new URL(gateway.url);
  /** Whose certificate a new connection is shown. */
  const shown = () =>
    new Promise<string>((done, fail) => {
      const socket: TLSSocket = connectTls({ host: '127.0.0.1', port: Number(port), ca, servername: 'localhost' }, () => {
        done(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      });
      socket.on('error', fail);
    });
  return { ...gateway, files, use, lines, said, port: Number(port), shown };
}

const ask = (url: string, headers: Record<string, string> = {}, more: RequestOptions = {}) =>
  new Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: unknown }>((done, fail) => {
    get(url, { ca, headers, agent: false, ...more }, (response) => {
      let text = '';
      response
        .on('data', (data) => (text += data))
        .on('end', () => done({ status: response.statusCode, headers: response.headers, body: text.startsWith('{') && JSON.parse(text) }));
    }).on('error', fail);
  });

test.each([
  ['gateway.example.com', 'max-age=31536000'],
  // everything that is developed on this machine would have to serve https
  ['localhost', undefined],
])('Strict-Transport-Security for %s is %s', async (servername, expected) => {
  const { url } = await start();
  const upgrade = { connection: 'upgrade', upgrade: 'websocket', origin: 'https://evil.example' };
  for (const headers of [{}, upgrade]) {
    const answer = await ask(`${url}/ws`, { host: servername, ...headers }, { servername, rejectUnauthorized: false });
    expect(answer.headers['strict-transport-security']).toBe(expected);
  }
});

test('with a certificate it serves https and wss, and nothing else at that port', async () => {
  const { url, port } = await start();
  expect(url).toBe(`https://127.0.0.1:${port}`);
  expect(await ask(`${url}/health`)).toMatchObject({ status: 200, body: { status: 'healthy' } });
  const client = await TestClient.connect(url, [], { ca });
  expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] })).toMatchObject({
    type: 'NewSessionResponse',
  });
  // some clients offer HTTP/2 with every request
  expect(await ask(`${url}/health`, { connection: 'upgrade', upgrade: 'h2c' })).toMatchObject({ status: 200 });
  const plain = connect(port, '127.0.0.1');
  plain.on('error', () => {});
  plain.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
  let said = '';
  plain.on('data', (data) => (said += data.toString('latin1')));
  await new Promise((closed) => plain.on('close', closed));
  expect(said).not.toContain('HTTP/1.1 200');
});

/** Looks at the files again and again until the value is there. */
const untilLooked = (clock: ManualClock, value: () => unknown) =>
  expect.poll(async () => {
    await clock.advance(10_000);
    return value();
  });

test('a certificate that is renewed is used for new connections; open sockets stay', async () => {
  const { url, use, shown, said, clock } = await start();
  const client = await TestClient.connect(url, [], { ca });
  expect(await shown()).toBe('first.test');
  use('second');
  await untilLooked(clock, shown).toBe('second.test');
  expect(await client.ask({ type: 'Ping' })).toMatchObject({ type: 'Pong' });
  expect(said('TLS certificate renewed')).toHaveLength(1);
});

test.each([
  ['of which one is not read yet', (use: Use) => use('second', 'first'), /key\.pem is not the key of .*cert\.pem/],
  ['that are half written', (_: Use, files: Files) => writeFileSync(files.tls_cert, '-----BEGIN'), /cert\.pem is not a certificate in PEM/],
  ['that are gone', (_: Use, files: Files) => rmSync(files.tls_key), /ENOENT/],
])('files %s change nothing, and are reported', async (_, change, reason) => {
  const { use, files, shown, lines, clock } = await start();
  change(use, files);
  const reported = () => lines.filter(({ msg }) => msg.includes('could not be renewed'));
  await untilLooked(clock, () => reported().length).toBe(1);
  expect(reported()[0]).toMatchObject({ reason: expect.stringMatching(reason) });
  for (let looks = 0; looks < 3; looks++) {
    await clock.advance(10_000);
    expect(await shown()).toBe('first.test');
  }
  expect(reported()).toHaveLength(1);
  // and is used once it is whole
  use('second');
  await untilLooked(clock, shown).toBe('second.test');
});
type Files = ReturnType<typeof filesOf>['files'];
type Use = ReturnType<typeof filesOf>['use'];

test('a certificate that ends within two weeks is warned of, once', async () => {
  const { said, clock } = await start('ending');
  const warned = () => said('TLS certificate expires soon');
  await expect.poll(() => warned().length).toBe(1);
  await clock.advance(60_000);
  expect(warned()).toHaveLength(1);
});

test.each([
  [
    'a key that is another one s',
    { tls_cert: here('first.cert.pem'), tls_key: here('second.key.pem') },
    /server\.tls_key: .*is not the key of/,
  ],
  [
    'a file that is not there',
    { tls_cert: here('none.pem'), tls_key: here('first.key.pem') },
    /server\.tls_cert: .*cannot be read \(ENOENT\)/,
  ],
  [
    'a key in place of the certificate',
    { tls_cert: here('first.key.pem'), tls_key: here('first.key.pem') },
    /server\.tls_cert: .*is not a certificate/,
  ],
])('%s is refused at the start and by `config check`', async (_, server, message) => {
  const config = testConfig({ server: { port: 0, ...server } });
  const refused = expect.objectContaining({ message: expect.stringMatching(message) });
  await expect(checkConfig(config)).rejects.toEqual(refused);
  await expect(checkConfig(config)).rejects.toBeInstanceOf(ConfigError);
  await expect(startGateway({ server: { port: 0, ...server } })).rejects.toEqual(refused);
});
