import { Loop } from './loop.ts';
import { openSockets, type RawSocket } from './socket.ts';
import type { Work } from './work.ts';

/** Request and response: each socket has one Ping under way. */
export const pings: Work = async ({ port, dialect, size }) => {
  const ping = dialect.request({ type: 'Ping', id: '1', t: 1_767_323_045_678 });
  const sockets = await openSockets(size, port, dialect);
  const loop = new Loop<RawSocket>(sockets, (socket) => socket.send(ping));
  for (const socket of sockets) socket.onText = () => loop.done(socket);
  return loop;
};
