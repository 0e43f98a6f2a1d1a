import { expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

test('a stop says GoAway, ends the sessions, then closes every socket with 4452', async () => {
  const { url, close, rooms, holds } = await startGateway();
  const service = await connectService(url, 'asr');
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  await client.next('SessionReady');
  const idle = await TestClient.connect(url);
  await idle.caughtUp();
  const stopped = close();
  expect(await client.next('GoAway')).toMatchObject({ reason: 'shutdown', deadline_ms: 2_000 });
  expect(await service.next('LeaveRoomRequest')).toMatchObject({ reason: 'shutdown' });
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'shutdown', by: 'gateway' });
  for (const socket of [client, service, idle]) expect(await socket.closed).toEqual({ code: 4452, reason: 'draining' });
  await stopped;
  expect(rooms.open.size).toBe(0);
  expect(holds()).toEqual({ sockets: 0, live_sessions: 0, watched_rooms: 0, waiting: 0 });
  await expect(fetch(`${url}/health`)).rejects.toThrow();
});

test('while it drains, new sessions and registrations are refused and it is not ready', async () => {
  const { url, close } = await startGateway();
  // it never leaves, which keeps the drain going for its two seconds
  const service = await connectService(url, 'asr', { auto: false });
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  const other = await TestClient.connect(url);
  await service.next('JoinRoomRequest');
  const stopped = close();
  await other.next('GoAway');
  expect(await other.ask({ type: 'NewSessionRequest', user_identity: 'bob' })).toMatchObject({
    type: 'Error',
    code: 'DRAINING',
    retryable: true,
  });
  expect(await other.ask({ type: 'RegisterServiceRequest', service_id: 'tts' })).toMatchObject({ code: 'DRAINING' });
  const ready = await fetch(`${url}/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.json()).toMatchObject({ ready: false, draining: true });
  await stopped;
});

test('on memory a session ends with the gateway, whatever window it has', async () => {
  const { url, close } = await startGateway();
  const here = await TestClient.connect(url);
  const away = await TestClient.connect(url);
  const wish = { type: 'NewSessionRequest', user_identity: 'ada', room: false, resume_window_s: 60 };
  await here.ask(wish);
  const { session_id } = await away.ask(wish);
  const watcher = await TestClient.connect(url);
  await watcher.ask({ type: 'WatchRequest', session_id });
  away.ws.terminate();
  await expect.poll(async () => (await watcher.ask({ type: 'GetSessionRequest', session_id })).link).toBe('away');
  const stopped = close();
  for (const client of [here, watcher]) expect(await client.next('SessionEnded')).toMatchObject({ reason: 'shutdown' });
  await stopped;
});

test('while it drains nobody resumes', async () => {
  const { url, close } = await startGateway();
  // it never leaves, which keeps the drain going
  const service = await connectService(url, 'asr', { auto: false });
  const client = await TestClient.connect(url);
  const wish = { type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s: 60 };
  const { session_id, resume_token } = await client.ask(wish);
  await service.next('JoinRoomRequest');
  const other = await TestClient.connect(url);
  const stopped = close();
  await other.next('GoAway');
  const answer = await other.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: 0 });
  expect(answer).toMatchObject({ code: 'DRAINING', retryable: true });
  expect(client.ws.readyState).toBe(client.ws.OPEN);
  await stopped;
});

test('many sockets are closed over half the drain time, not all at once', async () => {
  const { url, close, clock } = await startGateway({ server: { port: 0, drain_s: 10 } });
  const clients = await Promise.all(Array.from({ length: 250 }, () => TestClient.connect(url)));
  const stopped = close();
  expect(await Promise.race(clients.map(({ closed }) => closed))).toEqual({ code: 4452, reason: 'draining' });
  // time stands still: who is not closed by now is still served
  const served = clients.map((client) =>
    client.caughtUp().then(
      () => true,
      () => false,
    ),
  );
  expect(await Promise.all(served)).toContain(true);
  await clock.advance(5_000);
  for (const client of clients) expect(await client.closed).toEqual({ code: 4452, reason: 'draining' });
  await stopped;
});

test('those who are refused while it drains come back at different times', async () => {
  const { url, close } = await startGateway();
  // it never leaves, which keeps the drain going
  const service = await connectService(url, 'asr', { auto: false });
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  await service.next('JoinRoomRequest');
  const other = await TestClient.connect(url);
  const stopped = close();
  await other.next('GoAway');
  const waits = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const { code, retry_after_ms } = await other.ask({ type: 'NewSessionRequest', user_identity: 'bob' });
    expect(code).toBe('DRAINING');
    expect(retry_after_ms).toBeGreaterThanOrEqual(1_000);
    expect(retry_after_ms).toBeLessThan(5_000);
    waits.add(retry_after_ms);
  }
  expect(waits.size).toBeGreaterThan(1);
  await stopped;
});
