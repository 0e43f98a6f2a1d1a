import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/client.ts';
import { type Service, serve } from '../../src/client/service.ts';
import { startGateway } from '../support/gateway.ts';

/** A server that is no gateway: it answers each upgrade so. */
async function refusing(status: string, body = ''): Promise<string> {
  const server = createServer().on('upgrade', (_, socket) => socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n${body}`));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A port on which nobody listens. */
async function nobody(): Promise<string> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return `127.0.0.1:${port}`;
}

const soon = { firstMs: 1, mostMs: 2 };

test.each([
  ['404 Not Found', '<html>not here</html>', 'ws', 'refused with 404'],
  ['403 Forbidden', 'Host x is not allowed\n', 'ws', 'refused with 403: Host x is not allowed'],
  ['404 Not Found', '', 'wss', expect.stringMatching(/wrong version number|EPROTO/)],
])('a client that is refused with %s, %j over %s is closed after some attempts, and says why', async (status, body, scheme, why) => {
  const client = connect(`${scheme}://${await refusing(status, body)}/ws`, { reconnect: soon });
  expect(await client.closed).toEqual({ code: 1006, reason: why });
  expect(client.reason).toEqual(why);
  await expect(client.newSession({ user_identity: 'ada' })).rejects.toThrow(/refused with|wrong version number|EPROTO/);
});

test('a gateway that asks by Retry-After is left alone for as long, and its words are there to read', async () => {
  const gateway = await startGateway({ limits: { upgrades_per_second: 1 } });
  const first = connect(gateway.url);
  await first.request('Ping', {});
  const second = connect(gateway.url, { reconnect: soon });
  onTestFinished(() => Promise.all([first.close(), second.close()]).then(() => {}));
  await new Promise<void>((done) => second.on('state', (state) => state === 'waiting' && done()));
  expect(second.reason).toBe('refused with 503: too many new sockets at once');
});

test('a service that cannot reach its gateway says so once, and again at the next outage', async () => {
  const where = await nobody();
  const errors: string[] = [];
  const service = serve(`ws://${where}`, { service_id: 'asr', reconnect: soon }, () => {});
  onTestFinished(() => service.close());
  service.on('error', ({ message }) => errors.push(message));
  for (let tries = 0; tries < 5; tries++) await next(service, 'connecting');
  expect(errors).toEqual([`not registered at ws://${where}/ws, trying again: connect ECONNREFUSED ${where}`]);
  expect(service.reason).toBe(`connect ECONNREFUSED ${where}`);
  const gateway = await startGateway({ server: { port: Number(where.split(':')[1]) } });
  await service.registered;
  expect(service.reason).toBeUndefined();
  await gateway.close();
  while (errors.length < 2) await next(service, 'connecting');
  expect(errors).toHaveLength(2);
});

test('a service whose id another one has reports what to do', async () => {
  const gateway = await startGateway();
  const first = serve(gateway.url, { service_id: 'asr' }, () => {});
  await first.registered;
  onTestFinished(() => first.close());
  const second = serve(gateway.url, { service_id: 'asr' }, () => {});
  second.registered.catch(() => {});
  const error = await new Promise<Error>((told) => second.on('error', told));
  expect(error).toMatchObject({ name: 'RequestFailed', code: 'SERVICE_ID_EXISTS' });
  expect((await second.closed).code).toBe(1000);
});

const next = (service: Service, wanted: Service['state']) =>
  new Promise<void>((done) => {
    const off = service.on('state', (state) => {
      if (state !== wanted) return;
      off();
      done();
    });
  });
