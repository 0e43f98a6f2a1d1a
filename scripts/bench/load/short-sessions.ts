import { Loop } from './loop.ts';
import { openSockets, RawSocket } from './socket.ts';
import { ask, refused, type Work } from './work.ts';

/** A socket is opened, a session asked for, its token comes, the socket is closed. */
export const shortSessions: Work = async ({ port, dialect, size }) => {
  const request = dialect.request({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: [] });
  const loop = new Loop<number>(
    Array.from({ length: size }, (_, place) => place),
    (place) =>
      new RawSocket(port, dialect, (socket) => {
        let hasToken = false;
        socket.onText = (buffer, start, end) => {
          if (hasToken || buffer.indexOf('"access_token":"', start, 'latin1') < 0) refused(buffer, start, end);
          hasToken = true;
          socket.close();
        };
        socket.onClose = () => {
          if (!hasToken) throw new Error('a socket was closed before its token came');
          loop.done(place);
        };
        socket.send(request);
      }),
  );
  return loop;
};

const atOnce = 32;

/** The same, beside as many sessions that stay. */
export const shortSessionsBeside: Work = async (order) => {
  const { port, dialect, size } = order;
  const open = dialect.request({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: [] });
  for (const socket of await openSockets(size, port, dialect)) {
    await ask(socket, open, 'NewSessionResponse');
    socket.onText = () => {};
  }
  return shortSessions({ ...order, size: atOnce });
};
