import { expect, test } from 'vitest';
import { makeLog } from '../../src/log/log.ts';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { HttpService, rest } from '../support/http-service.ts';

test('an HTTP service that registers again as the same instance keeps what it serves', async () => {
  const { url } = await startGateway();
  const service = await HttpService.start();
  await service.register(url, { service_id: 'asr', instance_id: 'a' });
  const client = await TestClient.connect(url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  await service.next('/join');
  await rest(`${url}/api/v1/sessions/${session_id}/ready`, 'POST', { service_id: 'asr' });
  await client.next('SessionReady');
  await service.register(url, { service_id: 'asr', instance_id: 'a' });
  await client.caughtUp();
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health: 'ok', ready_services: ['asr'] });
});

test('a socket whose registration was taken over is closed, and its end changes nothing', async () => {
  const { url, clock } = await startGateway();
  const old = await connectService(url, 'asr', { instance_id: 'a' });
  const fresh = await connectService(url, 'asr', { instance_id: 'a' });
  expect(await old.closed).toEqual({ code: 4409, reason: 'taken over' });
  await clock.advance(10_000);
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  await fresh.next('JoinRoomRequest');
});

test('the end of a socket whose registration was taken over, or taken back, is no disconnection', async () => {
  const lines: Record<string, unknown>[] = [];
  const { url } = await startGateway({}, makeLog('info', { write: (line) => void lines.push(JSON.parse(line)) }));
  const old = await connectService(url, 'asr', { instance_id: 'a' });
  const fresh = await connectService(url, 'asr', { instance_id: 'a' });
  await old.closed;
  await fresh.ask({ type: 'DeregisterServiceRequest' });
  fresh.ws.close();
  await fresh.closed;
  // one that is a disconnection is said to be one, after these
  const other = await connectService(url, 'tts');
  other.ws.close();
  await expect.poll(() => lines.filter(({ msg }) => msg === 'service disconnected')).not.toEqual([]);
  expect(lines.filter(({ msg }) => msg === 'service disconnected')).toMatchObject([{ service_id: 'tts' }]);
});

test('a service that registers again on its own socket keeps the socket', async () => {
  const { url } = await startGateway();
  const asr = await connectService(url, 'asr', { instance_id: 'a' });
  await asr.ask({ type: 'RegisterServiceRequest', service_id: 'asr', instance_id: 'a' });
  await asr.caughtUp();
  expect(asr.ws.readyState).toBe(asr.ws.OPEN);
});

test('an optional service that accepts and is never ready is asked anew after the join timeout', async () => {
  const { url, clock } = await startGateway({ heartbeat: { service_s: 600, client_s: 600 } });
  const slow = await connectService(url, 'asr', { auto: false });
  const client = await TestClient.connect(url);
  await client.ask({
    type: 'NewSessionRequest',
    user_identity: 'ada',
    required_services: [],
    optional_services: ['asr'],
    join_timeout_s: 20,
  });
  const first = await slow.next('JoinRoomRequest');
  slow.send({ type: 'JoinRoomResponse', assignment_id: first.assignment_id, accepted: true });
  await slow.caughtUp();
  await clock.advance(22_000);
  expect(await slow.next('LeaveRoomRequest')).toMatchObject({
    assignment_id: first.assignment_id,
    reason: 'the service was not ready in time',
  });
  expect(await slow.next('JoinRoomRequest')).toMatchObject({ attempt: 2 });
});

test.each(['http://10.0.0.1:80', 'http://[fd00::1]', 'http://169.254.169.254/latest', 'http://2886729729:80'])(
  'the endpoint %s, which may never be called, is refused at its registration',
  async (endpoint) => {
    const { url } = await startGateway();
    expect(await rest(`${url}/api/v1/microservices/register`, 'POST', { service_id: 'asr', endpoint })).toMatchObject({
      status: 400,
      body: { code: 'VALIDATION_FAILED', message: expect.stringContaining('microservices.allowed_networks') },
    });
  },
);

test('an endpoint with a user and a password is refused, and neither is said again', async () => {
  const { url } = await startGateway();
  const answer = await rest(`${url}/api/v1/microservices/register`, 'POST', {
    service_id: 'asr',
    endpoint: 'http://u:hunter2@localhost:1',
  });
  expect(answer).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED' } });
  expect(JSON.stringify(answer.body)).not.toContain('hunter2');
});
