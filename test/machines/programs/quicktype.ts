import { once } from 'node:events';
import { WebSocket } from 'ws';
import { Convert, type GetSessionResponse, type NewSessionResponse, type Pong } from './frames.js';

const socket = new WebSocket(`${process.argv[2]?.replace('http', 'ws')}/ws`);
await once(socket, 'open');
const ask = async (frame: string): Promise<string> => {
  socket.send(frame);
  return String((await once(socket, 'message'))[0]);
};
const wish = {
  type: 'NewSessionRequest',
  user_identity: 'ada',
  metadata: { tags: ['demo'] },
  required_services: [],
  optional_services: [{ type: 'TTS' }],
};
const made: NewSessionResponse = Convert.toNewSessionResponse(
  await ask(Convert.newSessionRequestToJson(Convert.toNewSessionRequest(JSON.stringify(wish)))),
);
const session: GetSessionResponse = Convert.toGetSessionResponse(await ask('{"type":"GetSessionRequest"}'));
const pong: Pong = Convert.toPong(await ask('{"type":"Ping","t":1}'));
console.log(JSON.stringify({ status: session.status, tags: session.metadata.tags, first: made.type, pong: pong.t === 1 }));
socket.close();
