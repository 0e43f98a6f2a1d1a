import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { GetSessionRequest } from './GetSessionRequest';
import type { GetSessionResponse } from './GetSessionResponse';
import type { NewSessionRequest } from './NewSessionRequest';
import type { NewSessionResponse } from './NewSessionResponse';
import type { Ping } from './Ping';
import type { Pong } from './Pong';

const socket = new WebSocket(`${process.argv[2]?.replace('http', 'ws')}/ws`);
const ask = async <A>(frame: object): Promise<A> => {
  socket.send(JSON.stringify(frame));
  return JSON.parse(String((await once(socket, 'message'))[0]));
};
async function main() {
  await once(socket, 'open');
  const wish: NewSessionRequest = {
    type: 'NewSessionRequest',
    user_identity: 'ada',
    metadata: { tags: ['demo'] },
    required_services: [],
    optional_services: ['asr', { type: 'TTS' }],
  };
  const made = await ask<NewSessionResponse>(wish);
  const get: GetSessionRequest = { type: 'GetSessionRequest' };
  const session = await ask<GetSessionResponse>(get);
  const ping: Ping = { type: 'Ping', t: 1 };
  const pong = await ask<Pong>(ping);
  const { tags } = session.metadata as { tags?: string[] };
  console.log(JSON.stringify({ status: session.status, tags, first: made.type, pong: pong.t === 1 }));
  socket.close();
}
void main();
