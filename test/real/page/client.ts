// The client of the tests as a page: its test calls `openSession` and `endSession`, and reads what it returns.
import { Room, RoomEvent } from 'livekit-client';

type Frame = { type: string; [field: string]: unknown };

/** Opens a socket, and keeps its frames until somebody wants them. */
function connect(url: string) {
  const frames: Frame[] = [];
  const came = new EventTarget();
  const socket = new WebSocket(url);
  const ended = new Promise<never>((_, fail) => {
    socket.onclose = ({ code }) => fail(new Error(`socket closed ${code} after ${frames.map((frame) => frame.type).join(' ')}`));
  });
  ended.catch(() => {});
  socket.onmessage = ({ data }) => {
    frames.push(JSON.parse(data));
    came.dispatchEvent(new Event('frame'));
  };
  const once = (target: EventTarget, event: string) =>
    Promise.race([ended, new Promise((done) => target.addEventListener(event, done, { once: true }))]);
  return {
    opened: once(socket, 'open'),
    send: (frame: object) => socket.send(JSON.stringify(frame)),
    async next(type: string): Promise<Frame> {
      for (;;) {
        const found = frames.find((frame) => frame.type === type || frame.type === 'Error');
        if (found?.type === type) return found;
        if (found) throw new Error(JSON.stringify(found));
        await once(came, 'frame');
      }
    },
  };
}

let socket: ReturnType<typeof connect>;
let room: Room;

/** A whole session up to Active: socket, token, room, microphone, and one message to the service and back. */
async function openSession(url: string, message: string) {
  socket = connect(url);
  await socket.opened;
  socket.send({ type: 'NewSessionRequest', user_identity: 'ada' });
  const { livekit_url, access_token } = await socket.next('SessionReady');
  room = new Room();
  const reply = new Promise<string>((heard) => {
    room.on(RoomEvent.DataReceived, (data, _from, _kind, topic) => {
      if (topic === 'from-asr') heard(new TextDecoder().decode(data));
    });
  });
  await room.connect(String(livekit_url), String(access_token));
  await room.localParticipant.setMicrophoneEnabled(true);
  await room.localParticipant.publishData(new TextEncoder().encode(message), { reliable: true, topic: 'to-asr' });
  return { reply: await reply, active: await socket.next('SessionActive') };
}

async function endSession() {
  const left = new Promise((gone) => room.once(RoomEvent.Disconnected, gone));
  socket.send({ type: 'EndSessionRequest' });
  const ended = await socket.next('SessionEnded');
  await left;
  return ended;
}

const api = { openSession, endSession };
export type PageApi = typeof api;
Object.assign(window, { api });
