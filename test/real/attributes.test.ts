import type { Participant, Room } from '@livekit/rtc-node';
import { expect, onTestFinished, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { sharedLiveKit, startGatewayOn } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { rtc } from './rtc.ts';

describeWith(parts.livekit)('in a room of a real LiveKit', () => {
  const livekit = sharedLiveKit();

  const join = async (url: string, token: string, room: Room = new rtc.Room()) => {
    await room.connect(url, token, { autoSubscribe: true, dynacast: false });
    onTestFinished(() => room.disconnect());
    return room;
  };

  test('a user sees the attributes that a service sets, and may set none', async () => {
    const gateway = await startGatewayOn(livekit());
    const asr = await connectService(gateway.url, 'asr', { auto: false });
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
    const asked = await asr.next('JoinRoomRequest');
    const agent = await join(asked.livekit_url, asked.access_token);
    await asr.ask({ type: 'ServiceReady', assignment_id: asked.assignment_id });
    const ready = await client.next('SessionReady');
    const room = new rtc.Room();
    const seen = new Promise<[Record<string, string>, Participant]>((take) =>
      room.on(rtc.RoomEvent.ParticipantAttributesChanged, (changed, participant) => take([changed, participant])),
    );
    await join(ready.livekit_url, ready.access_token, room);
    // other than LiveKit's agents a user says nothing of itself; the order on its own connection tells when that was refused
    await room.localParticipant?.setAttributes({ role: 'admin' }).catch(() => {});
    await agent.localParticipant?.setAttributes({ 'lk.agent.state': 'listening' });
    const [changed, participant] = await seen;
    expect([changed, participant.identity]).toEqual([{ 'lk.agent.state': 'listening' }, 'asr']);
  });
});
