import type { Metadata, Wanted } from '../../protocol/fields.ts';
import { announceNext } from './content.ts';
import { deadlines } from './copy.ts';
import { Draft } from './draft.ts';
import type { Decision } from './inputs.ts';
import { roomIsThere } from './readiness.ts';
import { empty, type Requirement, type Room, rejoinMs, roomClaim, type Session } from './record.ts';

const createMs = 10_000;
/** LiveKit keeps an empty room for at least this long, in seconds, as it does by default: nobody is cut off while services are still being asked. */
const emptyTimeoutS = 300;
/** What LiveKit adds, as a net, to the user's own time to come back. */
const departureNetS = 30;

/** A checked wish for a session; `required` and `optional` without doubles. */
export interface Spec {
  session_id: string;
  /** Whose it is. */
  owner_id: string | undefined;
  /** Who asked for it, where there are credentials. */
  opened_by?: string | undefined;
  user_identity: string | undefined;
  user_name: string | undefined;
  /** What LiveKit shows of the user besides. */
  user?: { metadata?: string | undefined; attributes?: Record<string, string> | undefined } | undefined;
  workspace_dir: string | undefined;
  room: boolean;
  room_name: string | undefined;
  /** What LiveKit is to call a room with a chosen name; absent: the same. */
  livekit_room?: string | undefined;
  /** It is created when somebody joins: there is nothing to create first, and the services have this long to register. */
  made_on_join?: { registrationMs: number } | undefined;
  metadata: Metadata;
  visibility: Session['visibility'];
  required: readonly Wanted[];
  /** Nobody said which services are required: those that were there are. */
  takesWhatIsThere?: boolean;
  optional: readonly Wanted[];
  /** What is passed on to services that are required by their id. */
  places?: ReadonlyMap<string, Record<string, string>> | undefined;
  on_join_timeout: Session['on_join_timeout'];
  on_service_loss: Session['on_service_loss'];
  idempotency: Session['idempotency'];
  /** This node and the socket, where one does. */
  holder: { node_id: string; connection_id: string } | undefined;
  /** How its client may come back; undefined: not at all. */
  resume: Session['resume'];
  token_policy: 'on_ready' | 'immediate';
  join_timeout_ms: number;
  client_join_timeout_s: number | undefined;
  ttl_ms: number;
  livekit_url: string;
}

const none: never[] = [];
Object.freeze(none);

/** Makes the record of a new session: Creating where it has a room to make, else Active at once. */
export function create(spec: Spec, now: number): Extract<Decision, { ok: true }> {
  const limitMs = spec.metadata.duration_limit === undefined ? Number.POSITIVE_INFINITY : Number(spec.metadata.duration_limit) * 1_000;
  const lifeMs = Math.min(spec.ttl_ms, limitMs);
  const expires_at = now + lifeMs;
  const session: Session = {
    session_id: spec.session_id,
    version: 0,
    commit_id: '',
    seq: 0,
    status: 'Creating',
    health: 'ok',
    link: spec.holder ? 'attached' : 'none',
    node_id: spec.holder?.node_id,
    connection_id: spec.holder?.connection_id,
    resume: spec.resume,
    remembered: undefined,
    owner_id: spec.owner_id,
    opened_by: spec.opened_by,
    user_identity: spec.user_identity,
    user_name: spec.user_name,
    user_metadata: spec.user?.metadata,
    user_attributes: spec.user?.attributes,
    workspace_dir: spec.workspace_dir,
    metadata: isEmpty(spec.metadata) ? empty : spec.metadata,
    context: empty,
    visibility: spec.visibility,
    shares: empty,
    messages: 0,
    token_policy: spec.token_policy,
    on_join_timeout: spec.on_join_timeout,
    on_service_loss: spec.on_service_loss,
    join_timeout_ms: spec.join_timeout_ms,
    client_join_timeout_ms: spec.client_join_timeout_s === undefined ? undefined : spec.client_join_timeout_s * 1_000,
    room: spec.room ? newRoom(spec) : undefined,
    requirements: spec.room && spec.required.length + spec.optional.length > 0 ? requirements(spec) : none,
    leaving: none,
    participants: none,
    deadlines: deadlines({ expiry: expires_at, create: spec.room ? now + createMs : undefined }),
    expiry_reason: limitMs < spec.ttl_ms ? 'duration_limit' : 'ttl',
    claims: spec.idempotency || (spec.room && spec.room_name !== undefined) ? claimsOf(spec) : none,
    idempotency: spec.idempotency,
    timings: { room_ms: undefined, services_ms: undefined, total_ms: undefined },
    created_at: now,
    updated_at: now,
    expires_at,
    ended: undefined,
  };
  const d = new Draft(session, now);
  announceNext(d);
  if (!spec.room) d.s.status = 'Active';
  d.emitStatus(undefined);
  if (d.s.room && spec.made_on_join) {
    d.s.room.state = 'open';
    roomIsThere(d, spec.made_on_join.registrationMs);
  } else if (d.s.room) d.effects.push({ do: 'createRoom' });
  return { ok: true, changed: true, session: d.s, events: d.events, effects: d.effects };
}

const newRoom = (spec: Spec): Room => ({
  name: spec.livekit_room ?? spec.room_name ?? `room-${spec.session_id}`,
  label: spec.livekit_room === undefined ? undefined : spec.room_name,
  livekit_url: spec.livekit_url,
  chosen: spec.room_name !== undefined,
  state: 'creating',
  seen: false,
  empty_timeout: Math.max(emptyTimeoutS, Math.ceil(spec.join_timeout_ms / 1_000 + (spec.client_join_timeout_s ?? 0) + 20)),
  departure_timeout: rejoinMs(spec) / 1_000 + departureNetS,
  user_seen: false,
  delete_at: undefined,
  delete_attempts: 0,
});

const claimsOf = ({ idempotency, room, room_name }: Spec) => [
  ...(idempotency ? [idempotency.claim] : []),
  ...(room && room_name !== undefined ? [roomClaim(room_name)] : []),
];

const requirements = ({ required, optional, places }: Spec) => [
  ...required.map((want) => requirement(want, true, typeof want === 'string' ? places?.get(want) : undefined)),
  ...optional.map((want) => requirement(want, false)),
];

const requirement = (want: Wanted, required: boolean, metadata?: Record<string, string>): Requirement => ({
  key: keyOf(want),
  want,
  required,
  metadata,
  attempt: 0,
  replacements: 0,
  known: typeof want !== 'string',
  rests: empty,
  replace_by: undefined,
  given_up: undefined,
  error: undefined,
  failure: undefined,
  lapsed: undefined,
  assignment: undefined,
});

/** How a wish for a service is written in lists: the id, or type=ASR,language=zh-CN. */
export const keyOf = (want: Wanted) =>
  typeof want === 'string'
    ? want
    : Object.entries(want)
        .map(([key, value]) => `${key}=${value}`)
        .join(',');

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}
