import { createHash } from 'node:crypto';
import { v4 as uuid, v7 as uuidv7 } from 'uuid';
import type { z } from 'zod';
import type { Snapshot } from '../../protocol/answers.ts';
import type { Wanted } from '../../protocol/fields.ts';
import type { newSessionFields } from '../../protocol/requests.ts';
import type { ShareRole, Status } from '../../protocol/states.ts';
import { type Action, authorize, type Caller, standing } from './access.ts';
import { hashOf, type Outcome, outcomeOf, remembered } from './commands.ts';
import { keyOf, type Spec } from './create.ts';
import { GatewayError, roomNameInUse } from './errors.ts';
import type { HoldingInput } from './holding.ts';
import type { Sessions } from './manager.ts';
import { ClaimTaken, type Clock, type Message, type Offers, type Rooms, type SessionStore } from './ports.ts';
import { isEnded, roomClaim, type Session } from './record.ts';
import { checkResume, resumeInvalid } from './resume.ts';
import { pendingServices, readyServices, snapshot } from './snapshot.ts';
import { iso } from './time.ts';

const maxReplays = 5;
/** What the messages of one page hold together, beyond the first. */
const maxPageBytes = 131_072;

/** What a session is asked for with, checked. */
export type NewSession = z.output<typeof newSessionFields>;

