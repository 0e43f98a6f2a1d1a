import { callerOf, checkService, mayCall } from '../auth/caller.ts';
import type { Principal } from '../auth/principal.ts';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { Dispatcher } from '../services/dispatcher.ts';
import type { Link } from '../services/links.ts';
import { listServices } from '../services/list.ts';
import type { Registrations } from '../services/registration.ts';
import type { Instance } from '../services/registry.ts';
import type { Reports } from '../services/reports.ts';
import type { Caller } from '../sessions/access.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Opened, Openings } from '../sessions/open.ts';
import { type Operations, roomIsThere, whyNotCreated } from '../sessions/operations.ts';
import type { SessionStore, Statistics } from '../sessions/ports.ts';
import { allServe, isEnded, missing, type Session } from '../sessions/record.ts';
import { Waits } from '../sessions/waits.ts';
import { iso } from '../time.ts';
import type { Call, Endpoints } from './app.ts';
import type { Readiness } from './readiness.ts';
import { tokenSource } from './token-source.ts';

export interface EndpointsParts {
  openings: Openings;
  operations: Operations;
  sessions: Sessions;
  store: SessionStore;
  dispatcher: Dispatcher;
  registrations: Registrations;
  reports: Reports;
  /** How a service at an endpoint is reached. @throws GatewayError VALIDATION_FAILED */
  linkTo(endpoint: string): Promise<Link>;
  clock: Clock;
  version: string;
  readiness: Readiness;
  /** How long a call may wait for a session to be ready. */
  maxWaitMs: number;
  /** @throws GatewayError ILLEGAL_STATE */
  reloadKeys(): Promise<{ closed_sockets: number }>;
  /** What this node holds now. */
  holds(): { sockets: number; live_sessions: number };
}

/** Whom a call speaks for: the user it names, else whoever sends it. */
const callerIn = ({ principal, query }: { principal: Principal; query: { user_identity?: string | undefined } }): Caller =>
  callerOf(principal, { user: query.user_identity });

const shown = (instance: Instance) => ({
  service_id: instance.service_id,
  ...(instance.endpoint && { endpoint: instance.endpoint.url }),
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
    details: { session_id: session.session_id, missing: missing(session) },
  });

