import { TokenSource } from 'livekit-client';
import { expect, test } from 'vitest';
import { mint } from '../../src/auth/mint.ts';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

/** What the endpoint answers, and what the sessions are now. */
async function start() {
  const gateway = await startGateway();
  const { url } = gateway;
  return {
    ...gateway,
    ask: (body: object = {}) => rest(`${url}/livekit/token`, 'POST', body),
    sessions: async () => (await rest(`${url}/api/v1/sessions?limit=100`)).body.items as { session_id: string; status: string }[],
    room: async (name: string) =>
      (await rest(`${url}/api/v1/sessions`)).body.items.find((s: { room_name: string }) => s.room_name === name),
  };
}

const ada = { participant_identity: 'ada', participant_name: 'Ada' };

test('an app that asks again before its user has joined is given the same session, once more with the time to join', async () => {
  const { ask, sessions, clock } = await start();
  const first = await ask(ada);
  expect(first).toMatchObject({ status: 201, body: { participant_token: 'client-token-of-ada', participant_name: 'Ada' } });
  await clock.advance(50_000);
  expect((await ask(ada)).body.room_name).toBe(first.body.room_name);
  await clock.advance(50_000);
  expect(await sessions()).toMatchObject([{ status: 'Ready' }]);
  await clock.advance(15_000);
  expect(await sessions()).toMatchObject([{ status: 'Terminated', end_reason: 'client_never_joined' }]);
});

test('a session that nobody joins is over after a minute', async () => {
  const { ask, sessions, clock } = await start();
  await ask();
  await clock.advance(59_000);
  expect(await sessions()).toMatchObject([{ status: 'Ready' }]);
  await clock.advance(2_000);
  expect(await sessions()).toMatchObject([{ status: 'Terminated', end_reason: 'client_never_joined' }]);
});

test('after a call the next one is a session of its own, also while the first is not over', async () => {
  const { ask, rooms, clock, sessions } = await start();
  const first = (await ask(ada)).body;
  rooms.join(first.livekit_room, 'ada');
  await clock.advance(3_000);
  rooms.leave(first.livekit_room, 'ada');
  await clock.advance(3_000);
  const second = (await ask(ada)).body;
  expect(second.room_name).not.toBe(first.room_name);
  // and that one is what a repeated call gets
  expect((await ask(ada)).body.room_name).toBe(second.room_name);
  expect(await sessions()).toHaveLength(2);
});

test('users without a name, and those who ask for something else, share nothing', async () => {
  const { ask, sessions } = await start();
  const answers = [await ask(), await ask(), await ask(ada), await ask({ ...ada, participant_name: 'Lovelace' })];
  expect(new Set(answers.map(({ body }) => body.room_name)).size).toBe(4);
  expect(await sessions()).toHaveLength(4);
});

test('a user who left a named room and asks for it again has the time to come back', async () => {
  const { ask, rooms, clock, room } = await start();
  const body = { ...ada, room_name: 'standup' };
  const { livekit_room } = (await ask(body)).body;
  rooms.join(livekit_room, 'ada');
  await clock.advance(3_000);
  rooms.leave(livekit_room, 'ada');
  // an empty room is noticed at the next poll
  for (let s = 0; s < 35 && (await room('standup')).status !== 'Ready'; s++) await clock.advance(1_000);
  await clock.advance(15_000);
  expect((await ask(body)).body).toMatchObject({ room_name: 'standup', livekit_room });
  await clock.advance(15_000);
  expect(await room('standup')).toMatchObject({ status: 'Ready' });
  // once it is over, the name is a new session's
  await clock.advance(10_000);
  expect((await ask(body)).body.livekit_room).not.toBe(livekit_room);
});

test('somebody else gets a token for a named room as far as the session is shared with them, and else is refused', async () => {
  const { ask, url, room, sessions } = await start();
  await connectService(url, 'asr');
  await ask({ ...ada, room_name: 'standup', room_config: { agents: [{ agent_name: 'asr' }] } });
  const { session_id } = await room('standup');
  const as = (participant_identity?: string) => ask({ room_name: 'standup', participant_identity });
  const refused = { status: 409, body: { code: 'ROOM_NAME_IN_USE', retryable: true } };
  expect(await as('bea')).toMatchObject(refused);
  expect(await as()).toMatchObject(refused);

  const share = (target_user_id: string, role: string) =>
    rest(`${url}/api/v1/sessions/${session_id}/share`, 'POST', { target_user_id, role });
  await share('bea', 'participant');
  await share('cyd', 'viewer');
  expect(await as('bea')).toMatchObject({ status: 201, body: { participant_token: 'guest-token-of-bea', room_name: 'standup' } });
  expect(await as('cyd')).toMatchObject({ status: 201, body: { participant_token: 'listener-token-of-cyd' } });
  expect(await as('dan')).toMatchObject(refused);

  await rest(`${url}/api/v1/sessions/${session_id}`, 'PATCH', { visibility: 'public' });
  expect(await as('dan')).toMatchObject({ status: 201, body: { participant_token: 'listener-token-of-dan' } });
  expect(await as()).toMatchObject({ status: 201, body: { participant_token: expect.stringMatching(/^listener-token-of-user-/) } });
  const message = 'participant_identity: must differ from the services of the session: LiveKit would disconnect one of them';
  const named = { code: 'VALIDATION_FAILED', message };
  expect(await as('asr')).toMatchObject({ status: 400, body: named });
  expect(await ask({ participant_identity: 'tts', room_config: { agents: [{ agent_name: 'tts' }] } })).toMatchObject({
    status: 400,
    body: named,
  });
  expect(await sessions()).toHaveLength(1);
});

test('a room that is opened under the name at the same time is joined, not refused', async () => {
  const { ask, url, rooms, sessions } = await start();
  rooms.holdCreate();
  const both = [ask({ ...ada, room_name: 'standup' }), ask({ participant_identity: 'ada', room_name: 'standup' })];
  const other = await TestClient.connect(url);
  await expect.poll(async () => (await sessions()).length).toBe(1);
  rooms.letCreate();
  for (const answer of await Promise.all(both)) expect(answer).toMatchObject({ status: 201, body: { room_name: 'standup' } });
  const wish = { type: 'NewSessionRequest', user_identity: 'bea', room_name: 'standup', required_services: [] };
  expect(await other.ask(wish)).toMatchObject({ code: 'ROOM_NAME_IN_USE' });
});

test("LiveKit's own TokenSource says by a header who asks, where that is required", async () => {
  const key = { id: 'app', secret: 'a-key-of-at-least-32-characters!', kinds: ['user'] };
  const { url, clock } = await startGateway({ auth: { mode: 'required', keys: [key] } });
  const token = await mint({ keyId: key.id, secret: key.secret, identity: 'ada', kind: 'user', now: clock.now(), ttlS: 60 });
  const source = (authorization: string) => TokenSource.endpoint(`${url}/livekit/token`, { headers: { authorization } });
  expect(await source(`Bearer ${token}`).fetch({})).toMatchObject({ participantToken: 'client-token-of-ada' });
  await expect(source(`Bearer ${token}`).fetch({ participantIdentity: 'bob' })).rejects.toThrow('403');
  await expect(source('Bearer wrong').fetch({})).rejects.toThrow('401');
  await expect(TokenSource.endpoint(`${url}/livekit/token`).fetch({})).rejects.toThrow('401');
});
