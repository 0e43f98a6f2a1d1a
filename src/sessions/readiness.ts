import type { FailureReason } from '../../protocol/failures.ts';
import { clip } from '../../protocol/fields.ts';
import type { ServiceStatus } from '../../protocol/states.ts';
import { serviceGraceMs } from '../../protocol/times.ts';
import type { Draft } from './draft.ts';
import { terminate } from './ending.ts';
import {
  type Assignment,
  allServe,
  isEnded,
  isGone,
  isPending,
  isServing,
  missing,
  type Requirement,
  rejoinMs,
  userIsIn,
} from './record.ts';
import { awaitUser, userCame } from './user-presence.ts';

// A requirement and its assignment:
//
//   pending --reserve--> Offered --accepted--> Joining --ready--> Ready
//      ^                    | no answer           | not in time      | lost, failed, left
//      +-- backoff over ----+---------------------+------------------+
//
//   suspect: its socket or participant went without a word; Joining or Ready goes on if it is back in time, else it has failed

/** A place whose fourth service is lost as well has another fault than its services: the session ends or goes on without it. */
const maxReplacements = 3;
/** 1, 2, 4, 8 and then 10 s: within the time to join (60 s) a service that restarts is still asked several times. */
const maxBackoffMs = 10_000;
/** Characters of a service's own words: what fits a line of a log, and cannot fill the record. */
const maxSaid = 200;

/** Why a service does not serve. Clients see `error`; `isSaid`: in the service's own words. */
export interface Fault {
  reason: FailureReason;
  error: string;
  isSaid?: boolean | undefined;
}

export const faults = {
  noAnswer: { reason: 'no_answer', error: 'the service did not answer the offer' },
  notReady: { reason: 'not_ready', error: 'the service was not ready in time' },
  wentAway: { reason: 'lost', error: 'the service disconnected before it accepted' },
  leftRoom: { reason: 'lost', error: 'the service left the room' },
  gone: { reason: 'lost', error: 'the service is gone' },
  disconnected: { reason: 'lost', error: 'the service is disconnected' },
  notKept: { reason: 'lost', error: 'the service registered again without it' },
  deregistered: { reason: 'lost', error: 'the service was deregistered' },
  left: { reason: 'lost', error: 'the service left' },
  leftInDisorder: { reason: 'lost', error: 'the service reported that leaving failed' },
} as const satisfies Record<string, Fault>;

/** Emits how a requirement's service stands now. */
export function emitStatus(
  d: Draft,
  requirement: Requirement,
  status: ServiceStatus,
  error?: string,
  assignment = requirement.assignment,
): void {
  const { service_id = requirement.key, assignment_id } = assignment ?? {};
  d.emitService(service_id, assignment_id, status, requirement.attempt, error === undefined ? undefined : clip(error, 512));
}

/** The room is there: the services may come. */
export function roomIsThere(d: Draft, registrationTimeoutMs: number): void {
  const { s, now } = d;
  s.timings.room_ms = d.elapsed();
  s.deadlines.create = undefined;
  if (s.requirements.length > 0) d.effects.push({ do: 'dispatch' });
  if (allServe(s)) return openGate(d);
  s.deadlines.registration = now + registrationTimeoutMs;
  s.deadlines.join = now + s.join_timeout_ms;
  d.moveTo('WaitingForServices');
}

export const unaskedTexts = {
  never_registered: 'no registered service fits',
  not_ready: 'no service that fits is free',
  unknown: 'no service registered at this node fits; other nodes are asked',
};

/** Whether its session does not know yet that nobody is asked for this reason. */
export const isUnreported = (requirement: Requirement, reason: 'never_registered' | 'not_ready') => {
  const { attempt, failure } = requirement;
  return attempt === 0 && isPending(requirement) && failure?.reason !== 'not_ready' && failure?.reason !== reason;
};

