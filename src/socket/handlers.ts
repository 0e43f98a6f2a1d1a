import type { Logger } from 'pino';
import { Close } from '../../protocol/close.ts';
import { type Answer, answer, type Reply, type Request, type RequestType } from '../../protocol/requests.ts';
import { callerOf } from '../auth/caller.ts';
import type { Clock } from '../clock.ts';
import { GatewayError, StorageError } from '../errors.ts';
import type { Dispatcher } from '../services/dispatcher.ts';
import { type Link, socketLink } from '../services/links.ts';
import type { Registrations } from '../services/registration.ts';
import type { Instance } from '../services/registry.ts';
import type { Reports } from '../services/reports.ts';
import type { Caller } from '../sessions/access.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Openings } from '../sessions/open.ts';
import type { Operations } from '../sessions/operations.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import { allServe, isEnded, type Session } from '../sessions/record.ts';
import { hashOfToken, newResumeToken } from '../sessions/resume.ts';
import { iso } from '../time.ts';
import type { Connection } from './connection.ts';
import type { CursorParts } from './cursor.ts';
import type { Feeds } from './feed.ts';
import type { LiveSessions } from './live.ts';
import { OpenedSession, ResumedSession } from './own-session.ts';
import { WatchedSession } from './watched-session.ts';

/** Returned where the answer goes out when the record changes: no handler waits for LiveKit or a service. */
export const later = Symbol('later');
type Outcome<T extends RequestType> = Reply<T> | typeof later;

/** One entry per request; a missing or extra key, a misspelt field and a wrong answer do not compile. */
export type Handlers = { [T in RequestType]: (request: Request<T>, peer: Connection) => Outcome<T> | Promise<Outcome<T>> };

/** Hands a request to its handler. The type parameter is what lets the pair compile. */
export const dispatch = <T extends RequestType>(handlers: Handlers, request: Request<T>, peer: Connection) =>
  handlers[request.type](request, peer) as Answer | typeof later | void | Promise<Answer | typeof later | void>;

export interface HandlerParts {
  openings: Openings;
  operations: Operations;
  sessions: Sessions;
  dispatcher: Dispatcher;
  registrations: Registrations;
  reports: Reports;
  store: SessionStore;
  feeds: Feeds;
  rooms: Rooms;
  clock: Clock;
  live: LiveSessions;
  log: Logger;
  nodeId: string;
}

