import type { Assignment, Deadlines, Requirement, Room, Session } from './record.ts';

// Field by field, and not as `{ ...session }`: V8 loses its fast way for a spread for good once it has met objects of several shapes there,
// and is then ten times slower. Records are copied at each change. What is copied here has each field of its type, or does not compile.

/** A copy to change; what it holds by reference is shared. */
export const copySession = (s: Session): Session => ({
  session_id: s.session_id,
  version: s.version,
  commit_id: s.commit_id,
  seq: s.seq,
  status: s.status,
  health: s.health,
  link: s.link,
  node_id: s.node_id,
  connection_id: s.connection_id,
  resume: s.resume,
  remembered: s.remembered,
  owner_id: s.owner_id,
  user_identity: s.user_identity,
  user_name: s.user_name,
  user_metadata: s.user_metadata,
  user_attributes: s.user_attributes,
  workspace_dir: s.workspace_dir,
  metadata: s.metadata,
  context: s.context,
  visibility: s.visibility,
  shares: s.shares,
  messages: s.messages,
  token_policy: s.token_policy,
  on_join_timeout: s.on_join_timeout,
  on_service_loss: s.on_service_loss,
  join_timeout_ms: s.join_timeout_ms,
  client_join_timeout_ms: s.client_join_timeout_ms,
  room: s.room,
  requirements: s.requirements,
  leaving: s.leaving,
  participants: s.participants,
  deadlines: s.deadlines,
  expiry_reason: s.expiry_reason,
  claims: s.claims,
  idempotency: s.idempotency,
  timings: s.timings,
  created_at: s.created_at,
  updated_at: s.updated_at,
  expires_at: s.expires_at,
  ended: s.ended,
});

export const copyRoom = (room: Room): Room => ({
  name: room.name,
  label: room.label,
  livekit_url: room.livekit_url,
  chosen: room.chosen,
  state: room.state,
  seen: room.seen,
  empty_timeout: room.empty_timeout,
  departure_timeout: room.departure_timeout,
  user_seen: room.user_seen,
  delete_at: room.delete_at,
  delete_attempts: room.delete_attempts,
});

export const copyRequirement = (r: Requirement): Requirement => ({
  key: r.key,
  want: r.want,
  required: r.required,
  metadata: r.metadata,
  attempt: r.attempt,
  replacements: r.replacements,
  known: r.known,
  rests: r.rests,
  replace_by: r.replace_by,
  given_up: r.given_up,
  error: r.error,
  failure: r.failure,
  lapsed: r.lapsed,
  assignment: r.assignment && copyAssignment(r.assignment),
});

const copyAssignment = (a: Assignment): Assignment => ({
  assignment_id: a.assignment_id,
  service_id: a.service_id,
  identity: a.identity,
  incarnation: a.incarnation,
  node_id: a.node_id,
  attempt: a.attempt,
  status: a.status,
  resuming: a.resuming,
  joined: a.joined,
  offer_by: a.offer_by,
  ready_by: a.ready_by,
  ready_ms: a.ready_ms,
  suspect: a.suspect,
});

/** These deadlines and no others, with every field. */
export const deadlines = (d: Deadlines): { [D in keyof Required<Deadlines>]: Deadlines[D] } => ({
  create: d.create,
  resume: d.resume,
  registration: d.registration,
  look: d.look,
  join: d.join,
  client_join: d.client_join,
  rejoin: d.rejoin,
  expiry: d.expiry,
  leave: d.leave,
  end: d.end,
  expiring: d.expiring,
  release_name: d.release_name,
  forget: d.forget,
});

export const copyTimings = ({ room_ms, services_ms, total_ms }: Session['timings']): Session['timings'] => ({
  room_ms,
  services_ms,
  total_ms,
});
