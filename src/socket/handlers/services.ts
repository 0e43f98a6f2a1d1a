import { Close } from '../../../protocol/close.ts';
import { answer } from '../../../protocol/requests.ts';
import { checkService } from '../../auth/caller.ts';
import { GatewayError } from '../../errors.ts';
import { askToLeave } from '../../services/commands.ts';
import type { Dispatcher } from '../../services/dispatcher.ts';
import type { Link } from '../../services/links.ts';
import type { Registrations } from '../../services/registration.ts';
import type { Instance } from '../../services/registry.ts';
import type { Reports } from '../../services/reports.ts';
import { socketLink } from '../../services/socket-link.ts';
import type { Openings } from '../../sessions/open.ts';
import { allServe } from '../../sessions/record.ts';
import type { Connection } from '../connection.ts';
import { type Handlers, later } from '../dispatch.ts';
import type { Holders } from '../holders.ts';

export interface ServiceHandlerParts {
  openings: Openings;
  dispatcher: Dispatcher;
  registrations: Registrations;
  reports: Reports;
  holders: Holders;
}

/** How services register, and what they report of their parts in sessions. */
export function serviceHandlers({ openings, dispatcher, registrations, reports, holders }: ServiceHandlerParts) {
  const registered = (peer: Connection): Instance => {
    if (!peer.service) throw new GatewayError('FORBIDDEN', 'no service is registered on this socket');
    if (!dispatcher.registry.isCurrent(peer.service))
      throw new GatewayError('FORBIDDEN', 'this registration was replaced by a newer one, or deregistered');
    return peer.service;
  };

  /** The sockets of services, by how the services are reached. */
  const sockets = new WeakMap<Link, Connection>();

  /** Its service has registered on a newer socket: what comes here was given up and stayed on its way. */
  const isSuperseded = ({ service_id, instance_id }: Pick<Instance, 'service_id' | 'instance_id'>, peer: Connection): boolean => {
    const current = dispatcher.registry.get(service_id);
    const holder = current?.link && sockets.get(current.link);
    if (!holder || holder.closed || current.instance_id !== instance_id || holder.id <= peer.id) return false;
    peer.close(Close.TakenOver);
    return true;
  };

  return {
    async RegisterServiceRequest({ id, held, ...wish }, peer): Promise<typeof later> {
      const { subject } = peer.principal;
      checkService(peer.principal, wish.service_id, wish.metadata.type);
      openings.refuseWhileDraining();
      if (peer.service && peer.service.service_id !== wish.service_id) {
        throw new GatewayError('FORBIDDEN', `this socket is registered as ${peer.service.service_id}; one service per socket`);
      }
      if (wish.instance_id !== undefined && isSuperseded({ ...wish, instance_id: wish.instance_id }, peer)) return later;
      const link = socketLink(peer);
      // it is registered at once, and what it held is settled after: meanwhile its older sockets are to be known as such
      sockets.set(link, peer);
      const { service_id } = wish;
      await registrations.register({ ...wish, subject }, link, {
        held,
        own: peer.service,
        answer({ instance, keep, release }) {
          peer.service = instance;
          if (peer.closed) return false;
          const message = 'Microservice registered successfully';
          peer.sendAnswer(answer('RegisterServiceResponse', { success: true, service_id, message, keep, release }), id);
          return true;
        },
      });
      return later;
    },

    ServiceStatus({ status }, peer) {
      registrations.setAvailability(registered(peer), status);
    },

    DeregisterServiceRequest({ drain }, peer) {
      const instance = registered(peer);
      registrations.deregister(instance, drain);
      const { service_id, slots } = instance;
      return answer('DeregisterServiceResponse', {
        success: true,
        service_id,
        message: drain ? 'Microservice is draining' : 'Microservice deregistered',
        sessions: slots.size,
      });
    },

    ServiceProgress({ assignment_id, phase, percent, message }, peer) {
      const session_id = reports.holding(peer.service, assignment_id);
      holders.send(session_id, {
        type: 'ServiceProgress',
        session_id,
        service_id: registered(peer).service_id,
        assignment_id,
        phase,
        ...(percent !== undefined && { percent }),
        ...(message !== undefined && { message }),
      });
    },

    async JoinRoomResponse({ assignment_id, accepted, reason, retry_after_ms }, peer) {
      const { service } = peer;
      if (!accepted) return service && reports.declined(service, assignment_id, reason, retry_after_ms);
      // another may serve by now
      if (!(service && (await reports.accepted(service, assignment_id)))) askToLeave(peer, assignment_id);
    },

    async ServiceReady({ session_id, service_id, assignment_id }, peer) {
      const { subject } = peer.principal;
      if (service_id !== undefined) checkService(peer.principal, service_id);
      const { session, ...by } = await reports.ready({ session_id, service_id, assignment_id }, subject, peer.service);
      return answer('ServiceReadyResponse', { success: true, session_id: session.session_id, ...by, all_ready: allServe(session) });
    },

    ServiceFailed: ({ assignment_id, error }, { service }) => reports.failed(service, assignment_id, error),

    async ServiceLeft({ assignment_id, clean }, { service }) {
      if (service) await reports.left(service, assignment_id, clean);
    },
  } satisfies Partial<Handlers<Connection>>;
}
