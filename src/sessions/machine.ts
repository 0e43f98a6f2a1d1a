import type { ErrorCode } from '../../protocol/errors.ts';
import type { LogEvent } from '../../protocol/events.ts';
import { GatewayError } from '../errors.ts';
import { type ContentInput, content, outcomeOf, type Refusal } from './content.ts';
import { remember } from './dedup.ts';
import { Draft, type Effect } from './draft.ts';
import { advance, deleteRoom, releaseName, roomDeleted, stopWaiting, terminate } from './ending.ts';
import type { Changes, Decision, Input, Result, Timeouts } from './inputs.ts';
import * as readiness from './readiness.ts';
import {
  type Assignment,
  assignments,
  identityOf,
  isEnded,
  isPending,
  type Requirement,
  rejoinMs,
  type Session,
  userIsIn,
} from './record.ts';
import { isAsSeen, roomSeen } from './room-view.ts';
import { tick } from './tick.ts';
import { awaitUser } from './user-presence.ts';

// The status of a session. Each arrow is a rule below; what may still happen on the way is decided by the files the rules call.
//
//   Creating --RoomCreated--> WaitingForServices --all required serve--> Ready <--user leaves / comes--> Active
//      |                            |                                      |                               |
//      | RoomFailed, End, Tick      | End, JoinTimeout, Tick               | End, Detached, a loss, Tick    |
//      +----------------------------+-----------------> Terminating <------+-------------------------------+
//                                                            | services have left, the room is deleted, or 10 s
//                                                            v
//                                                        Terminated

/** Returned by a rule that refuses. */
class Refused {
  readonly code: ErrorCode;
  readonly message: string;
  constructor(code: ErrorCode, message: string) {
    this.code = code;
    this.message = message;
  }
}
/** Returned by a rule for an input that says nothing new. */
const nothing = Symbol('nothing');

type Rule<T extends Input['type']> = (d: Draft, input: Extract<Input, { type: T }>, timeouts: Timeouts) => Refused | typeof nothing | void;

/**
 * Decides what one input does to one session. Pure: the same arguments give the same decision, and `session` is not touched.
 * Throws nothing: what the state does not take is refused with ILLEGAL_STATE, what says nothing new changes nothing.
 */
export function next(session: Session, input: Input, now: number, timeouts: Timeouts): Decision {
  const d = new Draft(session, now);
  const outcome = (rules[input.type] as Rule<Input['type']>)(d, input, timeouts);
  if (outcome instanceof Refused) return { ok: false, code: outcome.code, message: outcome.message };
  if (outcome === nothing) return { ok: true, changed: false, session, events: [], effects: d.effects };
  return { ok: true, changed: true, session: d.s, events: d.events, effects: d.effects };
}

/** What several inputs do to one session, one after the other. Pure; an input that is refused, or that the machine cannot stand, changes nothing. */
export function nextAll(record: Session, inputs: readonly Input[], now: number, timeouts: Timeouts): Changes {
  let session = record;
  const events: LogEvent[] = [];
  const effects: Effect[] = [];
  const results: Result[] = [];
  for (const input of inputs) {
    try {
      const decision = next(session, input, now, timeouts);
      if (!decision.ok) {
        results.push({ ok: false, error: refused(decision, session) });
        continue;
      }
      session = decision.session;
      for (const event of decision.events) events.push(event);
      for (const effect of decision.effects) effects.push(effect);
      results.push({ ok: true, changed: decision.changed, session });
    } catch (error) {
      results.push({ ok: false, error });
    }
  }
  return { session, events, effects, results };
}

const refused = ({ code, message }: Extract<Decision, { ok: false }>, { ended }: Session) =>
  new GatewayError(code, message, ended && { details: { reason: ended.reason } });

const holderOf = (d: Draft, assignment_id: string): { requirement: Requirement; assignment: Assignment } | undefined => {
  for (const requirement of d.s.requirements) {
    if (requirement.assignment?.assignment_id === assignment_id) return { requirement, assignment: requirement.assignment };
  }
  return undefined;
};

