import { createHash } from 'node:crypto';
import { v4 as uuid } from 'uuid';
import type { z } from 'zod';
import type { Wanted } from '../../protocol/fields.ts';
import type { newSessionFields } from '../../protocol/requests.ts';
import { keyOf, type Spec } from './create.ts';
import { GatewayError } from './errors.ts';
import type { Sessions } from './manager.ts';
import { ClaimTaken, type Clock, type Offers, type Rooms, type SessionStore } from './ports.ts';
import { isEnded, roomClaim, type Session } from './record.ts';
import { iso, pendingServices, readyServices } from './snapshot.ts';

const maxReplays = 5;

/** What a session is asked for with, checked. */
export type NewSession = z.output<typeof newSessionFields>;

/** Who calls, as far as it decides what they may do. */
export interface Caller {
  /** Trusted with everything: nobody is named. */
  operator: boolean;
  /** The user the call names, or whose session its socket holds. */
  user?: string | undefined;
  /** The session the caller's socket holds. */
  sessionId?: string | undefined;
  /** The registration the caller's socket speaks for. */
  incarnation?: number | undefined;
}

export interface OperationsParts {
  sessions: Sessions;
  store: SessionStore;
  rooms: Rooms;
  offers: Offers;
  clock: Clock;
  /** Resolves a client's folder, or refuses it. */
  checkWorkspace(folder: string): Promise<string>;
  draining(): boolean;
  defaults: { joinTimeoutMs: number; ttlMs: number };
}

/** What can be done to sessions, the same for the socket and for REST. Input is checked; access is decided here. */
export class Operations {
  readonly #parts: OperationsParts;

  constructor(parts: OperationsParts) {
    this.#parts = parts;
  }