/** How a session is asked for. */
interface Opening {
  /** The connection that holds it, and the hash of the resume token given there; absent: none does. */
  holder?: { connection_id: string; token_hash: string };
  token_policy: Session['token_policy'];
  user?: Spec['user'];
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
  nodeId: string;
  defaults: { registrationMs: number; joinTimeoutMs: number; ttlMs: number };
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
    { holder, token_policy, user }: Opening,
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
      // a name like room-{session_id} is claimed by nobody, for nobody can guess the next: one that is held is looked for
      if (body.room_name?.startsWith('room-') && (await this.byRoom(body.room_name))) throw roomNameInUse();
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
          made_on_join: rooms.mode === 'on_join' ? { registrationMs: defaults.registrationMs } : undefined,
          metadata: body.metadata,
          visibility: body.visibility,
          required,
          takesWhatIsThere: body.required_services === undefined,
          optional: room ? distinct(body.optional_services).filter((want) => !required.some((other) => keyOf(other) === keyOf(want))) : [],
          on_join_timeout: body.on_join_timeout,
          on_service_loss: body.on_service_loss,
          idempotency,
          holder: holder && { node_id: this.#parts.nodeId, connection_id: holder.connection_id },
          resume:
            body.resume_window_s === 0
              ? undefined
              : { window_ms: body.resume_window_s * 1_000, ...(holder && { token_hash: holder.token_hash }) },
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

  /**
   * Gives a session to the socket of a client that has come back. One that has ended for another reason than its absence is
   * shown all the same: the client learns why.
   * @returns the session; it is another socket's where a newer one holds it
   * @throws GatewayError DRAINING, RESUME_INVALID, RESUME_EXPIRED
   */
  async resume(id: string, resume_token: string, connection_id: string): Promise<Session> {
    this.refuseWhileDraining();
    try {
      return await this.#parts.sessions.apply(id, async (session) => {
        checkResume(session, resume_token);
        // one that is away can be had: its token is not used up by that
        const isLate = session.link === 'attached' && this.#isLate(session, connection_id);
        return isEnded(session) || isLate ? undefined : this.#attached(connection_id);
      });
    } catch (error) {
      throw error instanceof GatewayError && error.code === 'SESSION_NOT_FOUND' ? resumeInvalid() : error;
    }
  }

  /**
   * Gives a session that was there before to a socket that asked for it again. `token_hash`: of the only resume token that counts from now on.
   * @returns the session; it is another socket's where a newer one holds it, or held it last: that one has the token it comes back with
   * @throws GatewayError SESSION_NOT_FOUND, ILLEGAL_STATE it has ended
   */
  attach(id: string, connection_id: string, token_hash: string): Promise<Session> {
    return this.#parts.sessions.apply(id, async (session) =>
      this.#isLate(session, connection_id) ? undefined : { ...this.#attached(connection_id), token_hash },
    );
  }

  /**
   * Whether a socket that was opened after this one holds the session, or held it last: what comes here was given up by its client and stayed on its way.
   * Ids of connections grow, but each node has its own.
   */
  #isLate({ node_id, connection_id: holder }: Session, connection_id: string): boolean {
    return node_id === this.#parts.nodeId && holder !== undefined && holder > connection_id;
  }

  #attached = (connection_id: string) => ({ type: 'Attached', node_id: this.#parts.nodeId, connection_id }) as const;

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

  /** The session, if the caller may do this with it. @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN */
  async find(id: string, caller: Caller, action: Action = 'read'): Promise<Session> {
    const session = await this.#parts.sessions.get(id);
    authorize(session, caller, action);
    return session;
  }

  /** What a session is, to this caller. @throws GatewayError SESSION_NOT_FOUND */
  async get(id: string, caller: Caller): Promise<Snapshot> {
    return shownTo(await this.find(id, caller), caller);
  }

  /** One page of the caller's own sessions, or for the operator of everybody's. */
  async list(caller: Caller, { status, tags, limit, offset, cursor }: ListWish) {
    // somebody without a name owns nothing
    if (!caller.operator && caller.user === undefined) return { items: [] };
    const before = cursor === undefined ? undefined : placeOf(cursor);
    const owner_id = caller.operator ? undefined : caller.user;
    // one more than asked for says whether there is more
    const found = await this.#parts.store.listSessions({ owner_id, status, tags, limit: limit + 1, offset, before });
    const last = found[limit - 1];
    const items = found.slice(0, limit).map((session) => shownTo(session, caller));
    return { items, ...(found.length > limit && last && { next_cursor: cursorOf(last) }) };
  }

  /**
   * Changes what a session holds: once for each command, where the session remembers them.
   * @param command the request of the session's own client; absent: of somebody whose requests are not remembered
   * @param isDone whether it holds that already
   * @returns what came of it, and whether that was long ago
   */
  async #hold<T extends HoldingInput['type']>(
    id: string,
    input: Extract<HoldingInput, { type: T }>,
    command: object | undefined,
    isDone: () => Promise<boolean> | boolean = () => false,
  ): Promise<{ outcome: Outcome<T>; isTold: boolean }> {
    const { sessions } = this.#parts;
    let told: Record<string, unknown> | undefined;
    const session = await sessions.apply(id, async (session) => {
      const hash = session.resume && command && hashOf(command);
      told = remembered(session, hash);
      if (told) return undefined;
      if (await isDone()) {
        // done since the record was read, it may have been this very command, on a socket that has broken
        if (hash !== undefined) told = remembered(await sessions.get(id), hash);
        return undefined;
      }
      return { ...(input as HoldingInput), ...(hash !== undefined && { command: hash }) };
    });
    return { outcome: (told ?? outcomeOf(input, session)) as Outcome<T>, isTold: told !== undefined };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, VERSION_CONFLICT, ILLEGAL_STATE, VALIDATION_FAILED */
  async update(id: string, caller: Caller, wish: Omit<Extract<HoldingInput, { type: 'Update' }>, 'type'>, command?: object) {
    const session = await this.find(id, caller);
    // a service keeps in the context what its successor needs; the rest is its owner's
    const contextOnly = wish.metadata_updates === undefined && wish.visibility === undefined;
    authorize(session, caller, standing(session, caller) === 'service' && contextOnly ? 'take part' : 'own');
    const { outcome } = await this.#hold(id, { type: 'Update', ...wish }, command);
    return { session_id: id, version: outcome.version };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE */
  async extend(id: string, caller: Caller, ttl_hours: number, command?: object) {
    await this.find(id, caller, 'own');
    const { outcome } = await this.#hold(id, { type: 'Extend', ttl_ms: ttl_hours * 3_600_000 }, command);
    return { session_id: id, expires_at: iso(outcome.expires_at) };
  }

  /** Keeps a message; one whose id is there already changes nothing. @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE */
  async addMessage(
    id: string,
    caller: Caller,
    { role, content, message_id = uuidv7() }: { role: string; content: string; message_id?: string | undefined },
    command?: object,
  ) {
    const { store } = this.#parts;
    await this.find(id, caller, 'take part');
    const input = { type: 'Message', message_id, role, content, user_id: caller.user } as const;
    let known: Message | undefined;
    const { outcome, isTold } = await this.#hold(id, input, command, async () => {
      // looked up anew for each try: the commit fails if another came in between
      known = await store.findMessage(id, message_id);
      return known !== undefined;
    });
    const message = known ?? (await store.findMessage(id, outcome.message_id));
    if (!message) throw new GatewayError('ILLEGAL_STATE', 'the session was deleted meanwhile');
    return { session_id: id, ...shownMessage(message), duplicate: known !== undefined && !isTold };
  }

  /** @throws GatewayError SESSION_NOT_FOUND */
  async messages(id: string, caller: Caller, { limit, after }: { limit: number; after: number }) {
    await this.find(id, caller);
    const found = await this.#parts.store.messagesAfter(id, after, limit + 1);
    const items = found.slice(0, limit).map(shownMessage);
    // a page is one frame: long messages make it shorter
    let bytes = 0;
    const fitting = items.findIndex(({ content }, i) => {
      bytes += Buffer.byteLength(content);
      return i > 0 && bytes > maxPageBytes;
    });
    const page = fitting < 0 ? items : items.slice(0, fitting);
    const last = page.at(-1);
    return { session_id: id, items: page, ...(found.length > page.length && last && { next_after: last.seq }) };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE, VALIDATION_FAILED */
  async share(id: string, caller: Caller, user: string, role: ShareRole, command?: object) {
    await this.find(id, caller, 'own');
    return { session_id: id, ...(await this.#hold(id, { type: 'Share', user, role }, command)).outcome };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE */
  async unshare(id: string, caller: Caller, user: string, command?: object) {
    await this.find(id, caller, 'own');
    return { session_id: id, ...(await this.#hold(id, { type: 'Unshare', user }, command)).outcome };
  }

  /** Ends a session and forgets what was said in it; succeeds again. @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN */
  async delete(id: string, caller: Caller): Promise<Session> {
    await this.find(id, caller, 'own');
    const session = await this.#parts.sessions.apply(id, { type: 'End', reason: 'owner_deleted', by: 'client' });
    // after the end nothing is added any more
    await this.#parts.store.dropMessages(id);
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
  async end(id: string, caller: Caller): Promise<Session> {
    await this.find(id, caller, 'own');
    return this.#parts.sessions.apply(id, { type: 'End', reason: 'client_ended', by: 'client' });
  }

  /**
   * A new token for the session's user.
   * @throws GatewayError SESSION_NOT_FOUND; ILLEGAL_STATE no room, ended, or not ready yet
   */
  async refreshToken(id: string, caller: Caller) {
    const session = await this.find(id, caller, 'own');
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
  async created(session: Session, { replayed, seq, resume_token }: { replayed: boolean; seq: number; resume_token?: string | undefined }) {
    const { room } = session;
    return {
      session_id: session.session_id,
      status: session.status,
      room_name: room?.name,
      livekit_url: room?.livekit_url,
      access_token: room && this.#mayJoin(session) ? await this.#parts.rooms.clientToken(session) : undefined,
      workspace_dir: session.workspace_dir,
      ready_services: readyServices(session),
      pending_services: pendingServices(session),
      created_at: iso(session.created_at),
      expires_at: iso(session.expires_at),
      seq,
      timings: session.timings,
      replayed,
      resume_window_s: (session.resume?.window_ms ?? 0) / 1_000,
      resume_token,
    };
  }

  /** A token for the user, where the session is as far. */
  async joinToken(session: Session): Promise<string | undefined> {
    return session.room && this.#mayJoin(session) ? this.#parts.rooms.clientToken(session) : undefined;
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

interface ListWish {
  status?: Status | undefined;
  tags?: readonly string[] | undefined;
  limit: number;
  offset: number;
  cursor?: string | undefined;
}

/** With whom a session is shared is its owner's affair. */
function shownTo(session: Session, caller: Caller): Snapshot {
  const standsAs = standing(session, caller);
  return { ...snapshot(session), ...((standsAs === 'owner' || standsAs === 'operator') && { shares: session.shares }) };
}

const shownMessage = ({ message_id, seq, role, content, user_id, ts }: Message) => ({
  message_id,
  seq,
  role,
  content,
  ...(user_id !== undefined && { user_id }),
  created_at: ts,
});

const cursorOf = ({ created_at, session_id }: Session) => Buffer.from(`${created_at} ${session_id}`).toString('base64url');

function placeOf(cursor: string): { created_at: number; session_id: string } {
  const [created_at = '', session_id = ''] = Buffer.from(cursor, 'base64url').toString().split(' ');
  if (!/^\d{1,15}$/.test(created_at) || session_id === '') throw new GatewayError('VALIDATION_FAILED', 'cursor: not one of ours');
  return { created_at: Number(created_at), session_id };
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

const distinct = (wants: readonly Wanted[]) => [
  ...new Map(wants.map((want) => [typeof want === 'string' ? want : Symbol(), want])).values(),
];

function idempotencyOf(wish: NewSession): Session['idempotency'] {
  if (wish.idempotency_key === undefined) return undefined;
  // a request has its type and its sender's mark besides, which do not count
  const { idempotency_key: key, type: _, id: __, ...body } = wish as NewSession & { type?: string; id?: string };
  const scope = body.user_identity ?? 'anonymous';
  return { claim: `key:${JSON.stringify([scope, key])}`, hash: createHash('sha256').update(JSON.stringify(body)).digest('base64') };
}
