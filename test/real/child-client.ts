// A client as a process of its own: asks for one session and joins its room. It prints every frame it gets, one a line.
import WebSocket from 'ws';
import { rtc } from './rtc.ts';

const { gateway, request }: { gateway: string; request: object } = JSON.parse(process.argv[2] ?? '');
const socket = new WebSocket(gateway);
socket.on('open', () => socket.send(JSON.stringify({ type: 'NewSessionRequest', ...request })));
socket.on('message', (data) => {
  console.log(String(data));
  const frame = JSON.parse(String(data));
  if (frame.type === 'SessionReady') void new rtc.Room().connect(frame.livekit_url, frame.access_token);
});
