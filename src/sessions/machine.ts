import type { ErrorCode } from '../../protocol/errors.ts';
import type { LogEvent } from '../../protocol/events.ts';
import type { EndReason } from '../../protocol/states.ts';
import { iso } from '../time.ts';
import { outcomeOf, remember } from './commands.ts';
import { Draft, type Effect } from './draft.ts';
import { advance, deleteRoom, hurry, roomDeleted, terminate } from './ending.ts';
import * as gate from './gate.ts';
import { announceNext, type HoldingInput, holding, type Refusal } from './holding.ts';
import {
  type Assignment,
  assignments,
  isEnded,
  isPending,
  type Participant,
  type Requirement,
  type RoomFailure,
  rejoinMs,
  type Session,
  userIsIn,
  withoutRoomClaim,
} from './record.ts';

/** A service that would take the requirement at this place; its slot is taken. */
export interface Offer extends Pick<Assignment, 'assignment_id' | 'service_id' | 'incarnation'> {
  requirement: number;
}

/** Everything that can happen to a session. */
export type Input =
  /** `made` by a call; else it comes into being when somebody joins. */
  | { type: 'RoomCreated'; made: boolean }
  /** `made`: the room may exist anyway. Clients see `message`. */
  | { type: 'RoomFailed'; code: RoomFailure['code']; message: string; retryable?: false; made: boolean }
  | { type: 'RoomDeleted' }
  | { type: 'RoomDeleteFailed' }
  /**
   * What the dispatcher found: services that take a requirement; places (of requirements) for which all that fit are busy, and those for which
   * none is registered. `lookMs`: another node may know one, and has this long to offer it.
   */
  | { type: 'Dispatched'; offers: Offer[]; busy: number[]; unfit?: number[]; lookMs?: number; node_id?: string }
  /** `late`: the offer has timed out, and this registration (its incarnation) took its slot again. */
  | { type: 'Accepted'; assignment_id: string; late?: number }
  /** `unsure`: it may have taken the offer all the same. */
  | ({ type: 'Declined'; assignment_id: string; unsure?: boolean; retry_after_ms?: number } & gate.Fault)
  /** `incarnation` absent: said by somebody else in the service's name, which is taken where nobody authenticates. */
  | { type: 'ServiceReady'; service_id: string; assignment_id?: string; incarnation?: number; node_id?: string; late?: number }
  /** `incarnation`, `node_id`: of the registration it is said of; absent: of whoever holds it. */
  | ({ type: 'ServiceFailed'; assignment_id: string; incarnation?: number; node_id?: string } & gate.Fault)
  | { type: 'ServiceLeft'; assignment_id: string; clean: boolean }
  /** The service's socket went without a word. */
  | { type: 'ServiceGone'; assignment_id: string; incarnation: number; node_id?: string }
  /** The service registered again and still holds this. */
  | { type: 'ServiceBack'; assignment_id: string; service_id: string; incarnation: number; node_id?: string; again?: true }
  | { type: 'RoomSeen'; participants: readonly Participant[] }
  | { type: 'RoomGone' }
  /** LiveKit has been out of reach for too long. */
  | { type: 'LiveKitLost' }
  /** A client's socket holds it from now on. `token_hash`: of the only resume token that counts from now on; absent: as before. */
  | { type: 'Attached'; node_id: string; connection_id: string; token_hash?: string }
  /** That socket has ended: on purpose, by accident, because the gateway refused what it sent, or together with its node. Nothing where another one holds the session by now. */
  | { type: 'Detached'; connection_id: string; how: 'closed' | 'broken' | 'refused' | 'node_lost' }
  /** Its user asked for a token again, and is to have the time to join with it. */
  | { type: 'UserAsked' }
  /** Somebody changes what it holds. `command`: the hash of the request, where its outcome is to be remembered. */
  | (HoldingInput & { command?: string | undefined })
  | { type: 'End'; reason: EndReason; by: 'client' | 'gateway' }
  /** Whoever waits for it to be ready gives up. */
  | { type: 'JoinTimeout' }
  /** An end under way waits for no service any longer. */
  | { type: 'Hurry' }
  /** Some deadline may have passed. */
  | { type: 'Tick' };

