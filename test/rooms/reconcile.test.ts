import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

test('two hundred rooms are all looked at in their turn, however long the queue', async () => {
  const { url, rooms, clock } = await startGateway();
  for (let i = 0; i < 200; i++) await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: `user-${i}`, required_services: [] });
  for (const [name] of rooms.open) rooms.join(name, `user-${[...rooms.open.keys()].indexOf(name)}`);
  await clock.advance(15_000);
  const active = await rest(`${url}/api/v1/stats`);
  expect(active.body).toMatchObject({ by_status: { Active: 200 } });
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
