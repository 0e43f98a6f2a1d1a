import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

test('a room behind two hundred whose users are awaited is looked at in its turn', async () => {
  const { url, rooms, clock } = await startGateway();
  for (let i = 0; i < 200; i++) await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'somebody', required_services: [] });
  const last = await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'ada', required_services: [] });
  const { session_id, room_name } = last.body as { session_id: string; room_name: string };
  rooms.join(room_name, 'ada');
  await clock.advance(30_000);
  expect((await rest(`${url}/api/v1/sessions/${session_id}`)).body).toMatchObject({ status: 'Active' });
});

test('a room made on join that nobody ever saw outlives a LiveKit that comes and goes', async () => {
  const { url, rooms, clock } = await startGateway({ livekit: { lost_after_s: 10 } });
  Object.assign(rooms, { mode: 'on_join' });
  rooms.holdCreate();
  const client = await TestClient.connect(url);
  client.send({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: ['asr'] });
  rooms.letCreate();
  await client.next('NewSessionResponse');
  rooms.reachable = false;
  await clock.advance(25_000);
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'WaitingForServices' });
});