/** Gives a place to the service whose offer for it timed out, where nobody else was offered it since. */
function reclaim(d: Draft, assignment_id: string | undefined, incarnation: number): boolean {
  const requirement = isEnded(d.s) ? undefined : d.s.requirements.find((r) => isPending(r) && r.lapsed?.assignment_id === assignment_id);
  if (!requirement?.lapsed) return false;
  readiness.reclaimed(d, requirement, { ...requirement.lapsed, incarnation });
  return true;
}

const notHeld = new Refused('ASSIGNMENT_NOT_FOUND', 'the session has no such assignment now');

/** Changes to the content all go the same way. */
const contentRules = Object.fromEntries(Object.keys(content).map((type) => [type, hold])) as Record<ContentInput['type'], typeof hold>;

const rules: { [T in Input['type']]: Rule<T> } = {
  RoomCreated(d, { made }, { registrationMs }) {
    const { room } = d.s;
    if (room?.state !== 'creating') return nothing;
    room.delete_at = undefined;
    room.state = 'open';
    if (made) room.seen = true;
    if (d.s.status === 'Creating') readiness.roomIsThere(d, registrationMs);
    else if (d.s.status === 'Terminating') advance(d);
    else deleteRoom(d);
  },

  RoomFailed(d, { code, message, retryable, made }) {
    const { room } = d.s;
    if (room?.state !== 'creating') return nothing;
    terminate(d, 'livekit_error', 'gateway', { code, message, ...(retryable === false && { retryable }) });
    if (made) deleteRoom(d);
    else roomDeleted(d);
    // a name that somebody else holds is not ours to keep
    if (code === 'ROOM_NAME_IN_USE') releaseName(d);
  },

  RoomDeleted(d) {
    if (d.s.room?.state !== 'deleting') return nothing;
    roomDeleted(d);
  },

  RoomDeleteFailed(d) {
    const { room } = d.s;
    if (room?.state !== 'deleting') return nothing;
    room.delete_attempts += 1;
    room.delete_at = d.now + Math.min(1_000 * 2 ** (room.delete_attempts - 1), 30_000);
  },

  Dispatched(d, { offers, busy, unfit = [], lookMs, node_id }) {
    let news = false;
    const open = d.s.status === 'WaitingForServices' || d.s.status === 'Ready' || d.s.status === 'Active';
    for (const offer of offers) {
      const requirement = d.s.requirements[offer.requirement];
      const twin = assignments(d.s).some((a) => identityOf(a) === identityOf(offer));
      if (open && requirement && isPending(requirement) && !twin) readiness.offered(d, requirement, offer, node_id);
      else {
        d.effects.push({ do: 'release', assignment: offer });
        continue;
      }
      news = true;
    }
    if (open && unasked(d, busy, unfit, lookMs)) news = true;
    if (!news) return nothing;
  },

  Accepted(d, { assignment_id, late }) {
    if (late !== undefined) return reclaim(d, assignment_id, late) ? undefined : notHeld;
    const held = holderOf(d, assignment_id);
    if (!held) return notHeld;
    if (held.assignment.status !== 'Offered') return nothing;
    readiness.accepted(held.assignment);
  },

  Declined(d, { assignment_id, reason, error, isSaid, unsure, retry_after_ms }) {
    const held = holderOf(d, assignment_id);
    if (held?.assignment.status !== 'Offered') return nothing;
    (unsure ? readiness.dropped : readiness.failed)(d, held.requirement, { reason, error, isSaid }, retry_after_ms);
  },

  ServiceReady(d, { service_id, assignment_id, incarnation, node_id, late, subject }) {
    if (isEnded(d.s)) return new Refused('ILLEGAL_STATE', `the session is ${d.s.status} (${d.s.ended?.reason})`);
    if (late !== undefined && !reclaim(d, assignment_id, late)) return notHeld;
    const requirement = d.s.requirements.find((r) =>
      assignment_id === undefined ? r.assignment?.service_id === service_id : r.assignment?.assignment_id === assignment_id,
    );
    const assignment = requirement?.assignment;
    if (!assignment || assignment.service_id !== service_id || isAnothers(assignment, subject)) return notHeld;
    if (incarnation !== undefined && isAnother(assignment, incarnation, node_id)) return notHeld;
    if (assignment.status === 'Ready') return nothing;
    readiness.ready(d, requirement, assignment);
  },

  ServiceFailed(d, { assignment_id, reason, error, isSaid, incarnation, node_id }) {
    const held = holderOf(d, assignment_id);
    if (!held) return left(d, assignment_id) ? undefined : notHeld;
    if (incarnation !== undefined && isAnother(held.assignment, incarnation, node_id)) return nothing;
    readiness.failed(d, held.requirement, { reason, error, isSaid });
  },

  ServiceLeft(d, { assignment_id, clean }) {
    if (left(d, assignment_id)) return;
    const held = holderOf(d, assignment_id);
    // the answer to a LeaveRoomRequest for something long over
    if (!held) return nothing;
    readiness.failed(d, held.requirement, clean ? readiness.faults.left : readiness.faults.leftInDisorder);
  },

  ServiceGone(d, { assignment_id, incarnation, node_id }) {
    const held = holderOf(d, assignment_id);
    if (!held) return left(d, assignment_id) ? undefined : nothing;
    if (isAnother(held.assignment, incarnation, node_id)) return nothing;
    readiness.suspected(d, held.requirement, held.assignment, 'socket');
  },

  ServiceBack(d, { assignment_id, service_id, incarnation, node_id, again, subject }) {
    const held = holderOf(d, assignment_id);
    // an offer that nobody has accepted is held by nobody, but for a service that was never away
    if (held?.assignment.service_id !== service_id || (held.assignment.status === 'Offered' && !again)) return notHeld;
    if (isAnothers(held.assignment, subject)) return notHeld;
    if (node_id !== undefined) held.assignment.node_id = node_id;
    readiness.returned(d, held.assignment, incarnation);
  },

  RoomSeen(d, { participants }) {
    const { s } = d;
    if (s.room?.state !== 'open' || isEnded(s)) return nothing;
    if (isAsSeen(s, participants)) return nothing;
    roomSeen(d, participants);
  },

  RoomGone(d) {
    const { s } = d;
    if (!s.room?.seen || s.room.state !== 'open' || isEnded(s)) return nothing;
    terminate(d, !s.room.user_seen ? 'client_never_joined' : userIsIn(s) ? 'room_deleted' : 'client_gone');
  },

  LiveKitLost(d) {
    // one that was never reached for this room is not lost
    if (!d.s.room?.seen || isEnded(d.s)) return nothing;
    terminate(d, 'livekit_error', 'gateway', { code: 'LIVEKIT_ERROR', message: 'LiveKit has been unreachable for too long' });
  },

  Attached(d, { node_id, connection_id, token_hash }) {
    const { s } = d;
    if (isEnded(s)) return new Refused('ILLEGAL_STATE', `the session is ${s.status}`);
    const wasAway = s.link === 'away';
    s.link = 'attached';
    s.node_id = node_id;
    s.connection_id = connection_id;
    if (s.resume && token_hash !== undefined) s.resume = { ...s.resume, token_hash };
    s.deadlines.resume = undefined;
    if (wasAway) d.effects.push({ do: 'notify', what: 'ClientPresence' });
  },

  Detached(d, { connection_id, how }) {
    const { s } = d;
    if (isEnded(s) || s.link !== 'attached' || s.connection_id !== connection_id) return nothing;
    if (how === 'closed') return terminate(d, 'client_ended', 'client');
    if (!s.resume) {
      if (how === 'broken') return terminate(d, 'client_gone', 'client');
      return terminate(d, how === 'refused' ? 'protocol_error' : 'node_lost');
    }
    s.link = 'away';
    s.deadlines.resume = d.now + s.resume.window_ms;
    d.effects.push({ do: 'notify', what: 'ClientPresence' });
  },

  UserAsked(d) {
    const { status, deadlines } = d.s;
    if (status !== 'Ready') return nothing;
    if (deadlines.client_join !== undefined) awaitUser(d);
    else if (deadlines.rejoin !== undefined) deadlines.rejoin = d.now + rejoinMs(d.s);
    else return nothing;
  },

  ...contentRules,

  JoinTimeout(d) {
    if (d.s.status !== 'Creating' && d.s.status !== 'WaitingForServices') return nothing;
    readiness.joinTimeIsOver(d);
  },

  End(d, { reason, by }) {
    if (isEnded(d.s)) return nothing;
    terminate(d, reason, by);
  },

  StopWaiting(d) {
    if (d.s.status !== 'Terminating' || d.s.leaving.length === 0) return nothing;
    stopWaiting(d);
  },

  Tick(d) {
    if (!tick(d)) return nothing;
  },
};