const changedSince = () => new GatewayError('PRECONDITION_FAILED', 'the session does not have the version in If-Match');

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
  const { openings, operations, sessions, store, dispatcher, registrations, reports, clock } = parts;
  const waits = new Waits(sessions, store);

  /**
   * Waits until a session that is asked for is `far` enough, at most as long as a call may wait: the session it opened then ends.
   * A caller that goes away without an idempotency key takes its session along.
   * @throws GatewayError why it never came so far
   */
  const settle = async (
    opening: Promise<Opened>,
    far: (session: Session) => boolean,
    gone: AbortSignal,
    isKeyed: boolean,
  ): Promise<Opened> => {
    const timeIsOver = new AbortController();
    const stop = clock.every(parts.maxWaitMs, () => timeIsOver.abort());
    let opened: Opened | undefined;
    try {
      opened = await opening;
      const { replayed } = opened;
      const { session_id } = opened.session;
      const session = await waits.until(session_id, far, AbortSignal.any([gone, timeIsOver.signal])).catch(async (error) => {
        if (gone.aborted || !timeIsOver.signal.aborted) throw error;
        // one that was there before belongs to another call
        return replayed ? sessions.get(session_id) : sessions.apply(session_id, { type: 'JoinTimeout' });
      });
      const refusal = whyNotCreated(session);
      if (refusal) throw refusal;
      if (!far(session)) throw notReadyInTime(session);
      return { session, replayed };
    } catch (error) {
      if (opened && gone.aborted && !isKeyed) {
        await sessions.report(opened.session.session_id, { type: 'End', reason: 'client_gone', by: 'client' });
      }
      throw error;
    } finally {
      stop();
    }
  };
  /** A service removes its own alone. @throws GatewayError FORBIDDEN, SERVICE_NOT_FOUND */
  const ownService = (service_id: string, principal: Principal): Instance => {
    checkService(principal, service_id);
    const instance = dispatcher.get(service_id);
    if (principal.kind === 'service' && instance.subject !== principal.subject)
      throw new GatewayError('FORBIDDEN', 'service_id: was registered with another credential');
    return instance;
  };
  const isReady = (session: Session) => session.status === 'Ready' || session.status === 'Active' || isEnded(session);

  const createSession = async ({ principal, body, query, headers, gone }: Call<'createSession' | 'createSessionAtOnce'>) => {
    const key = headers['idempotency-key'];
    if (key !== undefined && body.idempotency_key !== undefined && key !== body.idempotency_key)
      throw new GatewayError('VALIDATION_FAILED', 'header: idempotency-key: differs from idempotency_key in the body');
    const wish = { ...body, ...(key !== undefined && { idempotency_key: key }) };
    const untilReady = query.wait === 'ready';
    const caller = callerOf(principal, { user: wish.user_identity });
    const policy = untilReady
      ? ({ token_policy: 'on_ready', maxJoinMs: parts.maxWaitMs } as const)
      : ({ token_policy: 'immediate' } as const);
    const opening = openings.open(wish, { caller, ...policy });
    const { session, replayed } = await settle(opening, untilReady ? isReady : roomIsThere, gone, wish.idempotency_key !== undefined);
    return operations.created(session, { replayed, seq: session.seq });
  };

  return {
    health: () => ({ status: 'healthy', timestamp: iso(clock.now()), version: parts.version }),

    async ready({ principal }) {
      const found = await parts.readiness.check();
      return principal && mayCall(principal, 'statistics') ? found : { ready: found.ready, draining: found.draining };
    },

    async registerService({ body, principal }) {
      checkService(principal, body.service_id, body.metadata.type);
      openings.refuseWhileDraining();
      await registrations.register({ ...body, subject: principal.subject }, await parts.linkTo(body.endpoint));
      return { success: true, service_id: body.service_id, message: 'Microservice registered successfully' };
    },

    async listServices({ query, principal }) {
      const own = principal.kind === 'service' ? principal.subject : undefined;
      const { items, ...page } = await listServices(dispatcher.registry, query, own);
      return { items: items.map(shown), ...page };
    },

    deregisterService({ params, principal }) {
      const instance = ownService(params.id, principal);
      const serving = instance.slots.size;
      registrations.deregister(instance, false);
      return { success: true, service_id: params.id, message: 'Microservice deregistered', sessions: serving };
    },

    drainService({ params, principal }) {
      const instance = ownService(params.id, principal);
      registrations.deregister(instance, true);
      return { success: true, service_id: params.id, message: 'Microservice is draining', sessions: instance.slots.size };
    },

    createSession,
    createSessionAtOnce: createSession,

    listSessions: (call) => {
      const { tags, ...query } = call.query;
      return operations.list(callerIn(call), { ...query, tags: tags?.split(',').filter(Boolean) });
    },

    getSession: (call) => operations.get(call.params.id, callerIn(call)),

    deleteSession: async (call) => ending(await operations.delete(call.params.id, callerIn(call))),

    terminateSession: async (call) => ending(await operations.end(call.params.id, callerIn(call))),

    async updateSession(call) {
      const { params, body, headers } = call;
      const caller = callerIn(call);
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

    extendSession: (call) => operations.extend(call.params.id, callerIn(call), call.body.ttl_hours),

    shareSession: (call) => operations.share(call.params.id, callerIn(call), call.body.target_user_id, call.body.role),

    unshareSession: (call) => operations.unshare(call.params.id, callerIn(call), call.params.target_user_id),

    addMessage: (call) => operations.addMessage(call.params.id, callerIn(call), call.body),

    getMessages: (call) => operations.messages(call.params.id, callerIn(call), call.query),

    reloadKeys: parts.reloadKeys,

    statistics: async () => ({
      ...withRunning(await store.getStatistics()),
      services: [...dispatcher.registry.all()].filter(({ link }) => link).length,
      ...parts.holds(),
    }),

    async serviceReady({ params, body: { service_id }, principal }) {
      checkService(principal, service_id);
      const { session } = await reports.ready({ session_id: params.id, service_id }, principal.subject);
      return { success: true, session_id: params.id, service_id, all_ready: allServe(session) };
    },

    sessionToken: (call) =>
      call.body.role === 'manager'
        ? operations.managerToken(call.params.id, callerIn(call))
        : operations.refreshToken(call.params.id, callerIn(call)),

    tokenSource: tokenSource({ openings, operations, sessions, store, settle }),
  };
}
