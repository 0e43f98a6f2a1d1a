import type { ServiceStatus } from '../../protocol/states.ts';
import type { Draft } from './draft.ts';
import { terminate } from './ending.ts';
import { type Assignment, isServing, type Participant, type Requirement, userIsIn } from './record.ts';

const offerMs = 10_000;
const suspectMs = 5_000;
const rejoinMs = 20_000;
/** The gateway ends a session that its user never joined before LiveKit drops the empty room. */
const emptyMarginMs = 10_000;
const maxReplacements = 3;
const maxBackoffMs = 10_000;

/** Tells how a requirement's service stands now. */
export function tell(d: Draft, requirement: Requirement, status: ServiceStatus, error?: string, assignment = requirement.assignment): void {
  d.emit('ServiceStatusChanged', {
    service_id: requirement.service_id,
    ...(assignment && { assignment_id: assignment.assignment_id }),
    status,
    attempt: requirement.attempt,
    ...(error !== undefined && { error: error.slice(0, 512) }),
    elapsed_ms: d.elapsed(),
  });
}

/** The room is there: the services may come. */
export function roomIsThere(d: Draft, registrationTimeoutMs: number): void {
  const { s, now } = d;
  s.timings.room_ms = d.elapsed();
  delete s.deadlines.create;
  if (s.requirements.length === 0) return openGate(d);
  s.deadlines.registration = now + registrationTimeoutMs;
  s.deadlines.join = now + s.join_timeout_ms;
  d.moveTo('WaitingForServices');
  d.effects.push({ do: 'dispatch' });
}

export function offered(d: Draft, requirement: Requirement, assignment: Pick<Assignment, 'assignment_id' | 'incarnation'>): void {
  requirement.attempt += 1;
  requirement.known = true;
  delete requirement.retry_at;
  requirement.assignment = {
    assignment_id: assignment.assignment_id,
    incarnation: assignment.incarnation,
    service_id: requirement.service_id,
    attempt: requirement.attempt,
    status: 'Offered',
    resuming: requirement.replacements > 0,
    joined: false,
    offer_by: d.now + offerMs,
  };
  tell(d, requirement, 'Joining');
  d.effects.push({ do: 'offer', assignment: requirement.assignment });
}

export function accepted(assignment: Assignment): void {
  if (assignment.status !== 'Offered') return;
  assignment.status = 'Joining';
  delete assignment.offer_by;
}

export function ready(d: Draft, requirement: Requirement, assignment: Assignment): void {
  if (assignment.status === 'Ready') return;
  assignment.status = 'Ready';
  delete assignment.offer_by;
  requirement.failures = 0;
  delete requirement.replace_by;
  tell(d, requirement, 'Ready');
  openGate(d);
}

/** Marks a service whose socket or participant went without a word; an offer nobody has accepted simply failed. */
export function suspected(d: Draft, requirement: Requirement, assignment: Assignment, cause: 'socket' | 'room'): void {
  if (assignment.status === 'Offered') failed(d, requirement, 'the service went away before it accepted');
  else if (!assignment.suspect || cause === 'socket') assignment.suspect = { cause, until: d.now + suspectMs };
}

/** The service is back, and holds what it held. */
export function returned(d: Draft, assignment: Assignment, incarnation: number): void {
  assignment.incarnation = incarnation;
  delete assignment.suspect;
  openGate(d);
}

/**
 * Ends a requirement's assignment that did not work out; the requirement waits for a service again.
 * A service lost after the session was Ready leaves it degraded, and its replacement has a join timeout of its own.
 */
