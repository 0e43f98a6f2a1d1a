import { Loop } from './loop.ts';
import { openSockets, type RawSocket } from './socket.ts';
import { ask, refused, typeOf, type Work } from './work.ts';

const lanes = 32;

/** As many sockets, each with a session: messages are added to one after the other, 32 at once. */
export const messages: Work = async ({ port, dialect, size }) => {
  const sockets = await openSockets(size, port, dialect);
  const open = dialect.request({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: [] });
  await Promise.all(sockets.map((socket) => ask(socket, open, 'NewSessionResponse')));
  const message = dialect.request({ type: 'AddMessageRequest', id: '1', role: 'user', content: 'Hello, how are you?' });

  // each lane has its own sockets, so that no socket has two requests under way
  const places = Array.from({ length: lanes }, (_, lane) => ({ sockets: sockets.filter((_, i) => i % lanes === lane), at: 0 }));
  const loop = new Loop<(typeof places)[number]>(places, (place) => {
    place.at = (place.at + 1) % place.sockets.length;
    (place.sockets[place.at] as RawSocket).send(message);
  });
  for (const place of places) {
    for (const socket of place.sockets) {
      socket.onText = (buffer, start, end) => {
        const type = typeOf(buffer, start, end);
        if (type === 'AddMessageResponse') loop.done(place);
        else if (type === 'Error') refused(buffer, start, end);
      };
    }
  }
  return loop;
};