function hold(
  d: Draft,
  input: ContentInput & { command?: string | undefined },
  { maxMessages = Number.POSITIVE_INFINITY }: Timeouts,
): Refused | typeof nothing | undefined {
  if (isEnded(d.s)) return new Refused('ILLEGAL_STATE', `the session is ${d.s.status}`);
  if (input.type === 'Message' && d.s.messages >= maxMessages) {
    return new Refused('ILLEGAL_STATE', `the session holds ${maxMessages} messages: it takes no more`);
  }
  const outcome = (content[input.type] as (d: Draft, input: ContentInput) => Refusal | boolean)(d, input);
  if (typeof outcome === 'object') return new Refused(outcome.code, outcome.message);
  // what came to nothing is remembered too: said again behind a later command, it might come to something
  if (!outcome && input.command === undefined) return nothing;
  if (input.command !== undefined) remember(d, input.command, outcomeOf(input, d.s));
  return undefined;
}

/** Takes in which places have nobody to ask. @returns whether that is news */
function unasked(d: Draft, busy: readonly number[], unfit: readonly number[], lookMs: number | undefined): boolean {
  let news = false;
  const each = (places: readonly number[], take: (requirement: Requirement) => unknown) => {
    for (const place of places) {
      const requirement = d.s.requirements[place];
      if (requirement && take(requirement)) news = true;
    }
  };
  each(busy, (requirement) => {
    const { known } = requirement;
    requirement.known = true;
    return readiness.unasked(d, requirement, 'not_ready') || !known;
  });
  if (lookMs === undefined) each(unfit, (requirement) => readiness.unasked(d, requirement, 'never_registered'));
  else if (unfit.length > 0 && d.s.deadlines.look === undefined) {
    d.s.deadlines.look = d.now + lookMs;
    each(unfit, (requirement) => readiness.unaskedHere(d, requirement));
    news = true;
  }
  return news;
}

/** Whether another's credential registered the service that has it. What was assigned before there were credentials is anybody's. */
const isAnothers = (assignment: Assignment, subject: string | undefined) =>
  assignment.subject !== undefined && assignment.subject !== subject;

/** Whether the assignment belongs to another registration; each node counts its own. */
const isAnother = (assignment: Assignment, incarnation: number, node_id: string | undefined) =>
  assignment.incarnation !== incarnation || (node_id !== undefined && assignment.node_id !== undefined && assignment.node_id !== node_id);

/** Takes an assignment off the list of those that are leaving. */
function left(d: Draft, assignment_id: string): boolean {
  const leaving = d.s.leaving.find((l) => l.assignment_id === assignment_id);
  if (!leaving) return false;
  d.s.leaving = d.s.leaving.filter((l) => l !== leaving);
  d.effects.push({ do: 'release', assignment: leaving });
  advance(d);
  return true;
}
