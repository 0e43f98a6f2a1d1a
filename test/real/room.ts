import type { DataPacketKind, DisconnectReason, RemoteParticipant } from '@livekit/rtc-node';
import { onTestFinished } from 'vitest';
import { rtc } from './rtc.ts';

/** What a token says; its signature is LiveKit's to check. */
export const claims = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

/** Somebody in a room, until the test ends. */
export interface Guest {
  say(topic: string, text: string): Promise<void>;
  /** The next data on this topic. */
  heard(topic: string): Promise<string>;
  leave(): Promise<void>;
  /** Out of the room, by whomever, and why. */
  gone: Promise<DisconnectReason>;
}

export async function joinRoom(url: string, token: string): Promise<Guest> {
  const room = new rtc.Room();
  const gone = new Promise<DisconnectReason>((done) => room.once(rtc.RoomEvent.Disconnected, done));
  await room.connect(url, token, { autoSubscribe: true, dynacast: false });
  onTestFinished(() => room.disconnect());
  return {
    gone,
    leave: () => room.disconnect(),
    say: async (topic, text) => room.localParticipant?.publishData(new TextEncoder().encode(text), { reliable: true, topic }),
    heard: (topic) =>
      new Promise((done) => {
        const look = (data: Uint8Array, _from?: RemoteParticipant, _kind?: DataPacketKind, of?: string) => {
          if (of !== topic) return;
          room.off(rtc.RoomEvent.DataReceived, look);
          done(new TextDecoder().decode(data));
        };
        room.on(rtc.RoomEvent.DataReceived, look);
      }),
  };
}