/** What the session does about it: a changed record with its events and effects, or a refusal, which changes nothing. */
export type Decision =
  | { ok: true; changed: boolean; session: Session; events: LogEvent[]; effects: Effect[] }
  | { ok: false; code: ErrorCode; message: string };

export interface Timeouts {
  registrationMs: number;
  /** How many messages a session may hold; absent: no limit. */
  maxMessages?: number;
}

const forgetAgainMs = 60_000;

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
  gate.reclaimed(d, requirement, { ...requirement.lapsed, incarnation });
  return true;
}

const notHeld = new Refused('ASSIGNMENT_NOT_FOUND', 'the session has no such assignment now');

const rules: { [T in Input['type']]: Rule<T> } = {
  RoomCreated(d, { made }, { registrationMs }) {
    const { room } = d.s;
    if (room?.state !== 'creating') return nothing;
    room.delete_at = undefined;
    room.state = 'open';
    if (made) room.seen = true;
    if (d.s.status === 'Creating') gate.roomIsThere(d, registrationMs);
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
    if (code === 'ROOM_NAME_IN_USE') release(d);
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
      const twin = assignments(d.s).some((a) => a.service_id === offer.service_id);
      if (open && requirement && isPending(requirement) && !twin) gate.offered(d, requirement, offer, node_id);
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
    gate.accepted(held.assignment);
  },

  Declined(d, { assignment_id, reason, error, isSaid, unsure, retry_after_ms }) {
    const held = holderOf(d, assignment_id);
    if (held?.assignment.status !== 'Offered') return nothing;
    (unsure ? gate.dropped : gate.failed)(d, held.requirement, { reason, error, isSaid }, retry_after_ms);
  },

  ServiceReady(d, { service_id, assignment_id, incarnation, node_id, late }) {
    if (isEnded(d.s)) return new Refused('ILLEGAL_STATE', `the session is ${d.s.status} (${d.s.ended?.reason})`);
    if (late !== undefined && !reclaim(d, assignment_id, late)) return notHeld;
    const requirement = d.s.requirements.find((r) =>
      assignment_id === undefined ? r.assignment?.service_id === service_id : r.assignment?.assignment_id === assignment_id,
    );
    const assignment = requirement?.assignment;
    if (!assignment || assignment.service_id !== service_id) return notHeld;
    if (incarnation !== undefined && isAnother(assignment, incarnation, node_id)) return notHeld;
    if (assignment.status === 'Ready') return nothing;
    gate.ready(d, requirement, assignment);
  },

  ServiceFailed(d, { assignment_id, reason, error, isSaid, incarnation, node_id }) {
    const held = holderOf(d, assignment_id);
    if (!held) return left(d, assignment_id) ? undefined : notHeld;
    if (incarnation !== undefined && isAnother(held.assignment, incarnation, node_id)) return nothing;
    gate.failed(d, held.requirement, { reason, error, isSaid });
  },

  ServiceLeft(d, { assignment_id, clean }) {
    if (left(d, assignment_id)) return;
    const held = holderOf(d, assignment_id);
    // the answer to a LeaveRoomRequest for something long over
    if (!held) return nothing;
    gate.failed(d, held.requirement, clean ? gate.faults.left : gate.faults.leftInDisorder);
  },

  ServiceGone(d, { assignment_id, incarnation, node_id }) {
    const held = holderOf(d, assignment_id);
    if (!held) return left(d, assignment_id) ? undefined : nothing;
    if (isAnother(held.assignment, incarnation, node_id)) return nothing;
    gate.suspected(d, held.requirement, held.assignment, 'socket');
  },

  ServiceBack(d, { assignment_id, service_id, incarnation, node_id, again }) {
    const held = holderOf(d, assignment_id);
    // an offer that nobody has accepted is held by nobody, but for a service that was never away
    if (held?.assignment.service_id !== service_id || (held.assignment.status === 'Offered' && !again)) return notHeld;
    if (node_id !== undefined) held.assignment.node_id = node_id;
    gate.returned(d, held.assignment, incarnation);
  },

  RoomSeen(d, { participants }) {
    const { s } = d;
    if (s.room?.state !== 'open' || isEnded(s)) return nothing;
    const known = new Map(s.participants.map((p) => [p.sid, p]));
    const same = participants.length === known.size && participants.every((p) => known.has(p.sid));
    // a service may have gone while somebody else said where it was, or a successor of its name be there already
    const moved = s.requirements.some(
      ({ assignment: a }) =>
        a && a.status !== 'Offered' && !a.suspect && a.joined !== participants.some((p) => p.identity === a.service_id),
    );
    if (same && s.room.seen && !moved) return nothing;
    gate.roomSeen(
      d,
      participants.map((p) => known.get(p.sid) ?? p),
    );
  },

  RoomGone(d) {
    const { s } = d;
    if (!s.room?.seen || s.room.state !== 'open' || isEnded(s)) return nothing;
    terminate(d, !s.room.user_seen ? 'client_never_joined' : userIsIn(s) ? 'room_deleted' : 'client_gone');
  },

  LiveKitLost(d) {
    // one that was never reached for this room is not lost
    if (!d.s.room?.seen || isEnded(d.s)) return nothing;
    terminate(d, 'livekit_error', 'gateway', { code: 'LIVEKIT_ERROR', message: 'LiveKit has been out of reach for too long' });
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
    if (wasAway) d.effects.push({ do: 'presence' });
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
    d.effects.push({ do: 'presence' });
  },

  UserAsked(d) {
    const { status, deadlines } = d.s;
    if (status !== 'Ready') return nothing;
    if (deadlines.client_join !== undefined) gate.awaitUser(d);
    else if (deadlines.rejoin !== undefined) deadlines.rejoin = d.now + rejoinMs(d.s);
    else return nothing;
  },

  Update: hold,
  Extend: hold,
  Message: hold,
  Share: hold,
  Unshare: hold,

  JoinTimeout(d) {
    if (d.s.status !== 'Creating' && d.s.status !== 'WaitingForServices') return nothing;
    gate.joinTimeIsOver(d);
  },

  End(d, { reason, by }) {
    if (isEnded(d.s)) return nothing;
    terminate(d, reason, by);
  },

  Hurry(d) {
    if (d.s.status !== 'Terminating' || d.s.leaving.length === 0) return nothing;
    hurry(d);
  },

  Tick(d) {
    const { s, now } = d;
    const passed = (at: number | undefined) => at !== undefined && now >= at;
    let news = false;
    if (passed(s.deadlines.forget)) {
      if (s.deadlines.release_name === undefined && (s.room === undefined || s.room.state === 'deleted')) {
        d.effects.push({ do: 'forget' });
        return nothing;
      }
      // the record is all that still knows of the room
      s.deadlines.forget = now + forgetAgainMs;
      news = true;
    }
    if (passed(s.deadlines.release_name)) {
      release(d);
      news = true;
    }
    if (passed(s.room?.delete_at)) {
      deleteRoom(d);
      news = true;
    }
    if (s.status === 'Terminating' && (passed(s.deadlines.leave) || passed(s.deadlines.end))) {
      advance(d);
      news = true;
    }
    if (isEnded(s)) return news ? undefined : nothing;

    for (const requirement of s.requirements) {
      const { assignment } = requirement;
      if (passed(assignment?.offer_by)) {
        gate.dropped(d, requirement, gate.faults.noAnswer);
        news = true;
      } else if (passed(assignment?.ready_by) && !passed(s.deadlines.join)) {
        gate.dropped(d, requirement, gate.faults.notReady);
        news = true;
      } else if (passed(assignment?.suspect?.until)) {
        gate.dropped(d, requirement, assignment?.suspect?.cause === 'room' ? gate.faults.leftRoom : gate.faults.gone);
        news = true;
      } else if (isPending(requirement) && rested(requirement, now)) {
        d.effects.push({ do: 'dispatch' });
        news = true;
      }
    }
    if (passed(s.deadlines.look)) {
      s.deadlines.look = undefined;
      for (const requirement of s.requirements) gate.unasked(d, requirement, 'never_registered');
      news = true;
    }
    const mayMiss = s.on_join_timeout === 'degrade' || s.requirements.every((r) => r.known || !r.required);
    if (passed(s.deadlines.registration) && mayMiss) {
      s.deadlines.registration = undefined;
      news = true;
    }
    if (passed(s.deadlines.expiring) && !passed(s.deadlines.expiry)) {
      d.emit('SessionExpiring', { expires_at: iso(s.expires_at), reason: s.expiry_reason });
      announceNext(d);
      news = true;
    }
    const reason = whyOver(s, passed);
    if (reason === undefined) {
      if (passed(s.deadlines.join)) {
        gate.joinTimeIsOver(d);
        news = true;
      }
      for (const requirement of s.requirements) {
        if (!passed(requirement.replace_by) || isEnded(s)) continue;
        gate.notReplaced(d, requirement);
        news = true;
      }
    } else {
      terminate(
        d,
        reason,
        'gateway',
        reason === 'livekit_error' ? { code: 'LIVEKIT_ERROR', message: 'LiveKit did not answer in time' } : undefined,
      );
      news = true;
    }
    if (!news) return nothing;
  },
};

