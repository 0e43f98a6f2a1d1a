import { v7 as uuidv7 } from 'uuid';
import type { AccessName } from '../../protocol/access.ts';
import type { Snapshot } from '../../protocol/answers.ts';
import { inWords } from '../../protocol/failures.ts';
import type { ShareRole, Status } from '../../protocol/states.ts';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { iso } from '../time.ts';
import { authorize, type Caller, checkAsks, standing } from './access.ts';
import type { Sessions } from './commits.ts';
import { type ContentInput, type Outcome, outcomeOf } from './content.ts';
import { hashOf, remembered } from './dedup.ts';
import { unserved } from './ending.ts';
import { namedLikeService } from './errors.ts';
import { jsonBytesOf, maxPageBytes, readPage, sizeOfMessage, sizeOfSession } from './pages.ts';
import { type Guest, type Message, type Rooms, type SessionStore, tokenLifeMs } from './ports.ts';
import { identityOf, isEnded, labelOf, nameOf, type Requirement, type Session } from './record.ts';
import { pendingServices, readyServices, snapshot } from './snapshot.ts';

/** Bytes of an empty context: nothing is left out with it. */
const noContext = 2;

export interface OperationsParts {
  sessions: Sessions;
  store: SessionStore;
  rooms: Rooms;
  clock: Clock;
  /** What a page holds beyond its first item. Default: what one frame should. */
  maxPageBytes?: number;
}

/** What can be done to sessions, the same for the socket and for REST. Input is checked; access is decided here. */
export class Operations {
  readonly #parts: OperationsParts;

  constructor(parts: OperationsParts) {
    this.#parts = parts;
  }

  /** The session, if the caller may do this with it. @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN */
  async find(id: string, caller: Caller, access: AccessName = 'read'): Promise<Session> {
    // before it is looked for: nobody learns what there is by asking for what they may not do
    checkAsks(caller, access);
    const session = await this.#parts.sessions.get(id);
    authorize(session, caller, access);
    return session;
  }

  /** What a session is, to this caller. @throws GatewayError SESSION_NOT_FOUND */
  async get(id: string, caller: Caller): Promise<Snapshot> {
    return shownTo(await this.find(id, caller), caller);
  }

  /** One page of the caller's own sessions, or for the operator of everybody's. Contexts stand in it as far as there is room. */
  async list(caller: Caller, { status, tags, limit, offset, cursor }: ListWish) {
    checkAsks(caller, 'list');
    const seesAll = caller.kind === 'operator';
    // somebody without a name owns nothing
    if (!seesAll && caller.user === undefined) return { items: [] };
    const before = cursor === undefined ? undefined : placeOf(cursor);
    const owner_id = seesAll ? undefined : caller.user;
    const { store, maxPageBytes: maxBytes = maxPageBytes } = this.#parts;
    const { items, bytes, more } = await readPage<Session>({
      limit,
      maxBytes,
      sizeOf: sizeOfSession,
      read: (last, count) =>
        last
          ? store.listSessions({ owner_id, status, tags, limit: count, offset: 0, before: last })
          : store.listSessions({ owner_id, status, tags, limit: count, offset, before }),
    });
    let room = maxBytes - bytes;
    const shown = items.map((session): Snapshot => {
      const size = jsonBytesOf(session.context);
      const one = shownTo(session, caller);
      if (size > Math.max(room, noContext)) return Object.assign(one, { context: {}, context_omitted: true });
      room -= size;
      return one;
    });
    const last = items.at(-1);
    return { items: shown, ...(more && last && { next_cursor: cursorOf(last) }) };
  }

