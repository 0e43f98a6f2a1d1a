import type { Metadata, Wanted } from '../../protocol/fields.ts';
import { Draft } from './draft.ts';
import { roomIsThere } from './gate.ts';
import { announceNext } from './holding.ts';
import type { Decision } from './machine.ts';
import { type Requirement, rejoinMs, roomClaim, type Session } from './record.ts';

const createMs = 10_000;
/** What LiveKit keeps an empty room at least, seconds: the seeds' number. */
const emptyTimeoutS = 300;
/** What LiveKit adds, as a net, to the user's own time to come back. */
const departureNetS = 30;

/** A checked wish for a session; `required` and `optional` without doubles. */
export interface Spec {
  session_id: string;
  user_identity: string | undefined;
  user_name: string | undefined;
  /** What LiveKit shows of the user besides. */
  user?: { metadata?: string | undefined; attributes?: Record<string, string> | undefined } | undefined;
  workspace_dir: string | undefined;
  room: boolean;
  room_name: string | undefined;
  /** It comes into being when somebody joins: there is nothing to make first, and the services have this long to register. */
  made_on_join?: { registrationMs: number } | undefined;
  metadata: Metadata;
  visibility: Session['visibility'];
  required: readonly Wanted[];
  /** Nobody said which services are required: those that were there are. */
  takesWhatIsThere?: boolean;
  optional: readonly Wanted[];
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

/** What a record holds nothing of yet: the same for all records, which are not changed once they are saved. */
const nothing: Record<string, never> = Object.freeze({});
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
    metadata: spec.metadata,
    context: nothing,
    visibility: spec.visibility,
    shares: nothing,
    messages: 0,
    token_policy: spec.token_policy,
    on_join_timeout: spec.on_join_timeout,
    on_service_loss: spec.on_service_loss,
    join_timeout_ms: spec.join_timeout_ms,
    requirements: spec.room
      ? [...spec.required.map((want) => requirement(want, true)), ...spec.optional.map((want) => requirement(want, false))]
      : none,
    leaving: none,
    participants: none,
    deadlines: { expiry: expires_at },
    expiry_reason: limitMs < spec.ttl_ms ? 'duration_limit' : 'ttl',
    claims: [
      ...(spec.idempotency ? [spec.idempotency.claim] : []),
      ...(spec.room && spec.room_name !== undefined ? [roomClaim(spec.room_name)] : []),
    ],
    timings: {},
    created_at: now,
    updated_at: now,
    expires_at,
  };
  // not as spreads in the literal: each of those is copied key by key
  if (spec.holder) {
    session.node_id = spec.holder.node_id;
    session.connection_id = spec.holder.connection_id;
  }
  if (spec.resume) session.resume = spec.resume;
  if (spec.user_identity !== undefined) session.owner_id = session.user_identity = spec.user_identity;
  if (spec.user_name !== undefined) session.user_name = spec.user_name;
  if (spec.user?.metadata !== undefined) session.user_metadata = spec.user.metadata;
  if (spec.user?.attributes !== undefined) session.user_attributes = spec.user.attributes;
  if (spec.workspace_dir !== undefined) session.workspace_dir = spec.workspace_dir;
  if (spec.client_join_timeout_s !== undefined) session.client_join_timeout_ms = spec.client_join_timeout_s * 1_000;
  if (spec.idempotency) session.idempotency = spec.idempotency;
  if (spec.room) {
    const name = spec.room_name ?? `room-${spec.session_id}`;
    session.room = {
      name,
      livekit_url: spec.livekit_url,
      chosen: spec.room_name !== undefined,
      state: 'creating',
      seen: false,
      empty_timeout: Math.max(emptyTimeoutS, Math.ceil(spec.join_timeout_ms / 1_000 + (spec.client_join_timeout_s ?? 0) + 20)),
      departure_timeout: rejoinMs(session) / 1_000 + departureNetS,
      user_seen: false,
      delete_attempts: 0,
    };
    session.deadlines.create = now + createMs;
  }
  const d = new Draft(session, now);
  announceNext(d);
  if (!spec.room) d.s.status = 'Active';
  d.emit('SessionStatusChanged', { to: d.s.status, version: d.s.version });
  if (d.s.room && spec.made_on_join) {
    d.s.room.state = 'open';
    roomIsThere(d, spec.made_on_join.registrationMs);
  } else if (d.s.room) d.effects.push({ do: 'createRoom' });
  return { ok: true, changed: true, session: d.s, events: d.events, effects: d.effects };
}

const requirement = (want: Wanted, required: boolean): Requirement => ({
  key: keyOf(want),
  want,
  required,
  attempt: 0,
  replacements: 0,
  known: typeof want !== 'string',
  rests: {},
});

/** How a wish for a service is written in lists: the id, or type=ASR,language=zh-CN. */
export const keyOf = (want: Wanted) =>
  typeof want === 'string'
    ? want
    : Object.entries(want)
        .map(([key, value]) => `${key}=${value}`)
        .join(',');