export function failed(d: Draft, requirement: Requirement, error: string, retryAfterMs?: number): void {
  const { s, now } = d;
  const { assignment } = requirement;
  if (!assignment) return;
  delete requirement.assignment;
  d.effects.push({ do: 'leave', assignment, reason: error }, { do: 'release', assignment });
  tell(d, requirement, 'Disconnected', error, assignment);
  const wasServing = assignment.status === 'Ready';
  requirement.failures = wasServing ? 0 : requirement.failures + 1;
  const backoffMs = wasServing ? 0 : Math.min(1_000 * 2 ** (requirement.failures - 1), maxBackoffMs);
  requirement.retry_at = now + (retryAfterMs ?? backoffMs);
  if (requirement.retry_at <= now) d.effects.push({ do: 'dispatch' });
  if (!wasServing || (s.status !== 'Ready' && s.status !== 'Active')) return;
  requirement.replacements += 1;
  if (requirement.replacements > maxReplacements) return terminate(d, 'service_lost');
  requirement.replace_by = now + s.join_timeout_ms;
  s.health = 'degraded';
  d.emit('SessionDegraded', { missing: missing(d) });
}

const missing = (d: Draft) => d.s.requirements.filter((r) => !isServing(r)).map((r) => r.service_id);

/** Opens the readiness gate when every requirement is served, or tells a degraded session that it is whole again. */
export function openGate(d: Draft): void {
  const { s, now } = d;
  if (!s.requirements.every(isServing)) return;
  if (s.health === 'degraded') {
    s.health = 'ok';
    d.emit('SessionRestored', { missing: [] });
  }
  if ((s.status !== 'Creating' && s.status !== 'WaitingForServices') || !s.room) return;
  delete s.deadlines.registration;
  delete s.deadlines.join;
  s.timings.services_ms = d.elapsed();
  s.timings.total_ms = d.elapsed();
  d.moveTo('Ready');
  d.emit('SessionReady', { room_name: s.room.name, livekit_url: s.room.livekit_url, timings: { ...s.timings } });
  if (userIsIn(s)) return userCame(d);
  if (s.room.user_seen) {
    s.deadlines.rejoin = now + rejoinMs;
    return;
  }
  const madeAt = s.created_at + (s.timings.room_ms ?? 0);
  const emptyAt = madeAt + s.room.empty_timeout * 1_000 - emptyMarginMs;
  s.deadlines.client_join = Math.min(emptyAt, now + (s.client_join_timeout_ms ?? Number.POSITIVE_INFINITY));
}

function userCame(d: Draft): void {
  const { s } = d;
  const user = s.participants.find((p) => p.identity === s.user_identity);
  if (s.status !== 'Ready' || !user) return;
  delete s.deadlines.client_join;
  delete s.deadlines.rejoin;
  d.moveTo('Active');
  d.emit('SessionActive', { participant: shown(user) });
}

function userWent(d: Draft): void {
  if (d.s.status !== 'Active') return;
  d.s.deadlines.rejoin = d.now + rejoinMs;
  d.moveTo('Ready', 'the user left the room');
}

const shown = ({ identity, kind, joined_at }: Participant) => ({ identity, kind, joined_at: new Date(joined_at).toISOString() });

/** Takes in who is in the room now. `joined_at` of those already known is kept. */
export function roomSeen(d: Draft, present: readonly Participant[]): void {
  const { s } = d;
  if (s.room) s.room.seen = true;
  const before = s.participants;
  const wasIn = userIsIn(s);
  // a participant that left and came back within two looks has another sid
  const same = (a: Participant) => (b: Participant) => a.identity === b.identity && a.sid === b.sid;
  for (const old of before) if (!present.some(same(old))) d.emit('ParticipantChanged', { participant: shown(old), present: false });
  for (const p of present) if (!before.some(same(p))) d.emit('ParticipantChanged', { participant: shown(p), present: true });
  s.participants = [...present];

  for (const requirement of s.requirements) {
    const { assignment } = requirement;
    if (!assignment) continue;
    if (present.some((p) => p.identity === assignment.service_id)) {
      assignment.joined = true;
      if (assignment.suspect?.cause === 'room') returned(d, assignment, assignment.incarnation);
    } else if (assignment.joined && !assignment.suspect) suspected(d, requirement, assignment, 'room');
  }

  if (userIsIn(s)) {
    if (s.room) s.room.user_seen = true;
    if (!wasIn) userCame(d);
  } else if (wasIn) userWent(d);
}
