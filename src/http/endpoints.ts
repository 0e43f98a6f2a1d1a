import { v7 as uuid } from 'uuid';
import type { Dispatcher } from '../services/dispatcher.ts';
import { type EndpointPaths, httpLink } from '../services/links.ts';
import type { Outbound } from '../services/outbound.ts';
import { type Instance, matches } from '../services/registry.ts';
import type { Caller } from '../sessions/access.ts';
import type { Spec } from '../sessions/create.ts';
import { GatewayError } from '../sessions/errors.ts';
import type { Sessions } from '../sessions/manager.ts';
import { type NewSession, type Openings, sessionInRoom } from '../sessions/openings.ts';
import { type Operations, whyNotCreated } from '../sessions/operations.ts';
import type { Clock, SessionStore } from '../sessions/ports.ts';
import { allServe, isEnded, type Session } from '../sessions/record.ts';
import { iso } from '../sessions/time.ts';
import type { Call, Endpoints } from './app.ts';

export interface EndpointsParts {
  openings: Openings;
  operations: Operations;
  sessions: Sessions;
  store: SessionStore;
  dispatcher: Dispatcher;
  outbound: Outbound;
  paths: EndpointPaths;
  clock: Clock;
  version: string;
  readiness: Endpoints['ready'];
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
  ...(instance.instance_id !== undefined && { instance_id: instance.instance_id }),
  ...(instance.endpoint !== undefined && { endpoint: instance.endpoint }),
  metadata: instance.metadata,
  status: instance.link ? ('Registered' as const) : ('Disconnected' as const),
  availability: instance.availability,
  sessions: instance.slots.size,
  ...(instance.maxSessions !== Number.POSITIVE_INFINITY && { max_sessions: instance.maxSessions }),
  registered_at: iso(instance.registeredAt),
});

const ending = (session: Session) => ({
  session_id: session.session_id,
  status: session.status,
  ...(session.ended && { end_reason: session.ended.reason }),
});

/** What REST answers, endpoint by endpoint. */
export function endpoints(parts: EndpointsParts): Endpoints {
  const { openings, operations, sessions, store, dispatcher, clock } = parts;

  /** Opens a session and waits until it is `far` enough. A caller that goes away without an idempotency key takes its session along. */
  const create = async (
    body: NewSession,
    far: (session: Session) => boolean,
    token_policy: Session['token_policy'],
    gone: AbortSignal,
    user?: Spec['user'],
  ) => {
    const { session, replayed } = await openings.open(body, { token_policy, user });
    try {
      const settled = await sessions.until(session.session_id, far, gone);
      const refusal = whyNotCreated(settled);
      if (refusal) throw refusal;
      return { settled, answer: await operations.created(settled, { replayed, seq: settled.seq }) };
    } catch (error) {
      if (gone.aborted && body.idempotency_key === undefined) {
        await sessions.tell(session.session_id, { type: 'End', reason: 'client_gone', by: 'client' });
      }
      throw error;
    }
  };
  const roomIsThere = ({ status }: Session) => status !== 'Creating';
  const isReady = (session: Session) => session.status === 'Ready' || session.status === 'Active' || isEnded(session);

  const createSession = async ({ body, query, headers, gone }: Call<'createSession' | 'createSessionAtOnce'>) => {
    const key = headers['idempotency-key'];
    const wish = { ...body, ...(key !== undefined && { idempotency_key: key }) };
    const { answer } =
      query.wait === 'ready' ? await create(wish, isReady, 'on_ready', gone) : await create(wish, roomIsThere, 'immediate', gone);
    return answer;
  };

  return {
    health: () => ({ status: 'healthy', timestamp: iso(clock.now()), version: parts.version }),

    ready: parts.readiness,

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

    updateSession: ({ params, query, body, headers }) => {
      const version = headers['if-match']?.replaceAll('"', '');
      return operations.update(params.id, callerOf(query), { ...body, ...(version !== undefined && { if_version: Number(version) }) });
    },

    extendSession: ({ params, query, body }) => operations.extend(params.id, callerOf(query), body.ttl_hours),

    shareSession: ({ params, query, body }) => operations.share(params.id, callerOf(query), body.target_user_id, body.role),

    unshareSession: ({ params, query }) => operations.unshare(params.id, callerOf(query), params.target_user_id),

    addMessage: ({ params, query, body }) => operations.addMessage(params.id, callerOf(query), body),

    getMessages: ({ params, query }) => operations.messages(params.id, callerOf(query), query),

    statistics: async () => ({
      ...(await store.getStatistics()),
      services: [...dispatcher.registry.all()].filter(({ link }) => link).length,
      ...parts.holds(),
    }),

    async serviceReady({ params, body: { service_id } }) {
      const session = await sessions.apply(params.id, { type: 'ServiceReady', service_id });
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
      const agents = body.room_config?.agents?.flatMap(({ agent_name, agentName }) => agent_name ?? agentName ?? []);
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
      const { answer } = await create(wish, roomIsThere, 'immediate', gone, user);
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
