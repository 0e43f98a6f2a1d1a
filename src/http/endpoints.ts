import { v7 as uuid } from 'uuid';
import type { Dispatcher } from '../services/dispatcher.ts';
import { type EndpointPaths, httpLink } from '../services/links.ts';
import type { Outbound } from '../services/outbound.ts';
import { type Instance, matches } from '../services/registry.ts';
import type { Reports } from '../services/reports.ts';
import type { Caller } from '../sessions/access.ts';
import type { Spec } from '../sessions/create.ts';
import { GatewayError } from '../sessions/errors.ts';
import type { Sessions } from '../sessions/manager.ts';
import { type NewSession, type Openings, sessionInRoom } from '../sessions/openings.ts';
import { type Operations, whyNotCreated } from '../sessions/operations.ts';
import type { Clock, SessionStore, Statistics } from '../sessions/ports.ts';
import { allServe, isEnded, type Session } from '../sessions/record.ts';
import { pendingServices } from '../sessions/snapshot.ts';
import { iso } from '../sessions/time.ts';
import type { Call, Endpoints } from './app.ts';

export interface EndpointsParts {
  openings: Openings;
  operations: Operations;
  sessions: Sessions;
  store: SessionStore;
  dispatcher: Dispatcher;
  reports: Reports;
  outbound: Outbound;
  paths: EndpointPaths;
  clock: Clock;
  version: string;
  readiness(): Promise<Awaited<ReturnType<Endpoints['ready']>>>;
  /** How long a call may wait for a session to be ready. */
  maxWaitMs: number;
  /** What this node holds now. */
  holds(): { sockets: number; live_sessions: number };
}

/** A call that names a user is that user's; one that names none is the operator's. */
const callerOf = ({ user_identity }: { user_identity?: string | undefined }): Caller => ({
  operator: user_identity === undefined,
  user: user_identity,
});

const shown = (instance: Instance) => ({
  service_id: instance.service_id,
  ...(instance.endpoint !== undefined && { endpoint: instance.endpoint }),
  metadata: instance.metadata,
  status: instance.link ? ('Registered' as const) : ('Disconnected' as const),
  availability: instance.availability,
  sessions: instance.slots.size,
  ...(instance.maxSessions !== Number.POSITIVE_INFINITY && { max_sessions: instance.maxSessions }),
  registered_at: iso(instance.registeredAt),
});

/** The call is over, the session waits on. */
const notReadyInTime = (session: Session) =>
  new GatewayError('MICROSERVICE_JOIN_TIMEOUT', 'Timeout waiting for microservices to join', {
    details: { session_id: session.session_id, missing: pendingServices(session) },
  });

const changedSince = () => new GatewayError('PRECONDITION_FAILED', 'the session has another version than If-Match names');

const withRunning = (statistics: Statistics) => {
  const { by_status, sessions } = statistics;
  return { ...statistics, running_sessions: sessions - (by_status.Terminating ?? 0) - (by_status.Terminated ?? 0) };
};

const ending = (session: Session) => ({
  session_id: session.session_id,
  status: session.status,
  ...(session.ended && { end_reason: session.ended.reason }),
});

