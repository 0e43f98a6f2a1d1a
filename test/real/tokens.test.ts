import { TokenSource } from 'livekit-client';
import { expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import { sharedLiveKit, startGatewayOn } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { claims, joinRoom } from './room.ts';
import { rtc } from './rtc.ts';

const long = { timeout: 300_000 };
const soon = { timeout: 90_000, interval: 20 };

describeWith(parts.livekit)('tokens for a real LiveKit', () => {
  // a room that a token brings back closes after a second of nobody who counts
  const livekit = sharedLiveKit({ room: { empty_timeout: 1, departure_timeout: 1 } });

  const inRoom = async (room: string) => (await livekit().client.listParticipants(room)).map(({ identity }) => identity).sort();

  test('a fresh one over the socket lets the user in', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const client = await TestClient.connect(gateway.url);
    const { session_id, room_name, access_token } = await client.ask({
      type: 'NewSessionRequest',
      user_identity: 'ada',
      user_name: 'Ada L.',
      required_services: [],
    });
    const fresh = await client.ask({ type: 'RefreshTokenRequest' });
    expect(fresh).toMatchObject({ type: 'RefreshTokenResponse', session_id, livekit_url: livekit().url });
    const { exp, nbf, sub, name, video } = claims(fresh.access_token);
    expect({ sub, name, video }).toEqual({ sub: 'ada', name: 'Ada L.', video: claims(access_token).video });
    expect(exp - nbf).toBe(6 * 3_600);
    expect(Math.abs(exp - Date.parse(fresh.expires_at) / 1_000)).toBeLessThanOrEqual(2);

    await joinRoom(fresh.livekit_url, fresh.access_token);
    expect(await client.next('SessionActive')).toMatchObject({ participant: { identity: 'ada' } });
    expect(await inRoom(room_name)).toEqual(['ada']);
  });

  test('a fresh one over REST lets the user in, and one of an ended session is not given', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const sessions = `${gateway.url}/api/v1/sessions`;
    const { session_id, room_name } = (await rest(sessions, 'POST', { user_identity: 'ada', required_services: [] })).body;
    const fresh = await rest(`${sessions}/${session_id}/token`, 'POST');
    expect(fresh).toMatchObject({ status: 201, body: { session_id, livekit_url: livekit().url } });
    expect(claims(fresh.body.access_token).sub).toBe('ada');
    await joinRoom(fresh.body.livekit_url, fresh.body.access_token);
    expect(await inRoom(room_name)).toEqual(['ada']);

    await rest(`${sessions}/${session_id}`, 'DELETE');
    expect(await rest(`${sessions}/${session_id}/token`, 'POST')).toMatchObject({ status: 409, body: { code: 'ILLEGAL_STATE' } });
  });

  test('a manager administers the room unseen, and cannot publish', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const sessions = `${gateway.url}/api/v1/sessions`;
    const { session_id, room_name, livekit_url, access_token } = (
      await rest(sessions, 'POST', { user_identity: 'ada', required_services: [] })
    ).body;
    const now = async () => (await rest(`${sessions}/${session_id}`)).body;
    const given = await rest(`${sessions}/${session_id}/token`, 'POST', { role: 'manager' });
    expect(given).toMatchObject({ status: 201, body: { session_id, livekit_url } });
    const identity = `session-manager-${session_id}`;
    const manager = claims(given.body.access_token);
    expect(manager).toMatchObject({
      sub: identity,
      kind: 'agent',
      video: { room: room_name, roomAdmin: true, hidden: true, canPublish: false, canPublishData: false, canSubscribe: false },
    });
    expect(manager.exp - manager.nbf).toBe(600);
    expect(Math.abs(manager.exp - Date.parse(given.body.expires_at) / 1_000)).toBeLessThanOrEqual(2);

    const user = new rtc.Room();
    const met: string[] = [];
    user.on(rtc.RoomEvent.ParticipantConnected, (participant) => met.push(participant.identity));
    await user.connect(livekit_url, access_token, { autoSubscribe: true, dynacast: false });
    const seat = await joinRoom(livekit_url, given.body.access_token);
    const inside = (await livekit().client.listParticipants(room_name)).find((participant) => participant.identity === identity);
    expect(inside).toMatchObject({
      kind: rtc.ParticipantKind.AGENT,
      permission: { hidden: true, canPublish: false, canPublishData: false },
    });
    await expect.poll(now, soon).toMatchObject({ status: 'Active' });
    expect((await now()).participants).toEqual([expect.objectContaining({ identity: 'ada' })]);

    // the token itself is let into the room's administration
    const admin = (method: string, body: object) =>
      rest(`${livekit_url.replace(/^ws/, 'http')}/twirp/livekit.RoomService/${method}`, 'POST', body, {
        headers: { authorization: `Bearer ${given.body.access_token}` },
      });
    expect(await admin('ListParticipants', { room: room_name })).toMatchObject({ status: 200 });
    expect((await admin('ListParticipants', { room: 'another' })).status).toBe(401);
    const heard = new Promise<string>((said) => user.on(rtc.RoomEvent.DataReceived, (data) => said(new TextDecoder().decode(data))));
    await seat.say('hello', 'from the manager').catch(() => {});
    await livekit().client.sendData(room_name, new TextEncoder().encode('from the server'), 0);
    expect(await heard).toBe('from the server');
    expect([...user.remoteParticipants.keys(), ...met]).toEqual([]);
    await user.disconnect();
  });

  test('a manager does not keep a room open', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const sessions = `${gateway.url}/api/v1/sessions`;
    const { session_id, room_name, livekit_url } = (await rest(sessions, 'POST', { user_identity: 'ada', required_services: [] })).body;
    const { access_token } = (await rest(`${sessions}/${session_id}/token`, 'POST', { role: 'manager' })).body;
    await rest(`${sessions}/${session_id}`, 'DELETE');
    await expect.poll(async () => (await livekit().client.listRooms([room_name])).length, soon).toBe(0);

    // the room anew, made by LiveKit itself with its own second of patience: it closes over the manager's head
    const alone = await joinRoom(livekit_url, access_token);
    expect(await livekit().client.listRooms([room_name])).toHaveLength(1);
    await alone.gone;
    expect(await livekit().client.listRooms([room_name])).toEqual([]);
  });

  test("LiveKit's own TokenSource starts a session with the services it names, and joins", long, async () => {
    const gateway = await startGatewayOn(livekit());
    const asr = await connectService(gateway.url, 'asr');
    const llm = await connectService(gateway.url, 'llm');
    const source = TokenSource.endpoint(`${gateway.url}/livekit/token`);
    const wish = {
      roomName: 'standup',
      participantIdentity: 'ada',
      participantName: 'Ada L.',
      participantMetadata: '{"a":1}',
      participantAttributes: { language: 'en' },
      agentName: 'asr',
      agentMetadata: '{"b":2}',
    };
    const given = await source.fetch(wish);
    expect(given).toMatchObject({ serverUrl: livekit().url, participantToken: expect.any(String) });
    expect(claims(given.participantToken)).toMatchObject({
      sub: 'ada',
      name: 'Ada L.',
      video: { roomJoin: true, room: expect.stringMatching(/^standup~/) },
    });
    const offer = await asr.next('JoinRoomRequest');
    expect(offer).toMatchObject({ room_name: 'standup', service_identity: 'asr' });
    await llm.caughtUp();
    expect(llm.types()).not.toContain('JoinRoomRequest');

    await joinRoom(given.serverUrl, given.participantToken);
    const session = async () => (await rest(`${gateway.url}/api/v1/sessions/${offer.session_id}`)).body;
    await expect
      .poll(session, soon)
      .toMatchObject({ status: 'Active', user_identity: 'ada', room_name: 'standup', ready_services: ['asr'] });

    // what the source keeps is asked for again after 20 s: the session may be over by then
    expect(claims(given.participantToken).exp - claims(given.participantToken).nbf).toBe(80);
    // asked again, by this source or by another, it is the same session
    for (const again of [source, TokenSource.endpoint(`${gateway.url}/livekit/token`)]) {
      const { participantToken, serverUrl } = await again.fetch(wish, true);
      expect(serverUrl).toBe(livekit().url);
      expect(claims(participantToken).video).toEqual(claims(given.participantToken).video);
      expect(claims(participantToken).sub).toBe('ada');
    }
    expect((await rest(`${gateway.url}/api/v1/sessions`)).body.items).toHaveLength(1);
  });

  test('a TokenSource that names nothing gets a user and a room of its own, and every service', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const services = [await connectService(gateway.url, 'asr'), await connectService(gateway.url, 'llm')];
    const source = TokenSource.endpoint(`${gateway.url}/livekit/token`);
    const given = await source.fetch({});
    const { sub, video } = claims(given.participantToken);
    for (const service of services) expect(await service.next('JoinRoomRequest')).toMatchObject({ livekit_room: video.room });
    await joinRoom(given.serverUrl, given.participantToken);
    await expect.poll(() => inRoom(video.room), soon).toEqual([sub]);

    // somebody else is another user, in another room
    const other = claims((await source.fetch({}, true)).participantToken);
    expect(other.video.room).not.toBe(video.room);
    expect(other.sub).not.toBe(sub);
  });

  test("the token of an ended session does not open the next one's room of the same name", long, async () => {
    const gateway = await startGatewayOn(livekit());
    const sessions = `${gateway.url}/api/v1/sessions`;
    const open = async (user_identity: string) =>
      (await rest(sessions, 'POST', { user_identity, room_name: 'garden', required_services: [] })).body;
    const { session_id, livekit_url, access_token } = await open('fay');
    await rest(`${sessions}/${session_id}`, 'DELETE');
    const next = await open('gus');
    expect(next).toMatchObject({ room_name: 'garden', status: 'Ready' });
    await joinRoom(livekit_url, access_token);
    expect(claims(access_token).video.room).not.toBe(next.livekit_room);
    expect(await inRoom(next.livekit_room)).toEqual([]);
  });

  test('a TokenSource is answered why it gets no token', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const source = TokenSource.endpoint(`${gateway.url}/livekit/token`);
    await source.fetch({ roomName: 'taken', participantIdentity: 'ada' });
    await expect(source.fetch({ roomName: 'taken', participantIdentity: 'grace' })).rejects.toThrow(/received 409.*ROOM_NAME_IN_USE/);
    await expect(source.fetch({ participantIdentity: 'asr', agentName: 'asr' })).rejects.toThrow(/received 400.*participant_identity/);
  });

  test('a TokenSource with a literal answer of the endpoint joins', long, async () => {
    const gateway = await startGatewayOn(livekit());
    let livekitRoom = '';
    const { serverUrl, participantToken } = await TokenSource.literal(async () => {
      const wish = { room_name: 'literal', participant_identity: 'ada', participant_name: 'Ada L.' };
      const { status, body } = await rest(`${gateway.url}/livekit/token`, 'POST', wish);
      expect({ status, body }).toMatchObject({ status: 201, body: { room_name: 'literal', participant_name: 'Ada L.' } });
      livekitRoom = body.livekit_room;
      return { serverUrl: body.server_url, participantToken: body.participant_token };
    }).fetch();
    await joinRoom(serverUrl, participantToken);
    expect(await inRoom(livekitRoom)).toEqual(['ada']);
  });
});
