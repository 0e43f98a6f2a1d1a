import { expect, test } from 'vitest';
import { startService } from '../../scripts/demo/service.ts';
import { TestClient } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import { sharedLiveKit, startGatewayOn } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { comeBack } from '../support/resume.ts';
import { joinRoom } from './room.ts';
import { rtc } from './rtc.ts';

const long = { timeout: 300_000 };
const soon = { timeout: 90_000 };

describeWith(parts.livekit)('a client whose socket breaks, on a real LiveKit', () => {
  const livekit = sharedLiveKit();

  /** ada in her room, with a service that answers what it hears. */
  async function talking(resume_window_s: number) {
    const gateway = await startGatewayOn(livekit());
    await startService({ gateway: gateway.socket, id: 'asr', rtc, hears: 'mic', says: 'text', work: (text) => text.toUpperCase() });
    const client = await TestClient.connect(gateway.url);
    const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s });
    const { livekit_url, access_token } = await client.next('SessionReady');
    const ada = await joinRoom(livekit_url, access_token);
    const { seq } = await client.next('SessionActive');
    const read = async () => (await rest(`${gateway.url}/api/v1/sessions/${made.session_id}`)).body;
    const asks = async (text: string) => {
      const heard = ada.heard('text');
      await ada.say('mic', text);
      return heard;
    };
    const rooms = async () => (await livekit().client.listRooms([made.room_name])).length;
    return { ...gateway, client, made, ada, seq, read, asks, rooms };
  }

  test('goes on talking in its room while it is away, and comes back to it', long, async () => {
    const { url, client, made, seq, read, asks } = await talking(60);
    expect(await asks('here')).toBe('HERE');
    client.ws.terminate();
    await expect.poll(read, soon).toMatchObject({ status: 'Active', link: 'away' });
    expect(await asks('away')).toBe('AWAY');
    const { answer } = await comeBack(url, made, seq);
    expect(answer).toMatchObject({ recovered: true, snapshot: { status: 'Active', link: 'attached', health: 'ok' } });
    expect(await asks('back')).toBe('BACK');
  });

  test('is put out of its room when the window is over', long, async () => {
    const { client, ada, read, rooms } = await talking(1);
    client.ws.terminate();
    await expect.poll(read, soon).toMatchObject({ status: 'Terminated', end_reason: 'resume_expired' });
    await ada.gone;
    await expect.poll(rooms, soon).toBe(0);
  });
});
