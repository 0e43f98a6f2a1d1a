import type { EndReason } from '../../protocol/states.ts';
import { leaveMs } from '../../protocol/times.ts';
import { deadlines } from './copy.ts';
import type { Draft } from './draft.ts';
import { assignments, empty, failures, isEnded, missing, type Session, withoutRoomClaim } from './record.ts';

const endMs = 10_000;
/** An effect that deletes a room and is never heard of again is repeated after this. */
const deleteAnswerMs = 15_000;
const tombstoneMs = 3_600_000;
/** LiveKit may hand back a dying room of the same name for about 28 s. */
const nameRestMs = 30_000;

/** Ends of which services are the cause: those that did not serve are named. */
const forServices: ReadonlySet<EndReason> = new Set(['registration_timeout', 'join_timeout', 'service_lost']);

/** Starts the session's end: services are asked to leave, then the room is deleted. Does nothing to one that has ended. */
export function terminate(
  d: Draft,
  reason: EndReason,
  by: 'client' | 'gateway' = 'gateway',
  error?: NonNullable<Session['ended']>['error'],
): void {
  const { s, now } = d;
  if (isEnded(s)) return;
  const wasCreating = s.status === 'Creating';
  // before there was a room no service was asked
  const names = forServices.has(reason) && !wasCreating ? missing(s) : [];
  s.ended = { reason, by, at: now, missing: names, failures: names.length > 0 ? failures(s) : undefined, error };
  d.moveTo('Terminating', reason);
  // its messages go with it
  if (reason === 'owner_deleted') s.messages = 0;
  s.deadlines = deadlines({ leave: now + leaveMs, end: now + endMs });
  for (const { assignment_id, service_id, identity, incarnation, node_id, suspect } of assignments(s)) {
    const assignment = { assignment_id, service_id, identity, incarnation, node_id };
    // without its socket it can neither be asked nor answer
    if (suspect?.cause === 'socket') d.effects.push({ do: 'release', assignment });
    else s.leaving = [...s.leaving, assignment];
  }
  // an ended session's key may be used for the next, and so may a name that is not LiveKit's own
  if (s.idempotency) s.claims = s.claims.filter((claim) => claim !== s.idempotency?.claim);
  if (s.room?.label !== undefined) s.claims = withoutRoomClaim(s.claims);
  for (const assignment of s.leaving) d.effects.push({ do: 'leave', assignment, reason });
  for (const requirement of s.requirements) {
    requirement.replace_by = undefined;
    requirement.rests = empty;
    if (!requirement.assignment) continue;
    const { service_id, assignment_id } = requirement.assignment;
    d.emitService(service_id, assignment_id, 'Disconnected', requirement.attempt);
    requirement.assignment = undefined;
  }
  // a failed creation has nothing to wait for: a call still in flight is followed up after the end
  if (wasCreating && error) finish(d);
  else advance(d);
}

/** Takes an end as far as it can go now. */
export function advance(d: Draft): void {
  const { s, now } = d;
  if (s.status !== 'Terminating') return;
  if (s.leaving.length === 0 || now >= (s.deadlines.leave ?? 0)) releaseAll(d);
  if (s.leaving.length === 0 && s.room?.state === 'open') deleteRoom(d);
  const done = s.leaving.length === 0 && (s.room === undefined || s.room.state === 'deleted');
  if (done || now >= (s.deadlines.end ?? 0)) finish(d);
}

/** Finishes an end now, without waiting for services to leave: the gateway is about to stop. */
export function stopWaiting(d: Draft): void {
  releaseAll(d);
  advance(d);
}

/** Says that the room is to be deleted, and asks for it. */
export function deleteRoom(d: Draft): void {
  const { room } = d.s;
  if (!room) return;
  room.state = 'deleting';
  room.delete_at = d.now + deleteAnswerMs;
  d.effects.push({ do: 'deleteRoom' });
}

/** The room is gone, or was never there. */
export function roomDeleted(d: Draft): void {
  const { room } = d.s;
  if (!room) return;
  room.state = 'deleted';
  room.delete_at = undefined;
  if (room.chosen && room.label === undefined) d.s.deadlines.release_name = d.now + nameRestMs;
  advance(d);
}

/** The chosen name of its room may be used again. */
export function releaseName({ s }: Draft): void {
  s.deadlines.release_name = undefined;
  s.claims = withoutRoomClaim(s.claims);
}

/** As clients see it. */
export const unserved = ({ ended }: Session) =>
  ended && ended.missing.length > 0 && { missing: ended.missing, ...(ended.failures && { failures: ended.failures }) };

function releaseAll(d: Draft): void {
  for (const assignment of d.s.leaving) d.effects.push({ do: 'release', assignment });
  d.s.leaving = [];
  d.s.deadlines.leave = undefined;
}

function finish(d: Draft): void {
  const { s, now } = d;
  releaseAll(d);
  // a room in the making is deleted when the call has answered, or at the latest then
  if (s.room?.state === 'creating') s.room.delete_at = now + deleteAnswerMs;
  else if (s.room?.state === 'open') deleteRoom(d);
  s.deadlines.end = undefined;
  s.deadlines.forget = now + tombstoneMs;
  s.participants = [];
  s.health = 'ok';
  s.link = 'none';
  d.moveTo('Terminated', s.ended?.reason);
  d.emit('SessionEnded', {
    reason: s.ended?.reason ?? 'client_ended',
    by: s.ended?.by ?? 'gateway',
    duration_s: Math.max(0, now - s.created_at) / 1_000,
    ...unserved(s),
  });
}
