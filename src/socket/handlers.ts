import { v4 as uuid } from 'uuid';
import { type Answer, answer, type Reply, type Request, type RequestType } from '../../protocol/requests.ts';
import type { Dispatcher } from '../services/dispatcher.ts';
import { GatewayError } from '../sessions/errors.ts';
import type { Sessions } from '../sessions/manager.ts';
import type { Clock, Rooms, SessionStore } from '../sessions/ports.ts';
import { isServing, type Session } from '../sessions/record.ts';
import { snapshot } from '../sessions/snapshot.ts';
import type { CheckWorkspace } from '../workspace.ts';
import type { Connection } from './connection.ts';
import { Cursor } from './cursor.ts';
import type { LiveSessions } from './live.ts';

/** Returned where the answer goes out when the record changes: no handler waits for LiveKit or a service. */
export const later = Symbol('later');
type Outcome<T extends RequestType> = Reply<T> | typeof later;

/** One entry per request; a missing or extra key, a misspelt field and a wrong answer do not compile. */
export type Handlers = { [T in RequestType]: (request: Request<T>, peer: Connection) => Outcome<T> | Promise<Outcome<T>> };

/** Hands a request to its handler. The type parameter is what lets the pair compile. */
export const dispatch = <T extends RequestType>(handlers: Handlers, request: Request<T>, peer: Connection) =>
  handlers[request.type](request, peer) as Answer | typeof later | void | Promise<Answer | typeof later | void>;

export interface HandlerParts {
  sessions: Sessions;
  dispatcher: Dispatcher;
  store: SessionStore;
  rooms: Rooms;
  clock: Clock;
  live: LiveSessions;
  checkWorkspace: CheckWorkspace;
  draining(): boolean;
  defaults: { joinTimeoutMs: number; ttlMs: number };
  onBug(error: unknown, peer: Connection): void;
}

