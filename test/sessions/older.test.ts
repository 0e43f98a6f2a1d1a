import { expect, test } from 'vitest';
import type { Room, Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

const inParlour = { type: 'NewSessionRequest', user_identity: 'ada', room_name: 'parlour', required_services: [] };

/** A gateway on a storage that nodes of older code write to as well. */
async function upgraded(config: Parameters<typeof startGateway>[0] = {}) {
  const store = memoryStore();
  registerStoreProvider('mixed', async () => ({ ...store, shared: true }));
  const gateway = await startGateway({ ...config, storage: { url: 'mixed:' } });
  /** A commit by a node of version 0.1.0, which copies the fields of a room that it knows. */
  const olderCommit = async (id: string) => {
    const session = (await store.loadSession(id)) as Session & { room: Room };
    const { label: _, ...room } = session.room;
    const { version } = session;
    await store.saveSession({ ...session, room: room as Room, version: version + 1, commit_id: `older-${version}` }, version, []);
  };
  return { ...gateway, olderCommit };
}

test('a session whose record a node of older code has written goes on in its room, and its chosen name is free after it', async () => {
  const { url, clock, rooms, olderCommit } = await upgraded();
  const client = await TestClient.connect(url);
  const { session_id, livekit_room } = await client.ask(inParlour);
  await olderCommit(session_id);
  rooms.join(livekit_room, 'ada');
  for (let s = 0; s < 60; s++) await clock.advance(1_000);
  expect(await client.next('SessionActive')).toMatchObject({ session_id });
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Active', livekit_room });
  const asr = await connectService(url, 'asr');
  const other = await TestClient.connect(url);
  expect(await other.ask(inParlour)).toMatchObject({ code: 'ROOM_NAME_IN_USE' });
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  expect([...rooms.open.keys()]).toEqual([]);
  await clock.advance(31_000);
  await other.ask({ ...inParlour, required_services: ['asr'] });
  expect(await asr.next('JoinRoomRequest')).toMatchObject({ room_name: 'parlour' });
});

test('a room as older code made it has one name, for clients and for LiveKit', async () => {
  // exact names are what older code wrote
  const { url, clock, rooms, olderCommit } = await upgraded({ livekit: { exact_room_names: true } });
  const client = await TestClient.connect(url);
  const { session_id } = await client.ask(inParlour);
  await olderCommit(session_id);
  rooms.join('parlour', 'ada');
  await clock.advance(3_000);
  expect(await client.next('SessionActive')).toMatchObject({ session_id });
  expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ room_name: 'parlour', livekit_room: 'parlour' });
});
