import { expect, onTestFinished, test } from 'vitest';
import { startService } from '../../scripts/demo/service.ts';
import { TestClient } from '../support/client.ts';
import { sharedLiveKit, startGatewayOn } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { claims, joinRoom } from './room.ts';
import { rtc } from './rtc.ts';

const ids = ['asr', 'llm', 'tts'];

describeWith(parts.livekit)('sessions on a real LiveKit', () => {
  const livekit = sharedLiveKit({ room: { empty_timeout: 1 } });

  async function startServices(gateway: string) {
    const steps: string[] = [];
    for (const id of ids) {
      const service = { gateway, id, rtc, hears: `to-${id}`, says: `from-${id}`, work: (text: string) => `${id} heard ${text}` };
      const { close } = await startService({ ...service, onStep: (step) => steps.push(`${id} ${step}`) });
      onTestFinished(close);
    }
    return steps;
  }

  async function rooms(): Promise<string[]> {
    return (await livekit().client.listRooms()).map((room) => room.name);
  }

  test('three services and a user talk in a room of which nothing stays, twice on one socket', async () => {
    const gateway = await startGatewayOn(livekit(), { gateway: { name: 'this-test' } });
    const steps = await startServices(gateway.socket);
    const client = await TestClient.connect(gateway.url);

    for (const user of ['ada', 'grace']) {
      const answer = await client.ask({ type: 'NewSessionRequest', user_identity: user });
      expect(answer).toMatchObject({ type: 'NewSessionResponse', livekit_url: livekit().url });
      const ready = await client.next('SessionReady');
      expect(ready.room_name).toBe(`room-${answer.session_id}`);

      const [room] = await livekit().client.listRooms([ready.room_name]);
      expect(JSON.parse(room?.metadata ?? '')).toEqual({ sg: { gateway: 'this-test', session_id: answer.session_id } });

      const me = await joinRoom(ready.livekit_url, ready.access_token);
      for (const id of ids) {
        const reply = me.heard(`from-${id}`);
        await me.say(`to-${id}`, `hello from ${user}`);
        expect(await reply).toBe(`${id} heard hello from ${user}`);
      }
      expect((await client.next('SessionActive')).participant).toMatchObject({ identity: user, kind: 'standard' });

      expect(await client.ask({ type: 'EndSessionRequest' })).toMatchObject({ type: 'EndSessionResponse' });
      expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended', by: 'client' });
      await me.gone;
      expect(await rooms()).toEqual([]);
      expect(gateway.holds()).toEqual({ sockets: 4, live_sessions: 0, watched_rooms: 0, waiting: 0 });
    }

    for (const id of ids) {
      const one = ['accepted the session', 'joined the room', 'is ready'];
      const heard = (user: string) => `hears "hello from ${user}", says "${id} heard hello from ${user}"`;
      const whole = ['ada', 'grace'].flatMap((user) => [...one, heard(user), 'left (client_ended)']);
      expect(steps.filter((step) => step.startsWith(id))).toEqual(['registered', ...whole].map((step) => `${id} ${step}`));
    }
  });

  test('services join as agents under their ids and do not keep the room open', async () => {
    const gateway = await startGatewayOn(livekit());
    const service = await TestClient.connect(gateway.url);
    await service.ask({ type: 'RegisterServiceRequest', service_id: 'asr' });
    const client = await TestClient.connect(gateway.url);
    client.send({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
    const offer = await service.next('JoinRoomRequest');
    const token = claims(offer.access_token);
    expect(token).toMatchObject({ sub: 'asr', kind: 'agent', video: { roomJoin: true, room: offer.room_name } });
    expect(token.video.agent).toBeUndefined();

    const inside = await joinRoom(offer.livekit_url, offer.access_token);
    const [agent] = await livekit().client.listParticipants(offer.room_name);
    expect(agent).toMatchObject({ identity: 'asr', kind: rtc.ParticipantKind.AGENT });
    await client.ask({ type: 'EndSessionRequest' });
    service.send({ type: 'ServiceLeft', assignment_id: offer.assignment_id });
    await client.next('SessionEnded');
    await inside.gone;

    // the same name anew, made by LiveKit itself with its own second of patience: it closes over the agent's head
    const alone = await joinRoom(offer.livekit_url, offer.access_token);
    await alone.gone;
    expect(await rooms()).toEqual([]);
  });

  test('a client token lives six hours, and no longer than its session', async () => {
    const gateway = await startGatewayOn(livekit());
    const lifetime = async (ttl_hours: number) => {
      const client = await TestClient.connect(gateway.url);
      const user_name = 'Ada L.';
      const asked = { type: 'NewSessionRequest', user_identity: 'ada', user_name, required_services: [], token_policy: 'immediate' };
      const answer = await client.ask({ ...asked, ttl_hours });
      const token = claims(answer.access_token);
      expect(token).toMatchObject({ sub: 'ada', name: user_name, iss: livekit().apiKey });
      expect(token.video).toEqual({
        roomJoin: true,
        room: answer.room_name,
        canPublish: true,
        canSubscribe: true,
        canPublishData: true,
      });
      expect(token.kind).toBeUndefined();
      return { exp: token.exp, seconds: token.exp - token.nbf, session: Date.parse(answer.expires_at) / 1_000 };
    };
    expect((await lifetime(24)).seconds).toBe(6 * 3_600);
    const short = await lifetime(0.01);
    expect(short.seconds).toBeLessThanOrEqual(36);
    expect(Math.abs(short.exp - short.session)).toBeLessThanOrEqual(1.5);
  });
});