  /** @throws GatewayError DRAINING */
  refuseWhileDraining(): void {
    if (this.#parts.draining()) throw new GatewayError('DRAINING', 'The gateway is shutting down', { retryAfterMs: 1_000 });
  }

  /**
   * Opens a session, or finds the live one that was opened with the same idempotency key and body.
   * @param starting called with a new session's id before anything is written: whatever ends meanwhile can find it
   * @throws GatewayError DRAINING, WORKSPACE_*, ROOM_NAME_IN_USE, IDEMPOTENCY_CONFLICT
   */
  async open(
    body: NewSession,
    { link, token_policy, user }: { link: Session['link']; token_policy: Session['token_policy']; user?: Spec['user'] },
    starting: (id: string) => void = () => {},
  ): Promise<{ session: Session; replayed: boolean }> {
    this.refuseWhileDraining();
    const { sessions, offers, rooms, defaults, checkWorkspace } = this.#parts;
    const workspace_dir = body.workspace_dir === undefined ? undefined : await checkWorkspace(body.workspace_dir);
    const idempotency = idempotencyOf(body);
    const room = body.room && body.user_identity !== undefined;
    for (let tries = 0; ; tries++) {
      const held = idempotency && (await this.#replay(idempotency));
      if (held) return { session: held, replayed: true };
      const session_id = uuid();
      starting(session_id);
      const required = distinct(room ? (body.required_services ?? offers.available().filter((id) => id !== body.user_identity)) : []);
      try {
        const session = await sessions.create({
          session_id,
          user_identity: body.user_identity,
          user_name: body.user_name,
          user,
          workspace_dir,
          room,
          room_name: body.room_name,
          metadata: body.metadata,
          required,
          optional: room ? distinct(body.optional_services).filter((want) => !required.some((other) => keyOf(other) === keyOf(want))) : [],
          on_join_timeout: body.on_join_timeout,
          on_service_loss: body.on_service_loss,
          idempotency,
          link,
          token_policy: body.token_policy ?? token_policy,
          join_timeout_ms: body.join_timeout_s === undefined ? defaults.joinTimeoutMs : body.join_timeout_s * 1_000,
          client_join_timeout_s: body.client_join_timeout_s,
          ttl_ms: body.ttl_hours === undefined ? defaults.ttlMs : body.ttl_hours * 3_600_000,
          livekit_url: rooms.url,
        });
        return { session, replayed: false };
      } catch (error) {
        // somebody with the same key was faster: theirs is the session
        if (!(error instanceof ClaimTaken) || tries === maxReplays) throw error;
      }
    }
  }

  /** The live session with this key. @throws GatewayError IDEMPOTENCY_CONFLICT */
  async #replay({ claim, hash }: NonNullable<Session['idempotency']>): Promise<Session | undefined> {
    const id = await this.#parts.store.holderOf(claim);
    const session = id === undefined ? undefined : await this.#parts.store.loadSession(id);
    if (!session || isEnded(session)) return undefined;
    if (session.idempotency?.hash !== hash) {
      throw new GatewayError('IDEMPOTENCY_CONFLICT', 'This idempotency key was used with another body', { details: { session_id: id } });
    }
    return session;
  }

  /** What a caller may not read does not exist for them. @throws GatewayError SESSION_NOT_FOUND */
  async find(id: string, caller: Caller): Promise<Session> {
    const session = await this.#parts.sessions.get(id);
    if (!mayRead(session, caller)) throw new GatewayError('SESSION_NOT_FOUND', `Session not found: ${id}`);
    return session;
  }

  /** The live session that holds a room of this name. */
  async byRoom(name: string): Promise<Session | undefined> {
    const { store } = this.#parts;
    const id = (await store.holderOf(roomClaim(name))) ?? /^room-(.+)$/.exec(name)?.[1];
    const session = id === undefined ? undefined : await store.loadSession(id);
    return session && !isEnded(session) && session.room?.name === name ? session : undefined;
  }

  /** Ends a session; succeeds again. @throws GatewayError SESSION_NOT_FOUND */
  async end(id: string, caller: Caller, reason: 'client_ended' | 'owner_deleted'): Promise<Session> {
    await this.find(id, caller);
    return this.#parts.sessions.apply(id, { type: 'End', reason, by: 'client' });
  }

  /**
   * A new token for the session's user.
   * @throws GatewayError SESSION_NOT_FOUND; ILLEGAL_STATE no room, ended, or not ready yet
   */
  async refreshToken(id: string, caller: Caller) {
    const session = await this.find(id, caller);
    const { room, user_identity } = session;
    if (!room || user_identity === undefined) throw new GatewayError('ILLEGAL_STATE', 'the session has no room');
    if (isEnded(session))
      throw new GatewayError('ILLEGAL_STATE', `the session is ${session.status}`, { details: { reason: session.ended?.reason } });
    if (!this.#mayJoin(session)) throw new GatewayError('ILLEGAL_STATE', `the session is ${session.status}: its token comes with Ready`);
    return this.#tokenBody(session, await this.#parts.rooms.clientToken(session));
  }

  /** A token that administers the session's room. @throws GatewayError FORBIDDEN, SESSION_NOT_FOUND, ILLEGAL_STATE */
  async managerToken(id: string, caller: Caller) {
    if (!caller.operator) throw new GatewayError('FORBIDDEN', 'only the operator gets a manager token');
    const session = await this.find(id, caller);
    if (!session.room || isEnded(session)) throw new GatewayError('ILLEGAL_STATE', `the session has no room now (${session.status})`);
    return {
      ...this.#tokenBody(session, await this.#parts.rooms.managerToken(session)),
      expires_at: iso(this.#parts.clock.now() + 24 * 3_600_000),
    };
  }

  /** The answer to whoever asked for the session. Its token is signed here, where it is handed out. */
  async created(session: Session, replayed: boolean) {
    const { room } = session;
    return {
      session_id: session.session_id,
      status: session.status,
      ...(room && { room_name: room.name, livekit_url: room.livekit_url }),
      ...(room && this.#mayJoin(session) && { access_token: await this.#parts.rooms.clientToken(session) }),
      ...(session.workspace_dir !== undefined && { workspace_dir: session.workspace_dir }),
      ready_services: readyServices(session),
      pending_services: pendingServices(session),
      created_at: iso(session.created_at),
      expires_at: iso(session.expires_at),
      seq: session.seq,
      timings: session.timings,
      replayed,
    };
  }

  #mayJoin({ status, token_policy }: Session): boolean {
    return status === 'Ready' || status === 'Active' || (token_policy === 'immediate' && status === 'WaitingForServices');
  }

  #tokenBody(session: Session, access_token: string) {
    const sixHours = this.#parts.clock.now() + 6 * 3_600_000;
    return {
      session_id: session.session_id,
      access_token,
      livekit_url: session.room?.livekit_url ?? '',
      expires_at: iso(Math.min(session.expires_at, sixHours)),
    };
  }
}

/** Why a session never became what its creator waits for. @returns undefined: it did */
export function whyNotCreated(session: Session): GatewayError | undefined {
  const { ended, session_id } = session;
  if (!ended) return undefined;
  const details = { session_id, reason: ended.reason, ...(ended.missing.length > 0 && { missing: ended.missing }) };
  if (ended.error) return new GatewayError(ended.error.code, ended.error.message, { details });
  if (ended.reason === 'join_timeout')
    return new GatewayError('MICROSERVICE_JOIN_TIMEOUT', 'Timeout waiting for microservices to join', { details });
  if (ended.reason === 'registration_timeout') {
    return new GatewayError('REGISTRATION_TIMEOUT', 'Timeout waiting for microservices to register', { details });
  }
  return new GatewayError('ILLEGAL_STATE', 'the session was ended while it was created', { details });
}

function mayRead(session: Session, caller: Caller): boolean {
  if (caller.operator || session.session_id === caller.sessionId) return true;
  if (caller.incarnation !== undefined) return session.requirements.some((r) => r.assignment?.incarnation === caller.incarnation);
  return session.owner_id !== undefined && session.owner_id === caller.user;
}

const distinct = (wants: readonly Wanted[]) => [
  ...new Map(wants.map((want) => [typeof want === 'string' ? want : Symbol(), want])).values(),
];

function idempotencyOf({ idempotency_key: key, ...body }: NewSession): Session['idempotency'] {
  if (key === undefined) return undefined;
  const scope = body.user_identity ?? 'anonymous';
  return { claim: `key:${JSON.stringify([scope, key])}`, hash: createHash('sha256').update(JSON.stringify(body)).digest('base64') };
}
