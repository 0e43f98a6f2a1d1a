import { createHash, randomBytes } from 'node:crypto';
import { v4 as uuid } from 'uuid';
import type { z } from 'zod';
import type { Wanted } from '../../protocol/fields.ts';
import { maxServices, type newSessionFields } from '../../protocol/requests.ts';
import { GatewayError } from '../errors.ts';
import { spreadMs } from '../time.ts';
import type { Caller } from './access.ts';
import type { Sessions } from './commits.ts';
import { keyOf, type Spec } from './create.ts';
import { roomNameInUse } from './errors.ts';
import { ClaimTaken, type Offers, type Rooms, type SessionStore } from './ports.ts';
import { isEnded, roomClaim, type Session } from './record.ts';

const maxReplays = 5;

/** What a session is asked for with, checked. */
export type NewSession = z.output<typeof newSessionFields>;

/** How a session is asked for. */
interface Opening {
  /** Who asks: owns the session, and has their own idempotency keys. */
  caller: Caller;
  /** The connection that holds it, and the hash of the resume token given there; absent: none does. */
  holder?: { connection_id: string; token_hash: string };
  token_policy: Session['token_policy'];
  user?: Spec['user'];
  /** The longest its services may take, whatever is asked for. */
  maxJoinMs?: number | undefined;
  places?: Spec['places'];
  /** Its idempotency key gives the session only until its user has joined. */
  until_joined?: true;
}

/** A session that was asked for; `replayed`: it was there before. */
export interface Opened {
  session: Session;
  replayed: boolean;
}

export interface OpeningsParts {
  sessions: Sessions;
  store: SessionStore;
  rooms: Rooms;
  offers: Offers;
  /** Resolves a client's folder, or refuses it. */
  /** `isItself`: whether the caller's own credential says that it is this user. */
  checkWorkspace(folder: string, user: string | undefined, isItself: boolean): Promise<string>;
  draining(): boolean;
  nodeId: string;
  /** LiveKit's rooms have the names that clients choose, and no others. */
  exactRoomNames?: boolean;
  defaults: { registrationMs: number; joinTimeoutMs: number; ttlMs: number };
}

/** How sessions start. Input is checked. */
export class Openings {
  readonly #parts: OpeningsParts;

  constructor(parts: OpeningsParts) {
    this.#parts = parts;
  }

  /** @throws GatewayError DRAINING */
  refuseWhileDraining(): void {
    if (this.#parts.draining()) throw new GatewayError('DRAINING', 'The gateway is shutting down', { retryAfterMs: spreadMs(1_000) });
  }

  /**
   * Opens a session, or finds the live one that was opened with the same idempotency key and body.
   * @param starting called with a new session's id before anything is written: whatever ends meanwhile can find it
   * @throws GatewayError DRAINING, WORKSPACE_*, ROOM_NAME_IN_USE, IDEMPOTENCY_CONFLICT
   */
  async open(
    body: NewSession,
    { caller, holder, token_policy, user, places, maxJoinMs = Number.POSITIVE_INFINITY, until_joined }: Opening,
    starting: (id: string) => void = () => {},
  ): Promise<Opened> {
    this.refuseWhileDraining();
    const { sessions, rooms, defaults, checkWorkspace, exactRoomNames } = this.#parts;
    const isItself = caller.user !== undefined && caller.subject === `user:${caller.user}`;
    const workspace_dir = body.workspace_dir === undefined ? undefined : await checkWorkspace(body.workspace_dir, caller.user, isItself);
    const idempotency = idempotencyOf(body, caller, until_joined);
    const room = body.room && body.user_identity !== undefined;
    for (let tries = 0; ; tries++) {
      const held = idempotency && (await this.#replay(idempotency));
      if (held) return { session: held, replayed: true };
      // a name like room-{session_id} is claimed by nobody, for nobody can guess the next: one that is held is looked for
      if (body.room_name?.startsWith('room-') && (await sessionInRoom(this.#parts.store, body.room_name)))
        throw roomNameInUse(exactRoomNames === true);
      const session_id = uuid();
      starting(session_id);
      const required = distinct(room ? (body.required_services ?? this.#whatIsThere(body)) : []);
      try {
        const session = await sessions.create({
          session_id,
          owner_id: caller.user,
          opened_by: caller.opener,
          user_identity: body.user_identity,
          user_name: body.user_name,
          user,
          places,
          workspace_dir,
          room,
          room_name: body.room_name,
          livekit_room: exactRoomNames || body.room_name === undefined ? undefined : `${body.room_name}~${suffix()}`,
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
          join_timeout_ms: Math.min(maxJoinMs, body.join_timeout_s === undefined ? defaults.joinTimeoutMs : body.join_timeout_s * 1_000),
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

  /** Every service available now. @throws GatewayError VALIDATION_FAILED so many that they are to be named */
  #whatIsThere({ user_identity }: NewSession): string[] {
    const available = this.#parts.offers.available().filter((id) => id !== user_identity);
    if (available.length <= maxServices) return available;
    const message = `${available.length} services are available: name those that are needed, at most ${maxServices}`;
    const details = { issues: [{ path: 'required_services', message }] };
    throw new GatewayError('VALIDATION_FAILED', `required_services: ${message}`, { details });
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
}

/** The live session that holds a room of this name. */
export async function sessionInRoom(store: SessionStore, name: string): Promise<Session | undefined> {
  const holder = await store.holderOf(roomClaim(name));
  const id = holder ?? /^room-(.+)$/.exec(name)?.[1];
  const session = id === undefined ? undefined : await store.loadSession(id);
  return session && !isEnded(session) && (holder !== undefined || session.room?.name === name) ? session : undefined;
}

/** Eight of 32 letters that nobody mistakes for each other: what nobody can have a token for yet. */
const suffix = () => Array.from(randomBytes(8), (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('');

const distinct = (wants: readonly Wanted[]) => [
  ...new Map(wants.map((want) => [typeof want === 'string' ? want : Symbol(), want])).values(),
];

/** Users have keys of their own, whichever device or program of theirs asks; a program that acts for users has its own. */
const keyScope = ({ user = 'anonymous', subject }: Caller, key: string | undefined) =>
  subject === undefined || subject === `user:${user}` ? [user, key] : { [subject]: key };

function idempotencyOf(wish: NewSession, caller: Caller, until_joined: true | undefined): Session['idempotency'] {
  if (wish.idempotency_key === undefined) return undefined;
  // a request has its type and its sender's mark besides, which do not count
  const { idempotency_key: key, type: _, id: __, ...body } = wish as NewSession & { type?: string; id?: string };
  return {
    claim: `key:${JSON.stringify(keyScope(caller, key))}`,
    hash: createHash('sha256').update(JSON.stringify(body)).digest('base64'),
    until_joined,
  };
}