export function handlers(parts: HandlerParts): Handlers {
  const { sessions, dispatcher, live, clock } = parts;

  const refuseWhileDraining = () => {
    if (parts.draining()) throw new GatewayError('DRAINING', 'The gateway is shutting down', { retryAfterMs: 1_000 });
  };

  /** The named session, or the socket's own. What a peer may not see does not exist for it. */
  const find = async (named: string | undefined, peer: Connection): Promise<Session> => {
    const id = named ?? peer.sessionId;
    if (id === undefined) throw new GatewayError('SESSION_NOT_FOUND', 'this socket holds no session, and the request names none');
    const session = await sessions.get(id);
    if (!mayRead(session, peer)) throw new GatewayError('SESSION_NOT_FOUND', `Session not found: ${id}`);
    return session;
  };

  /** The session in which this socket's service holds the assignment. */
  const holding = (assignment_id: string, peer: Connection): string => {
    const id = peer.service && dispatcher.sessionOf(peer.service, assignment_id);
    if (id === undefined) throw new GatewayError('ASSIGNMENT_NOT_FOUND', 'this service has no such assignment');
    return id;
  };

  return {
    Ping: ({ t }) => answer('Pong', { ...(t !== undefined && { t }), server_time: new Date(clock.now()).toISOString() }),

    async NewSessionRequest(request, peer): Promise<typeof later> {
      refuseWhileDraining();
      if (peer.sessionId !== undefined) throw new GatewayError('SESSION_ALREADY_EXISTS', 'Session already exists on this socket');
      const workspace_dir = request.workspace_dir === undefined ? undefined : await parts.checkWorkspace(request.workspace_dir);
      const room = request.room && request.user_identity !== undefined;
      const required = room ? (request.required_services ?? dispatcher.available()) : [];
      const session_id = uuid();
      // the live entry before the record: whatever happens in between, the socket's end finds it
      live.bind(session_id, peer, request.user_identity);
      try {
        await sessions.create({
          session_id,
          user_identity: request.user_identity,
          user_name: request.user_name,
          workspace_dir,
          room,
          room_name: request.room_name,
          metadata: request.metadata,
          // LiveKit throws out the first holder of an identity
          required: [...new Set(required)].filter((id) => id !== request.user_identity),
          token_policy: request.token_policy,
          join_timeout_ms: request.join_timeout_s === undefined ? parts.defaults.joinTimeoutMs : request.join_timeout_s * 1_000,
          client_join_timeout_s: request.client_join_timeout_s,
          ttl_ms: request.ttl_hours === undefined ? parts.defaults.ttlMs : request.ttl_hours * 3_600_000,
          livekit_url: parts.rooms.url,
        });
      } catch (error) {
        live.release(peer);
        throw error;
      }
      if (peer.closed) {
        await sessions.tell(session_id, { type: 'End', reason: 'client_gone', by: 'client' });
        return later;
      }
      peer.cursor = new Cursor({
        connection: peer,
        sessionId: session_id,
        requestId: request.id,
        store: parts.store,
        rooms: parts.rooms,
        onEnded: () => live.release(peer),
        onError: (error) => parts.onBug(error, peer),
      });
      return later;
    },

    async GetSessionRequest({ session_id }, peer) {
      return answer('GetSessionResponse', snapshot(await find(session_id, peer)));
    },

    async EndSessionRequest({ session_id }, peer) {
      const { session_id: id } = await find(session_id, peer);
      const session = await sessions.apply(id, { type: 'End', reason: 'client_ended', by: 'client' });
      return answer('EndSessionResponse', { session_id: id, status: session.status });
    },

    async RegisterServiceRequest(request, peer): Promise<typeof later> {
      refuseWhileDraining();
      if (peer.service && peer.service.service_id !== request.service_id) {
        throw new GatewayError('FORBIDDEN', `this socket is registered as ${peer.service.service_id}; one service a socket`);
      }
      const { instance, keep, release } = await dispatcher.register(request, peer);
      if (peer.closed) {
        dispatcher.disconnected(instance);
        return later;
      }
      peer.service = instance;
      peer.sendAnswer(
        answer('RegisterServiceResponse', {
          success: true,
          service_id: instance.service_id,
          message: 'Microservice registered successfully',
          keep,
          release,
        }),
        request.id,
      );
      dispatcher.registered(instance);
      return later;
    },

    async JoinRoomResponse({ assignment_id, accepted, reason, retry_after_ms }, peer) {
      const tellToLeave = () => peer.send({ type: 'LeaveRoomRequest', assignment_id, reason: 'the offer is over', deadline_ms: 0 });
      const id = peer.service && dispatcher.sessionOf(peer.service, assignment_id);
      if (id === undefined) {
        // it accepted too late; another may serve by now
        if (accepted) tellToLeave();
        return;
      }
      if (accepted) return void (await sessions.apply(id, { type: 'Accepted', assignment_id }).catch(tellToLeave));
      await sessions.tell(id, {
        type: 'Declined',
        assignment_id,
        error: reason ?? 'the service declined',
        ...(retry_after_ms !== undefined && { retry_after_ms }),
      });
    },

    async ServiceReady({ session_id, service_id, assignment_id }, peer) {
      const id = assignment_id === undefined ? (session_id ?? '') : holding(assignment_id, peer);
      const service = service_id ?? peer.service?.service_id;
      if (service === undefined) throw new GatewayError('VALIDATION_FAILED', 'service_id: needed on a socket without a registered service');
      if (peer.service && peer.service.service_id !== service) {
        throw new GatewayError('FORBIDDEN', `this socket is registered as ${peer.service.service_id} and speaks for no other service`);
      }
      const session = await sessions.apply(id, {
        type: 'ServiceReady',
        service_id: service,
        ...(assignment_id !== undefined && { assignment_id }),
        ...(peer.service && { incarnation: peer.service.incarnation }),
      });
      return answer('ServiceReadyResponse', {
        success: true,
        session_id: id,
        service_id: service,
        all_ready: session.requirements.every(isServing),
      });
    },

    async ServiceFailed({ assignment_id, error }, peer) {
      await sessions.apply(holding(assignment_id, peer), {
        type: 'ServiceFailed',
        assignment_id,
        error: error ?? 'the service failed',
      });
    },

    async ServiceLeft({ assignment_id }, peer) {
      const id = peer.service && dispatcher.sessionOf(peer.service, assignment_id);
      // the answer to a LeaveRoomRequest for something long over
      if (id !== undefined) await sessions.apply(id, { type: 'ServiceLeft', assignment_id });
    },
  };
}

/** A socket that holds a session sees what its user owns, a service what it serves; any other is the operator's. */
function mayRead(session: Session, peer: Connection): boolean {
  if (session.session_id === peer.sessionId) return true;
  if (peer.service) return session.requirements.some((r) => r.assignment?.incarnation === peer.service?.incarnation);
  if (peer.sessionId === undefined) return true;
  return session.owner_id !== undefined && session.owner_id === peer.owner;
}
