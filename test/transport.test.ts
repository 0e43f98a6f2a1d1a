import { expect, test } from 'vitest';
import type { Command } from '../protocol/commands.ts';
import { parse } from '../protocol/parse.ts';
import type { Instance } from '../src/services/registry.ts';
import { type ServicePeer, socketLink } from '../src/services/socket-link.ts';
import type { StartTransport } from '../src/transport.ts';
import { TestClient } from './support/client.ts';
import { startGateway } from './support/gateway.ts';

/** A message bus in this process. */
class Bus {
  /** What happens on it, in order. */
  readonly seen: string[] = [];
  /** Takes what a peer sends; undefined: nobody is there to. */
  gateway: ((from: string, text: string) => unknown) | undefined;
  readonly #peers = new Map<string, (command: Command) => void>();

  join(name: string, onCommand: (command: Command) => void) {
    this.#peers.set(name, onCommand);
    return (frame: object) => this.gateway?.(name, JSON.stringify(frame));
  }

  send(to: string, command: Command): boolean {
    this.seen.push(command.type);
    this.#peers.get(to)?.(command);
    return true;
  }
}

/** Serves services on the bus: what they send is checked as on a socket, and reaches sessions by the same parts. */
const serveBus =
  (bus: Bus): StartTransport =>
  ({ registrations, reports, openings }) => {
    const services = new Map<string, Instance>();
    bus.gateway = async (from, text) => {
      const parsed = parse(text);
      if (!parsed.ok) return;
      const { request } = parsed;
      const service = services.get(from);
      if (request.type === 'RegisterServiceRequest') {
        openings.refuseWhileDraining();
        const { id: _, held, ...wish } = request;
        const peer: ServicePeer = { send: (command) => bus.send(from, command), close() {} };
        const { instance } = await registrations.register(wish, socketLink(peer), { held, own: service });
        services.set(from, instance);
      } else if (request.type === 'ServiceReady') await reports.ready(request, undefined, service);
      else if (request.type === 'ServiceLeft' && service) await reports.left(service, request.assignment_id, request.clean);
    };
    return {
      drain: async () => void bus.seen.push('drain'),
      close: async () => {
        bus.gateway = undefined;
        bus.seen.push('close');
      },
    };
  };

test('a further transport reaches sessions by the parts that sockets have, and stops in their order', async () => {
  const bus = new Bus();
  const { url, close, clock } = await startGateway({}, undefined, { transports: [serveBus(bus)] });
  const send = bus.join('asr-on-the-bus', (command) => {
    if (command.type === 'JoinRoomRequest') {
      const { session_id, assignment_id } = command;
      queueMicrotask(() => send({ type: 'ServiceReady', session_id, service_id: 'asr', assignment_id }));
    }
    if (command.type === 'LeaveRoomRequest')
      queueMicrotask(() => send({ type: 'ServiceLeft', assignment_id: command.assignment_id, clean: true }));
  });
  await send({ type: 'RegisterServiceRequest', service_id: 'asr' });
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  expect(await client.next((frame) => frame.type === 'SessionReady')).toMatchObject({ type: 'SessionReady' });
  const closed = close();
  await clock.advance(1_000);
  await closed;
  expect(bus.seen).toEqual(['JoinRoomRequest', 'drain', 'LeaveRoomRequest', 'close']);
  expect(bus.gateway).toBeUndefined();
});