export function handlers(parts: HandlerParts): Handlers {
  const { openings, operations, sessions, dispatcher, registrations, reports, live, clock } = parts;

  /** A socket that holds a session speaks for its user, a service for itself; any other for whoever is at it. */
  const callerAt = ({ principal, sessionId, owner, service }: Connection): Caller =>
    callerOf(principal, {
      user: owner,
      sessionId,
      service: service && { incarnation: service.incarnation, node_id: parts.nodeId },
    });

  /** The named session, or the socket's own. */
  const idFor = (named: string | undefined, peer: Connection): string => {
    const id = named ?? peer.sessionId;
    if (id === undefined) throw new GatewayError('SESSION_NOT_FOUND', 'this socket holds no session, and the request names none');
    return id;
  };

  const registered = (peer: Connection): Instance => {
    if (!peer.service) throw new GatewayError('FORBIDDEN', 'no service is registered on this socket');
    if (!dispatcher.registry.isCurrent(peer.service))
      throw new GatewayError('FORBIDDEN', 'a newer registration has taken its place, or it was taken back');
    return peer.service;
  };

  /** The sockets of services, by how the services are reached. */
  const sockets = new WeakMap<Link, Connection>();

  /** Its service has registered on a newer socket: what comes here was given up and stayed on its way. */
  const isOutrun = ({ service_id, instance_id }: Pick<Instance, 'service_id' | 'instance_id'>, peer: Connection): boolean => {
    const current = dispatcher.registry.get(service_id);
    const holder = current?.link && sockets.get(current.link);
    if (!holder || holder.closed || current.instance_id !== instance_id || holder.id <= peer.id) return false;
    peer.close(Close.TakenOver);
    return true;
  };

  /** The socket ended while it was given the session: nobody else will say so. */
  const endedMeanwhile = (sessionId: string, peer: Connection): boolean => {
    if (!peer.closed) return false;
    live.release(peer);
    void sessions.report(sessionId, { type: 'Detached', connection_id: peer.id, how: peer.ended ?? 'broken' });
    return true;
  };

  /**
   * Its client has a newer socket, which holds the session: this one gets nothing, and breaks nothing.
   * @throws GatewayError ILLEGAL_STATE that one held it last and is broken: nobody has taken this one's place, and it may ask again
   */
  const isLate = (session: Session | undefined, peer: Connection): boolean => {
    if (!session || isEnded(session) || session.connection_id === peer.id) return false;
    if (session.link !== 'attached') {
      const { session_id } = session;
      throw new GatewayError('ILLEGAL_STATE', "a newer socket of this session's client held it and may come back", {
        details: { session_id },
      });
    }
    peer.close(Close.TakenOver);
    return true;
  };

  /** Gives the socket a session that was there before; undefined: it has ended meanwhile. */
  const attach = async (sessionId: string, { id }: Connection, token_hash: string): Promise<Session | undefined> => {
    try {
      return await openings.attach(sessionId, id, token_hash);
    } catch (error) {
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  };

  const onBug = (err: unknown, peer: Connection) => {
    const fields = { err, connection_id: peer.id, session_id: peer.sessionId };
    // a storage that is down for a while costs no session
    if (err instanceof StorageError) {
      parts.log.debug(fields, 'events could not be read; they are read later');
      return peer.stall();
    }
    parts.log.error(fields, 'session could not be followed');
    peer.close(Close.Internal);
  };
  const cursors: CursorParts = { ...parts, callerAt, onBug };

  /** A request whose answer may be lost together with the socket, and is then told again: one of the session's own client. */
  const commandOf = (request: Request, id: string, peer: Connection) =>
    request.id !== undefined && peer.sessionId === id ? request : undefined;

  return {
    Ping: ({ t }) => {
      const server_time = iso(clock.now());
      return answer('Pong', t === undefined ? { server_time } : { t, server_time });
    },

    async NewSessionRequest(request, peer): Promise<typeof later> {
      const { id, user_identity, resume_window_s } = request;
      // a storage that was emptied does not hold the socket for ever
      if (peer.sessionId !== undefined && !(await parts.store.loadSession(peer.sessionId))) live.release(peer);
      if (peer.sessionId !== undefined) throw new GatewayError('SESSION_ALREADY_EXISTS', 'Session already exists on this socket');
      const caller = callerOf(peer.principal, { user: user_identity });
      const resumeToken = resume_window_s === 0 ? undefined : newResumeToken();
      const follow = (sessionId: string, replayed: boolean) => {
        peer.cursor = new OpenedSession(peer, sessionId, cursors, { id, replayed, resumeToken });
        return peer.cursor;
      };
      // the live entry and what follows the session before the record: the socket's end finds it, and no commit is missed
      const expect = (sessionId: string) => {
        live.bind(sessionId, peer, caller.user);
        follow(sessionId, false).expect();
      };
      const token_hash = resumeToken === undefined ? '' : hashOfToken(resumeToken);
      let opened: Awaited<ReturnType<Openings['open']>>;
      let attached: Session | undefined;
      try {
        opened = await openings.open(request, { caller, holder: { connection_id: peer.id, token_hash }, token_policy: 'on_ready' }, expect);
        if (opened.replayed) attached = await attach(opened.session.session_id, peer, token_hash);
        if (isLate(attached, peer)) return later;
      } catch (error) {
        live.release(peer);
        throw error;
      }
      const sessionId = opened.session.session_id;
      if (endedMeanwhile(sessionId, peer)) return later;
      parts.log.debug({ session_id: sessionId, connection_id: peer.id, replayed: opened.replayed }, 'session opened on socket');
      if (!opened.replayed || !live.bind(sessionId, peer, caller.user, attached?.version)) return later;
      peer.unwatch(sessionId);
      follow(sessionId, true).start();
      return later;
    },

    async ResumeRequest({ id, session_id, resume_token, last_seq }, peer): Promise<typeof later> {
      if (peer.sessionId !== undefined && peer.sessionId !== session_id) {
        throw new GatewayError('SESSION_ALREADY_EXISTS', 'this socket holds another session');
      }
      const session = await openings.resume(session_id, resume_token, peer.id);
      if (isLate(session, peer)) return later;
      if (endedMeanwhile(session_id, peer)) return later;
      peer.cursor?.stop();
      if (!live.bind(session_id, peer, session.owner_id, session.version)) return later;
      peer.unwatch(session_id);
      parts.log.info({ session_id, connection_id: peer.id, last_seq }, 'session resumed on socket');
      peer.cursor = new ResumedSession(peer, session_id, cursors, id, last_seq).start();
      return later;
    },

    async GetSessionRequest({ session_id }, peer) {
      return answer('GetSessionResponse', await operations.get(idFor(session_id, peer), callerAt(peer)));
    },

    async EndSessionRequest({ session_id }, peer) {
      const session = await operations.end(idFor(session_id, peer), callerAt(peer));
      return answer('EndSessionResponse', { session_id: session.session_id, status: session.status });
    },

    async DeleteSessionRequest({ session_id }, peer) {
      const session = await operations.delete(idFor(session_id, peer), callerAt(peer));
      return answer('DeleteSessionResponse', { session_id: session.session_id, status: session.status });
    },

    async ListSessionsRequest(request, peer) {
      return answer('ListSessionsResponse', await operations.list(callerAt(peer), request));
    },

    async UpdateSessionRequest(request, peer) {
      const { type: _, id: __, session_id, ...wish } = request;
      const id = idFor(session_id, peer);
      return answer('UpdateSessionResponse', await operations.update(id, callerAt(peer), wish, commandOf(request, id, peer)));
    },

    async ExtendSessionRequest(request, peer) {
      const id = idFor(request.session_id, peer);
      return answer('ExtendSessionResponse', await operations.extend(id, callerAt(peer), request.ttl_hours, commandOf(request, id, peer)));
    },

    async AddMessageRequest(request, peer) {
      const id = idFor(request.session_id, peer);
      return answer('AddMessageResponse', await operations.addMessage(id, callerAt(peer), request, commandOf(request, id, peer)));
    },

    async GetMessagesRequest({ session_id, limit, after }, peer) {
      return answer('GetMessagesResponse', await operations.messages(idFor(session_id, peer), callerAt(peer), { limit, after }));
    },

    async ShareSessionRequest(request, peer) {
      const { session_id, target_user_id, role } = request;
      const id = idFor(session_id, peer);
      const command = commandOf(request, id, peer);
      return answer('ShareSessionResponse', await operations.share(id, callerAt(peer), target_user_id, role, command));
    },

    async UnshareSessionRequest(request, peer) {
      const id = idFor(request.session_id, peer);
      const command = commandOf(request, id, peer);
      return answer('UnshareSessionResponse', await operations.unshare(id, callerAt(peer), request.target_user_id, command));
    },

    async WatchRequest({ session_id, id }, peer): Promise<typeof later> {
      if (session_id === peer.sessionId) throw new GatewayError('ILLEGAL_STATE', 'this socket holds the session and is told its events');
      await operations.find(session_id, callerAt(peer));
      if (peer.closed) return later;
      peer.watch(session_id, () => new WatchedSession(peer, session_id, cursors, id));
      return later;
    },

    UnwatchRequest({ session_id }, peer) {
      peer.unwatch(session_id);
      return answer('UnwatchResponse', { session_id });
    },

    async RefreshTokenRequest({ session_id }, peer) {
      return answer('RefreshTokenResponse', await operations.refreshToken(idFor(session_id, peer), callerAt(peer)));
    },

    async RegisterServiceRequest({ id, held, ...wish }, peer): Promise<typeof later> {
      openings.refuseWhileDraining();
      if (peer.service && peer.service.service_id !== wish.service_id) {
        throw new GatewayError('FORBIDDEN', `this socket is registered as ${peer.service.service_id}; one service a socket`);
      }
      if (wish.instance_id !== undefined && isOutrun({ ...wish, instance_id: wish.instance_id }, peer)) return later;
      const link = socketLink(peer);
      // it is registered at once, and what it held is settled after: meanwhile its older sockets are to be known as such
      sockets.set(link, peer);
      const { service_id } = wish;
      await registrations.register(wish, link, {
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
      live.tell(session_id, {
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
      if (!(service && (await reports.accepted(service, assignment_id))))
        peer.send({ type: 'LeaveRoomRequest', assignment_id, reason: 'the offer is over', deadline_ms: 0 });
    },

    async ServiceReady({ session_id, service_id, assignment_id }, { service }) {
      const speaksFor = service_id ?? service?.service_id ?? '';
      if (service && service.service_id !== speaksFor) {
        throw new GatewayError('FORBIDDEN', `this socket is registered as ${service.service_id} and speaks for no other service`);
      }
      const session = await reports.ready({ session_id, service_id: speaksFor, assignment_id }, service);
      const id = session.session_id;
      return answer('ServiceReadyResponse', { success: true, session_id: id, service_id: speaksFor, all_ready: allServe(session) });
    },

    ServiceFailed: ({ assignment_id, error }, { service }) => reports.failed(service, assignment_id, error),

    async ServiceLeft({ assignment_id, clean }, { service }) {
      if (service) await reports.left(service, assignment_id, clean);
    },
  };
}
