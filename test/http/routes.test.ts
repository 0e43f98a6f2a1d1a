import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

const get = async (url: string) => {
  const response = await fetch(url);
  return { status: response.status, body: await response.json() };
};

test('/health is constant and names the version', async () => {
  const { url } = await startGateway();
  expect(await get(`${url}/health`)).toEqual({
    status: 200,
    body: { status: 'healthy', timestamp: expect.stringMatching(/^2030-01-01T/), version: '0.1.0' },
  });
});

test('/ready says how LiveKit stands', async () => {
  const { url, rooms } = await startGateway();
  expect(await get(`${url}/ready`)).toMatchObject({
    status: 200,
    body: { ready: true, livekit: { mode: 'create', url: rooms.url, reachable: true } },
  });
  rooms.reachable = false;
  expect(await get(`${url}/ready`)).toMatchObject({ status: 503, body: { ready: false, livekit: { reachable: false } } });
});

test('a session can be read while it lives and after it ended, and never with a token', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [], metadata: { tags: ['demo'] } });
  const path = `${url}/api/v1/sessions/${made.session_id}`;
  const { status, body } = await get(path);
  expect(status).toBe(200);
  expect(body).toMatchObject({
    session_id: made.session_id,
    status: 'Ready',
    room_name: made.room_name,
    ready_services: [],
    pending_services: [],
    metadata: { tags: ['demo'] },
  });
  expect(JSON.stringify(body)).not.toContain('token');
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  expect(await get(path)).toMatchObject({ status: 200, body: { status: 'Terminated', end_reason: 'client_ended' } });
});

test('an unknown session and an unknown path are errors in the one shape', async () => {
  const { url } = await startGateway();
  expect(await get(`${url}/api/v1/sessions/nobody`)).toEqual({
    status: 404,
    body: {
      error: 'SessionNotFound',
      code: 'SESSION_NOT_FOUND',
      message: 'Session not found: nobody',
      timestamp: expect.any(String),
      retryable: false,
    },
  });
  expect(await get(`${url}/nowhere`)).toMatchObject({ status: 404, body: { error: 'NotFound', code: 'NOT_FOUND' } });
});

test('an ended session is forgotten after an hour', async () => {
  const { url, clock } = await startGateway();
  const client = await TestClient.connect(url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false });
  await client.ask({ type: 'EndSessionRequest' });
  await clock.advance(3_599_000);
  expect((await get(`${url}/api/v1/sessions/${session_id}`)).status).toBe(200);
  await clock.advance(2_000);
  expect((await get(`${url}/api/v1/sessions/${session_id}`)).status).toBe(404);
});