/** Keeps, and for a required service reports once, why it is not even asked: nobody who fits is registered, or none has a free slot. */
export function unasked(d: Draft, requirement: Requirement, reason: 'never_registered' | 'not_ready'): boolean {
  if (!isUnreported(requirement, reason)) return false;
  requirement.failure = { reason };
  requirement.error = unaskedTexts[reason];
  if (requirement.required) emitStatus(d, requirement, isGone(requirement.failure) ? 'Disconnected' : 'Registered', requirement.error);
  return true;
}

/** As `unasked`, while it is not known yet whether another node has a service that fits. */
export function unaskedHere(d: Draft, requirement: Requirement): void {
  if (!isUnreported(requirement, 'never_registered')) return;
  requirement.error = unaskedTexts.unknown;
  if (requirement.required) emitStatus(d, requirement, 'Disconnected', requirement.error);
}

export function offered(
  d: Draft,
  requirement: Requirement,
  {
    assignment_id,
    service_id,
    identity,
    subject,
    incarnation,
    offerMs,
  }: Pick<Assignment, 'assignment_id' | 'service_id' | 'identity' | 'subject' | 'incarnation'> & { offerMs: number },
  node_id: string | undefined,
): void {
  requirement.attempt += 1;
  requirement.known = true;
  requirement.lapsed = undefined;
  // so far it said why none was asked
  if (requirement.attempt === 1) {
    requirement.error = undefined;
    requirement.failure = undefined;
  }
  requirement.assignment = {
    assignment_id,
    service_id,
    identity,
    subject,
    incarnation,
    node_id,
    attempt: requirement.attempt,
    status: 'Offered',
    resuming: requirement.replacements > 0,
    joined: false,
    offer_by: d.now + offerMs,
    ready_by: d.now + d.s.join_timeout_ms,
    ready_ms: undefined,
    suspect: undefined,
  };
  emitStatus(d, requirement, 'Joining');
  d.effects.push({ do: 'offer', assignment: requirement.assignment });
}

/** The service answers an offer that timed out, and nobody else was offered the place: it has it. */
export function reclaimed(d: Draft, requirement: Requirement, lapsed: Assignment): Assignment {
  requirement.lapsed = undefined;
  requirement.assignment = { ...lapsed, status: 'Joining', offer_by: undefined, ready_by: d.now + d.s.join_timeout_ms };
  emitStatus(d, requirement, 'Joining');
  return requirement.assignment;
}

export function accepted(assignment: Assignment): void {
  if (assignment.status !== 'Offered') return;
  assignment.status = 'Joining';
  assignment.offer_by = undefined;
}

export function ready(d: Draft, requirement: Requirement, assignment: Assignment): void {
  if (assignment.status === 'Ready') return;
  assignment.status = 'Ready';
  assignment.offer_by = undefined;
  // which was that long after the offer
  if (assignment.ready_by !== undefined) assignment.ready_ms = d.now - (assignment.ready_by - d.s.join_timeout_ms);
  assignment.ready_by = undefined;
  if (Object.hasOwn(requirement.rests, assignment.service_id)) {
    const { [assignment.service_id]: _, ...others } = requirement.rests;
    requirement.rests = others;
  }
  requirement.error = undefined;
  requirement.failure = undefined;
  requirement.replace_by = undefined;
  emitStatus(d, requirement, 'Ready');
  openGate(d);
}

/** Marks a service whose socket or participant went without a word; an offer nobody has accepted simply failed. */
export function suspected(d: Draft, requirement: Requirement, assignment: Assignment, cause: 'socket' | 'room'): void {
  if (assignment.status === 'Offered') failed(d, requirement, faults.wentAway);
  else if (!assignment.suspect || cause === 'socket') assignment.suspect = { cause, until: d.now + serviceGraceMs };
}

/** The service is back, and holds what it held. */
export function returned(d: Draft, assignment: Assignment, incarnation: number): void {
  assignment.incarnation = incarnation;
  assignment.suspect = undefined;
  openGate(d);
}

/**
 * Ends a requirement's assignment that did not work out. The next candidate is looked for at once; this service is left alone for a while.
 * What the loss means to a session that was Ready, its `on_service_loss` says.
 */