  /**
   * Changes what a session holds: once for each command, where the session remembers them.
   * @param command the request of the session's own client; absent: of somebody whose requests are not remembered
   * @param isDone whether it holds that already
   * @returns what came of it, and whether that was long ago
   */
  async #changeContent<T extends ContentInput['type']>(
    id: string,
    input: Extract<ContentInput, { type: T }>,
    command: object | undefined,
    isDone: () => Promise<boolean> | boolean = () => false,
  ): Promise<{ outcome: Outcome<T>; isRepeated: boolean }> {
    const { sessions } = this.#parts;
    let earlier: Record<string, unknown> | undefined;
    const session = await sessions.change(id, async (before) => {
      const hash = before.resume && command && hashOf(command);
      earlier = remembered(before, hash);
      if (earlier) return undefined;
      if (await isDone()) {
        // done since the record was read, it may have been this very command, on a socket that has broken
        if (hash !== undefined) earlier = remembered(await sessions.get(id), hash);
        return undefined;
      }
      return { ...(input as ContentInput), ...(hash !== undefined && { command: hash }) };
    });
    return { outcome: (earlier ?? outcomeOf(input, session)) as Outcome<T>, isRepeated: earlier !== undefined };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, VERSION_CONFLICT, ILLEGAL_STATE, VALIDATION_FAILED */
  async update(id: string, caller: Caller, wish: Omit<Extract<ContentInput, { type: 'Update' }>, 'type'>, command?: object) {
    // a service keeps in the context what its successor needs; the rest is its owner's
    const contextOnly = wish.metadata_updates === undefined && wish.visibility === undefined;
    await this.find(id, caller, contextOnly ? 'update_context' : 'update_session');
    const { outcome } = await this.#changeContent(id, { type: 'Update', ...wish }, command);
    return { session_id: id, version: outcome.version };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE */
  async extend(id: string, caller: Caller, ttl_hours: number, command?: object) {
    await this.find(id, caller, 'update_session');
    const { outcome } = await this.#changeContent(id, { type: 'Extend', ttl_ms: ttl_hours * 3_600_000 }, command);
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
    await this.find(id, caller, 'add_message');
    const input = { type: 'Message', message_id, role, content, user_id: caller.user } as const;
    let known: Message | undefined;
    const { outcome, isRepeated } = await this.#changeContent(id, input, command, async () => {
      // looked up anew for each try: the commit fails if another came in between
      known = await store.findMessage(id, message_id);
      return known !== undefined;
    });
    const message = known ?? (await store.findMessage(id, outcome.message_id));
    if (!message) throw new GatewayError('ILLEGAL_STATE', 'the session was deleted meanwhile');
    return { session_id: id, ...shownMessage(message), duplicate: known !== undefined && !isRepeated };
  }

  /** @throws GatewayError SESSION_NOT_FOUND */
  async messages(id: string, caller: Caller, { limit, after }: { limit: number; after: number }) {
    await this.find(id, caller);
    const { store, maxPageBytes: maxBytes = maxPageBytes } = this.#parts;
    const { items, more } = await readPage<Message>({
      limit,
      maxBytes,
      sizeOf: sizeOfMessage,
      read: (last, count) => store.messagesAfter(id, last?.seq ?? after, count),
    });
    const last = items.at(-1);
    return { session_id: id, items: items.map(shownMessage), ...(more && last && { next_after: last.seq }) };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE, VALIDATION_FAILED */
  async share(id: string, caller: Caller, user: string, role: ShareRole, command?: object) {
    await this.find(id, caller, 'share');
    return { session_id: id, ...(await this.#changeContent(id, { type: 'Share', user, role }, command)).outcome };
  }

  /** @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN, ILLEGAL_STATE */
  async unshare(id: string, caller: Caller, user: string, command?: object) {
    await this.find(id, caller, 'share');
    return { session_id: id, ...(await this.#changeContent(id, { type: 'Unshare', user }, command)).outcome };
  }

  /** Ends a session and forgets what was said in it; succeeds again. @throws GatewayError SESSION_NOT_FOUND, FORBIDDEN */
  async delete(id: string, caller: Caller): Promise<Session> {
    await this.find(id, caller, 'share');
    const session = await this.#parts.sessions.apply(id, { type: 'End', reason: 'owner_deleted', by: 'client' });
    // after the end nothing is added
    await this.#parts.store.dropMessages(id);
    return session;
  }

  /** Ends a session; succeeds again. @throws GatewayError SESSION_NOT_FOUND */
  async end(id: string, caller: Caller): Promise<Session> {
    await this.find(id, caller, 'end');
    return this.#parts.sessions.apply(id, { type: 'End', reason: 'client_ended', by: 'client' });
  }

  /**
   * A new token for the session's user.
   * @throws GatewayError SESSION_NOT_FOUND; ILLEGAL_STATE no room, ended, or not ready yet
   */
  async refreshToken(id: string, caller: Caller) {
    const session = await this.find(id, caller, 'join_token');
    const { room, user_identity } = session;
    if (!room || user_identity === undefined) throw new GatewayError('ILLEGAL_STATE', 'the session has no room');
    if (isEnded(session))
      throw new GatewayError('ILLEGAL_STATE', `the session is ${session.status}`, { details: { reason: session.ended?.reason } });
    if (!this.#mayJoin(session)) throw new GatewayError('ILLEGAL_STATE', `the session is ${session.status}: its token is sent with Ready`);
    return this.#tokenBody(session, await this.#parts.rooms.clientToken(session));
  }

  /**
   * A short token for whoever asks for the session's room: its user, or somebody who may read the session. Participants take part, others listen.
   * @throws GatewayError SESSION_NOT_FOUND they may not read it; VALIDATION_FAILED a service has that name; ILLEGAL_STATE ended, or not ready yet
   */
  async roomToken(session: Session, caller: Caller, guest: Omit<Guest, 'speaks'>, lifeMs: number): Promise<string> {
    authorize(session, caller, 'read');
    if (isEnded(session)) throw new GatewayError('ILLEGAL_STATE', `the session is ${session.status}`);
    if (!this.#mayJoin(session)) throw new GatewayError('ILLEGAL_STATE', `the session is ${session.status}: its token is sent with Ready`);
    const { rooms } = this.#parts;
    const standsAs = standing(session, caller);
    if (standsAs === 'owner') return rooms.clientToken(session, { lifeMs });
    if (session.requirements.some((requirement) => isNamed(requirement, guest.identity))) throw namedLikeService();
    return rooms.clientToken(session, { lifeMs, guest: { ...guest, speaks: standsAs === 'participant' } });
  }

  /** A token that administers the session's room. @throws GatewayError FORBIDDEN, SESSION_NOT_FOUND, ILLEGAL_STATE */
  async managerToken(id: string, caller: Caller) {
    const session = await this.find(id, caller, 'manager_token');
    if (!session.room || isEnded(session)) throw new GatewayError('ILLEGAL_STATE', `the session has no room now (${session.status})`);
    return {
      ...this.#tokenBody(session, await this.#parts.rooms.managerToken(session)),
      expires_at: iso(this.#parts.clock.now() + tokenLifeMs.manager),
    };
  }

  /** The answer to whoever asked for the session. Its token is signed here, where it is handed out. */
  async created(session: Session, { replayed, seq, resume_token }: { replayed: boolean; seq: number; resume_token?: string | undefined }) {
    const { room } = session;
    return {
      session_id: session.session_id,
      status: session.status,
      room_name: room && labelOf(room),
      livekit_room: room?.name,
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
    return {
      session_id: session.session_id,
      access_token,
      livekit_url: session.room?.livekit_url ?? '',
      expires_at: iso(Math.min(session.expires_at, this.#parts.clock.now() + tokenLifeMs.client)),
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
  const shown: Snapshot = snapshot(session);
  if (standsAs === 'owner' || standsAs === 'operator') shown.shares = session.shares;
  return shown;
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
  if (!/^\d{1,15}$/.test(created_at) || session_id === '') throw new GatewayError('VALIDATION_FAILED', 'cursor: invalid');
  return { created_at: Number(created_at), session_id };
}

export const roomIsThere = ({ status }: Session) => status !== 'Creating';

/** Why a session never became what its creator waits for. @returns undefined: it did */
export function whyNotCreated(session: Session): GatewayError | undefined {
  const { ended, session_id } = session;
  if (!ended) return undefined;
  const details = { session_id, reason: ended.reason, ...unserved(session) };
  const services = ended.failures ? `: ${inWords(ended.failures)}` : '';
  if (ended.error) {
    const { code, message, retryable } = ended.error;
    return new GatewayError(code, message, { details, ...(retryable === false && { retryable }) });
  }
  if (ended.reason === 'join_timeout')
    return new GatewayError('MICROSERVICE_JOIN_TIMEOUT', `Timeout waiting for microservices to join${services}`, { details });
  if (ended.reason === 'registration_timeout') {
    return new GatewayError('REGISTRATION_TIMEOUT', `Timeout waiting for microservices to register${services}`, { details });
  }
  return new GatewayError('ILLEGAL_STATE', 'the session was ended while it was created', { details });
}

/** Whether a service of the session has this identity in the room, or would have. */
const isNamed = (requirement: Requirement, identity: string) =>
  identity === (requirement.assignment ? identityOf(requirement.assignment) : nameOf(requirement));
