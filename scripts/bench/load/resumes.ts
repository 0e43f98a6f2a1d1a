import { Loop } from './loop.ts';
import { openSockets, RawSocket } from './socket.ts';
import { ask, fieldOf, type Order, refused, typeOf, type Work } from './work.ts';

/** Sockets that add what the others miss. */
const writers = 8;

interface Place {
  session_id: string;
  resume_token: string;
  last_seq: number;
  socket: RawSocket;
}

/** As many sessions whose sockets break, miss one event and come back for it on a new socket, all at once. */
export const resumes: Work = async (order) => {
  const { port, dialect, size } = order;
  const places = await openSessions(order);
  const pens = await openSockets(writers, port, dialect);

  const begin = (place: Place) => {
    place.socket.cut();
    const { session_id } = place;
    const request = { type: 'AddMessageRequest', id: `${places.indexOf(place)}`, session_id, role: 'user', content: 'Are you there?' };
    (pens[places.indexOf(place) % writers] as RawSocket).send(dialect.request(request));
  };
  const loop = new Loop<Place>(places, begin);
  const comeBack = (place: Place) => {
    const { session_id, resume_token, last_seq } = place;
    place.socket = new RawSocket(port, dialect, (socket) => {
      let events = 0;
      socket.onText = (buffer, start, end) => {
        const type = typeOf(buffer, start, end);
        if (type === 'Error') refused(buffer, start, end);
        if (type === 'MessageAdded') events++;
        if (type !== 'ResumeComplete') return;
        if (events !== 1) throw new Error(`a resumed socket received ${events} events instead of the one it had missed`);
        place.last_seq = JSON.parse(buffer.toString('utf8', start, end)).seq;
        loop.done(place);
      };
      socket.send(dialect.request({ type: 'ResumeRequest', id: '1', session_id, resume_token, last_seq }));
    });
  };
  for (const pen of pens) {
    pen.onText = (buffer, start, end) => {
      if (typeOf(buffer, start, end) !== 'AddMessageResponse') refused(buffer, start, end);
      comeBack(places[Number(fieldOf('id', buffer, start))] as Place);
    };
  }
  if (places.length !== size) throw new Error('a session is missing');
  return loop;
};

async function openSessions({ port, dialect, size }: Order): Promise<Place[]> {
  const sockets = await openSockets(size, port, dialect);
  const open = dialect.request({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: [], resume_window_s: 600 });
  return Promise.all(
    sockets.map(async (socket) => {
      const { session_id, resume_token, seq } = JSON.parse(await ask(socket, open, 'NewSessionResponse'));
      socket.onText = () => {};
      return { session_id, resume_token, last_seq: seq, socket };
    }),
  );
}