export function failed(d: Draft, requirement: Requirement, { reason, error, isSaid }: Fault, retryAfterMs?: number): void {
  const { s, now } = d;
  const { assignment } = requirement;
  if (!assignment) return;
  requirement.assignment = undefined;
  const isLapsed = reason === 'no_answer';
  d.effects.push({ do: 'release', assignment, isLapsed }, { do: 'dispatch' });
  requirement.lapsed = isLapsed ? assignment : undefined;
  requirement.error = clip(error, 512);
  requirement.failure = isSaid ? { reason, message: clip(error, maxSaid) } : { reason };
  emitStatus(d, requirement, isGone(requirement.failure) ? 'Disconnected' : 'Registered', error, assignment);
  // one that served a running session is the first to be asked again; how often, `maxReplacements` says
  const lostInUse = assignment.status === 'Ready' && (s.status === 'Ready' || s.status === 'Active');
  const failures = (requirement.rests[assignment.service_id]?.failures ?? 0) + 1;
  const ownPauseMs = lostInUse && requirement.required ? 0 : Math.min(1_000 * 2 ** (failures - 1), maxBackoffMs);
  // a service that asks for no pause at all gets one
  const pauseMs = Math.max(retryAfterMs ?? 0, ownPauseMs);
  requirement.rests = { ...requirement.rests, [assignment.service_id]: { failures, ...(pauseMs > 0 && { until: now + pauseMs }) } };
  if (lostInUse && requirement.required) lost(d, requirement);
}

/** As `failed`, of a service that does not know it yet: it is asked to leave, where it can be reached. */
export function dropped(d: Draft, requirement: Requirement, fault: Fault, retryAfterMs?: number): void {
  if (requirement.assignment) d.effects.push({ do: 'leave', assignment: requirement.assignment, reason: fault.error });
  failed(d, requirement, fault, retryAfterMs);
}

function lost(d: Draft, requirement: Requirement): void {
  const { s, now } = d;
  if (s.on_service_loss === 'terminate') return terminate(d, 'service_lost');
  requirement.replacements += 1;
  if (s.on_service_loss === 'degrade') requirement.given_up = true;
  else if (requirement.replacements > maxReplacements) return notReplaced(d, requirement);
  else requirement.replace_by = now + s.join_timeout_ms;
  degrade(d);
}

/** Nobody took a lost service's place: the session goes on without it, or ends, as it wished for its start. */
export function notReplaced(d: Draft, requirement: Requirement): void {
  requirement.replace_by = undefined;
  if (d.s.on_join_timeout === 'fail') return terminate(d, 'service_lost');
  if (requirement.replacements > maxReplacements) requirement.given_up = true;
  if (d.s.health === 'ok') degrade(d);
}

function degrade(d: Draft): void {
  d.s.health = 'degraded';
  d.emit('SessionDegraded', { missing: missing(d.s) });
}

/** The time to join is over and services are missing. */
export function joinTimeIsOver(d: Draft): void {
  const { s } = d;
  if (s.on_join_timeout === 'fail' || !s.requirements.some((r) => r.required && isServing(r))) return terminate(d, 'join_timeout');
  becomeReady(d);
  if (!isEnded(s)) degrade(d);
}

/** Opens the readiness gate when every required service serves, or restores a degraded session. */
export function openGate(d: Draft): void {
  const { s } = d;
  if (!allServe(s)) return;
  if (s.health === 'degraded') {
    s.health = 'ok';
    d.emit('SessionRestored', { missing: [] });
  }
  if (s.status === 'Creating' || s.status === 'WaitingForServices') becomeReady(d);
}

function becomeReady(d: Draft): void {
  const { s, now } = d;
  if (!s.room) return;
  s.deadlines.registration = undefined;
  s.deadlines.join = undefined;
  s.timings.services_ms = d.elapsed();
  s.timings.total_ms = d.elapsed();
  d.moveTo('Ready');
  d.emitReady(s.room);
  if (userIsIn(s)) return userCame(d);
  if (s.room.user_seen) {
    s.deadlines.rejoin = now + rejoinMs(s);
    return;
  }
  awaitUser(d);
}