function hold(
  d: Draft,
  input: HoldingInput & { command?: string | undefined },
  { maxMessages = Number.POSITIVE_INFINITY }: Timeouts,
): Refused | typeof nothing | undefined {
  if (isEnded(d.s)) return new Refused('ILLEGAL_STATE', `the session is ${d.s.status}`);
  if (input.type === 'Message' && d.s.messages >= maxMessages) {
    return new Refused('ILLEGAL_STATE', `the session holds ${maxMessages} messages: it takes no more`);
  }
  const outcome = (holding[input.type] as (d: Draft, input: HoldingInput) => Refusal | boolean)(d, input);
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
    return gate.unasked(d, requirement, 'not_ready') || !known;
  });
  if (lookMs === undefined) each(unfit, (requirement) => gate.unasked(d, requirement, 'never_registered'));
  else if (unfit.length > 0 && d.s.deadlines.look === undefined) {
    d.s.deadlines.look = d.now + lookMs;
    each(unfit, (requirement) => gate.unaskedHere(d, requirement));
    news = true;
  }
  return news;
}

/** The one reason a session ends by itself now, the most telling first. */
function whyOver(s: Session, passed: (at: number | undefined) => boolean): EndReason | undefined {
  if (passed(s.deadlines.expiry)) return s.expiry_reason;
  if (passed(s.deadlines.create)) return 'livekit_error';
  if (passed(s.deadlines.registration)) return 'registration_timeout';
  if (passed(s.deadlines.resume)) return 'resume_expired';
  if (passed(s.deadlines.client_join)) return 'client_never_joined';
  if (passed(s.deadlines.rejoin)) return 'client_gone';
  return undefined;
}

/** Ends the rests that are over. @returns whether there were any */
function rested(requirement: Requirement, now: number): boolean {
  let news = false;
  for (const [id, { failures, until }] of Object.entries(requirement.rests)) {
    if (until === undefined || until > now) continue;
    requirement.rests = { ...requirement.rests, [id]: { failures } };
    news = true;
  }
  return news;
}

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

function release(d: Draft): void {
  d.s.deadlines.release_name = undefined;
  d.s.claims = withoutRoomClaim(d.s.claims);
}
