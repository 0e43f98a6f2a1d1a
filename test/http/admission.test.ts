import { expect, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';
import { head, raw, webSocket } from '../support/raw.ts';

const onNetwork = (more: object = {}) => ({ server: { host: '0.0.0.0', port: 0, ...more }, auth: { mode: 'none' } });

/** The status of a call by loopback with these headers. */
const status = async (url: string, headers: Record<string, string>, path = '/api/v1/stats') =>
  (await raw(url, head(`GET ${path}`, headers)))[0]?.status;

/** A gateway and the warnings it writes. */
async function withLog(overrides: Parameters<typeof startGateway>[0]) {
  const { log, said } = keptLog('warn');
  const gateway = await startGateway(overrides, log);
  return { ...gateway, refusals: () => [...said('request refused'), ...said('socket refused')].map(({ message }) => message) };
}

test('open on the network, a public name is refused unless it is configured, and named in the log once', async () => {
  const { url, refusals } = await withLog(
    onNetwork({ allowed_hosts: 'robots.example.com', allowed_origins: 'https://app.example.org:8443' }),
  );
  for (const host of [
    '10.1.2.3:8080',
    '[fd00::1]:8080',
    '[0:0:0:0:0:0:0:1]',
    'gateway',
    'gateway:8080',
    'robot.local',
    'x.localhost',
    'gateway.internal',
    'nas.lan',
    'gateway.default.svc',
    'gateway.default.svc.cluster.local',
    'hub.home.arpa',
    'robots.example.com',
    'Robots.Example.COM.:9000',
    'app.example.org',
  ])
    expect(await status(url, { Host: host }), host).toBe(200);
  for (const host of ['rebind.evil', 'robots.example.com.evil.org', 'x.robots.example.com', 'evil.local.example', 'notlocal.lan.evil:8080'])
    for (let twice = 0; twice < 2; twice++) expect(await status(url, { Host: host }), host).toBe(403);
  expect(refusals()).toHaveLength(5);
  expect(refusals()[0]).toBe('Host rebind.evil is not allowed; add it to server.allowed_hosts');
  const [upgrade] = await raw(url, head('GET /ws', { ...webSocket, Host: 'rebind.evil' }));
  expect(upgrade).toMatchObject({ status: 403, body: 'Host rebind.evil is not allowed; add it to server.allowed_hosts\n' });
});

test.each([[{}], [{ host: '0.0.0.0' }]])(
  'without AUTH_MODE a gateway %j is asked for by loopback names and configured ones only',
  async (server) => {
    const { url } = await startGateway({ server: { port: 0, allowed_hosts: ['robots.example.com'], ...server } });
    for (const host of ['localhost', '0.0.0.0:8080', '[::]:8080', 'robots.example.com'])
      expect(await status(url, { Host: host }), host).toBe(200);
    for (const host of ['10.1.2.3', 'gateway', 'robot.local']) expect(await status(url, { Host: host }), host).toBe(403);
  },
);

test.each(['X-Forwarded-For', 'X-Forwarded-Proto', 'Forwarded', 'X-Real-IP', 'Via'])(
  'a request with %s is refused unless AUTH_MODE is set, and told why',
  async (name) => {
    const { url, refusals } = await withLog({});
    const [answer] = await raw(url, head('GET /api/v1/stats', { [name]: '192.0.2.1' }));
    expect(answer?.status).toBe(403);
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('Set AUTH_MODE explicitly'),
    });
    expect((await raw(url, head('GET /ws', { ...webSocket, [name]: '192.0.2.1' })))[0]?.status).toBe(403);
    // thousands of headers before it hide nothing
    const hidden = await raw(
      url,
      `GET /api/v1/stats HTTP/1.1\r\n${'A:\r\n'.repeat(2_500)}${name}: x\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    expect(hidden[0]?.status).toBe(403);
    expect(refusals()).toHaveLength(1);
    const { url: open } = await startGateway({ auth: { mode: 'none' } });
    expect(await status(open, { [name]: '192.0.2.1' })).toBe(200);
  },
);

test('an Origin of the host that is asked for passes, where that host does', async () => {
  const { url, refusals } = await withLog(
    onNetwork({ allowed_hosts: 'robots.example.com', allowed_origins: 'capacitor://localhost,https://app.example.org' }),
  );
  for (const [host, origin] of [
    ['robots.example.com:8080', 'http://robots.example.com:8080'],
    ['robots.example.com', 'https://robots.example.com'],
    ['robots.example.com:443', 'https://robots.example.com'],
    ['10.1.2.3:8080', 'http://10.1.2.3:8080'],
    ['10.1.2.3:8080', 'capacitor://localhost'],
    ['robots.example.com', 'https://app.example.org'],
  ] as const)
    expect(await status(url, { Host: host, Origin: origin }), origin).toBe(200);
  for (const [host, origin] of [
    ['rebind.evil', 'http://rebind.evil'],
    ['robots.example.com:8080', 'http://robots.example.com:3000'],
    ['robots.example.com', 'http://other.example.com'],
    ['10.1.2.3', 'file://'],
    ['10.1.2.3', 'null'],
  ] as const)
    for (let twice = 0; twice < 2; twice++) expect(await status(url, { Host: host, Origin: origin }), origin).toBe(403);
  expect(refusals()).toHaveLength(5);
  expect(refusals()).toContain('origin file:// is not allowed; add it to server.allowed_origins');
});

test('/health answers anybody, /ready yes or no', async () => {
  const { url, close, rooms } = await startGateway({ server: { host: '0.0.0.0', port: 0 } });
  const strangers = [{ Host: '10.0.0.5:8080' }, { Host: 'rebind.evil', Origin: 'https://rebind.evil' }, { 'X-Forwarded-For': '192.0.2.1' }];
  for (const headers of strangers) {
    const [health, ready] = await raw(url, head('GET /health', { ...headers, Connection: 'keep-alive' }) + head('GET /ready', headers));
    expect(health).toMatchObject({ status: 200, body: expect.stringContaining('healthy') });
    expect(health?.headers).not.toHaveProperty('access-control-allow-origin');
    expect(ready?.status).toBe(200);
    expect(JSON.parse(ready?.body ?? '')).toEqual({ ready: true, draining: false });
  }
  expect((await raw(url, 'GET /health HTTP/1.0\r\n\r\n'))[0]?.status).toBe(200);
  rooms.reachable = false;
  const [ready] = await raw(url, head('GET /ready', strangers[0]));
  expect([ready?.status, JSON.parse(ready?.body ?? '')]).toEqual([503, { ready: false, draining: false }]);
  await close();
});

test('a gateway on every address says where this machine reaches it', async () => {
  const { url } = await startGateway({ server: { host: '0.0.0.0', port: 0 } });
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect((await fetch(`${url}/api/v1/stats`)).status).toBe(200);
});