/** What REST answers, endpoint by endpoint. */
export function endpoints(parts: EndpointsParts): Endpoints {
  const { openings, operations, sessions, store, dispatcher, reports, clock } = parts;

  /**
   * Opens a session and waits until it is `far` enough, at most as long as a call may wait: the session it opened then ends.
   * A caller that goes away without an idempotency key takes its session along.
   */
  const create = async (
    body: NewSession,
    far: (session: Session) => boolean,
    token_policy: Session['token_policy'],
    gone: AbortSignal,
    more: Pick<Spec, 'user' | 'places'> = {},
  ) => {
    const maxJoinMs = far === isReady ? parts.maxWaitMs : undefined;
    const timeIsOver = new AbortController();
    const stop = clock.every(parts.maxWaitMs, () => timeIsOver.abort());
    let opened: { session: Session; replayed: boolean } | undefined;
    try {
      opened = await openings.open(body, { token_policy, maxJoinMs, ...more });
      const { session_id } = opened.session;
      const settled = await sessions.until(session_id, far, AbortSignal.any([gone, timeIsOver.signal])).catch(async (error) => {
        if (gone.aborted || !timeIsOver.signal.aborted) throw error;
        // one that was there before belongs to another call
        return opened?.replayed ? sessions.get(session_id) : sessions.apply(session_id, { type: 'JoinTimeout' });
      });
      const refusal = whyNotCreated(settled);
      if (refusal) throw refusal;
      if (!far(settled)) throw notReadyInTime(settled);
      return { settled, answer: await operations.created(settled, { replayed: opened.replayed, seq: settled.seq }) };
    } catch (error) {
      if (opened && gone.aborted && body.idempotency_key === undefined) {
        await sessions.tell(opened.session.session_id, { type: 'End', reason: 'client_gone', by: 'client' });
      }
      throw error;
    } finally {
      stop();
    }
  };
  let looking: ReturnType<EndpointsParts['readiness']> | undefined;
  const roomIsThere = ({ status }: Session) => status !== 'Creating';
  const isReady = (session: Session) => session.status === 'Ready' || session.status === 'Active' || isEnded(session);

  const createSession = async ({ body, query, headers, gone }: Call<'createSession' | 'createSessionAtOnce'>) => {
    const key = headers['idempotency-key'];
    if (key !== undefined && body.idempotency_key !== undefined && key !== body.idempotency_key)
      throw new GatewayError('VALIDATION_FAILED', 'header: idempotency-key: the body has another idempotency_key');
    const wish = { ...body, ...(key !== undefined && { idempotency_key: key }) };
    const { answer } =
      query.wait === 'ready' ? await create(wish, isReady, 'on_ready', gone) : await create(wish, roomIsThere, 'immediate', gone);
    return answer;
  };

  return {
    health: () => ({ status: 'healthy', timestamp: iso(clock.now()), version: parts.version }),

    async ready({ admitted }) {
      // one look for all that ask at once: anybody may
      looking ??= parts.readiness().finally(() => {
        looking = undefined;
      });
      const found = await looking;
      return admitted ? found : { ready: found.ready, draining: found.draining };
    },

    async registerService({ body }) {
      openings.refuseWhileDraining();
      const refusal = parts.outbound.refusal(body.endpoint);
      if (refusal !== undefined)
        throw new GatewayError('VALIDATION_FAILED', `body: endpoint: ${refusal}`, {
          details: { issues: [{ path: 'endpoint', message: refusal }] },
        });
      const { instance } = await dispatcher.register(body, httpLink(body.endpoint, parts.paths, parts.outbound));
      void dispatcher.offerWaiting(instance);
      return { success: true, service_id: instance.service_id, message: 'Microservice registered successfully' };
    },

    listServices: ({ query }) => ({
      items: [...dispatcher.registry.all()]
        .filter((instance) => query.type === undefined || matches(instance, { type: query.type }))
        .map(shown),
    }),

    deregisterService({ params }) {
      const instance = dispatcher.get(params.id);
      const serving = instance.slots.size;
      dispatcher.deregister(instance, false);
      return { success: true, service_id: params.id, message: 'Microservice deregistered', sessions: serving };
    },

    drainService({ params }) {
      const instance = dispatcher.get(params.id);
      dispatcher.deregister(instance, true);
      return { success: true, service_id: params.id, message: 'Microservice is draining', sessions: instance.slots.size };
    },

    createSession,
    createSessionAtOnce: createSession,

    listSessions: ({ query: { tags, ...query } }) => operations.list(callerOf(query), { ...query, tags: tags?.split(',').filter(Boolean) }),

    getSession: ({ params, query }) => operations.get(params.id, callerOf(query)),

    deleteSession: async ({ params, query }) => ending(await operations.delete(params.id, callerOf(query))),

    terminateSession: async ({ params, query }) => ending(await operations.end(params.id, callerOf(query))),

    async updateSession({ params, query, body, headers }) {
      const caller = callerOf(query);
      const match = headers['if-match'];
      if (match === undefined || match === '*') return operations.update(params.id, caller, body);
      const { version } = await operations.get(params.id, caller);
      try {
        // a tag that is weak, or none of ours, fits no version
        if (!match.split(',').some((tag) => tag.trim().replace(/^"(.*)"$/, '$1') === String(version))) throw changedSince();
        return await operations.update(params.id, caller, { ...body, if_version: version });
      } catch (error) {
        throw error instanceof GatewayError && error.code === 'VERSION_CONFLICT' ? changedSince() : error;
      }
    },

    extendSession: ({ params, query, body }) => operations.extend(params.id, callerOf(query), body.ttl_hours),

    shareSession: ({ params, query, body }) => operations.share(params.id, callerOf(query), body.target_user_id, body.role),

    unshareSession: ({ params, query }) => operations.unshare(params.id, callerOf(query), params.target_user_id),

    addMessage: ({ params, query, body }) => operations.addMessage(params.id, callerOf(query), body),

    getMessages: ({ params, query }) => operations.messages(params.id, callerOf(query), query),

    statistics: async () => ({
      ...withRunning(await store.getStatistics()),
      services: [...dispatcher.registry.all()].filter(({ link }) => link).length,
      ...parts.holds(),
    }),

    async serviceReady({ params, body: { service_id } }) {
      const session = await reports.ready({ session_id: params.id, service_id });
      return { success: true, session_id: params.id, service_id, all_ready: allServe(session) };
    },

    sessionToken: ({ params, query, body }) =>
      body.role === 'manager' ? operations.managerToken(params.id, callerOf(query)) : operations.refreshToken(params.id, callerOf(query)),

    async tokenSource({ body, gone }) {
      const { room_name, participant_identity, participant_name, participant_metadata, participant_attributes } = body;
      const user = { metadata: participant_metadata, attributes: participant_attributes };
      const user_identity = participant_identity ?? `user-${uuid()}`;
      const held = room_name === undefined ? undefined : await sessionInRoom(store, room_name);
      if (held && held.user_identity === user_identity) {
        // an app may ask twice at once
        const settled = await sessions.until(held.session_id, roomIsThere, gone);
        const refusal = whyNotCreated(settled);
        if (refusal) throw refusal;
        const { access_token, livekit_url } = await operations.refreshToken(held.session_id, { operator: false, user: user_identity });
        return { server_url: livekit_url, participant_token: access_token, room_name: room_name ?? '' };
      }
      const places = new Map<string, Record<string, string>>();
      const agents = body.room_config?.agents?.flatMap(({ agent_name, agentName, metadata, deployment }) => {
        const id = agent_name ?? agentName;
        if (id === undefined) return [];
        const passedOn = { ...(metadata !== undefined && { agent_metadata: metadata }), ...(deployment !== undefined && { deployment }) };
        if (metadata !== undefined || deployment !== undefined) places.set(id, passedOn);
        return [id];
      });
      const wish: NewSession = {
        user_identity,
        user_name: participant_name,
        room: true,
        room_name,
        metadata: {},
        visibility: 'private',
        optional_services: [],
        on_join_timeout: 'fail',
        on_service_loss: 'replace',
        resume_window_s: 0,
        // an app may ask twice at once: one session for both
        ...(room_name !== undefined && { idempotency_key: `livekit ${room_name}`.slice(0, 128) }),
        ...(agents && agents.length > 0 && { required_services: agents }),
      };
      if (agents?.includes(user_identity))
        throw new GatewayError('VALIDATION_FAILED', 'participant_identity: a user may not be named like a service of the session');
      const { answer } = await create(wish, roomIsThere, 'immediate', gone, { user, places });
      return {
        server_url: answer.livekit_url ?? '',
        participant_token: answer.access_token ?? '',
        room_name: answer.room_name ?? '',
        livekit_room: answer.livekit_room,
        ...(participant_name !== undefined && { participant_name }),
      };
    },
  };
}
