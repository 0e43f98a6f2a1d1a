import { Loop } from './loop.ts';
import { openSockets, type RawSocket } from './socket.ts';
import { ask, fieldOf, type Order, refused, typeOf, type Work } from './work.ts';

const services = ['asr', 'llm', 'tts'];

/** A session that needs three services until it is ready, then its end; the sockets of clients and services stay open. */
export const gatedSessions: Work = async ({ port, dialect, size }) => {
  await Promise.all(services.map((service_id) => openService(service_id, { port, dialect, size })));
  const open = dialect.request({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: services });
  const end = dialect.request({ type: 'EndSessionRequest', id: '2' });
  const clients = await openSockets(size, port, dialect);
  const loop = new Loop<RawSocket>(clients, (client) => client.send(open));
  for (const client of clients) {
    client.onText = (buffer, start, stop) => {
      const type = typeOf(buffer, start, stop);
      if (type === 'SessionReady') {
        if (buffer.indexOf('"access_token":"', start, 'latin1') < 0) refused(buffer, start, stop);
        client.send(end);
      } else if (type === 'SessionEnded') loop.done(client);
      else if (type === 'Error') refused(buffer, start, stop);
    };
  }
  return loop;
};

/** A service that accepts at once and is ready at once. */
async function openService(service_id: string, { port, dialect }: Order): Promise<void> {
  const [service] = (await openSockets(1, port, dialect)) as [RawSocket];
  await ask(service, dialect.request({ type: 'RegisterServiceRequest', id: '1', service_id }), 'RegisterServiceResponse');
  service.onText = (buffer, start, end) => {
    const type = typeOf(buffer, start, end);
    if (type === 'JoinRoomRequest') {
      const assignment_id = fieldOf('assignment_id', buffer, start);
      service.send(dialect.notice({ type: 'JoinRoomResponse', assignment_id, accepted: true }));
      service.send(dialect.notice({ type: 'ServiceReady', assignment_id }));
    } else if (type === 'LeaveRoomRequest') {
      service.send(dialect.notice({ type: 'ServiceLeft', assignment_id: fieldOf('assignment_id', buffer, start), clean: true }));
    } else if (type === 'Error') refused(buffer, start, end);
  };
}
