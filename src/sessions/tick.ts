import type { EndReason } from '../../protocol/states.ts';
import { iso } from '../time.ts';
import { announceNext } from './content.ts';
import type { Draft } from './draft.ts';
import { advance, deleteRoom, releaseName, terminate } from './ending.ts';
import * as readiness from './readiness.ts';
import { isEnded, isPending, type Requirement, type Session } from './record.ts';

/** A record that is due to be dropped and still knows of a room is looked at again after this: a deletion that fails is retried every 30 s. */
const forgetAgainMs = 60_000;

/**
 * Applies every deadline that has passed, in this order, which decides where several have:
 *
 *   1. the record (forget), its room's name, its room, an end under way: what an ended session still has to do; nothing else concerns it
 *   2. each service: offer, then ready, then suspect, then backoff: a service is dropped for the first of them, and the next one looked for
 *   3. reports: no service fits, not all have been registered, the end is near
 *   4. the session's own end, for the one reason that says most; only if there is none
 *   5. the time to join, and the time to replace a lost service: either may end it, or let it go on degraded
 *
 * @returns whether anything has changed
 */
export function tick(d: Draft): boolean {
  const { s, now } = d;
  const passed = (at: number | undefined) => at !== undefined && now >= at;
  let changed = false;
  if (passed(s.deadlines.forget)) {
    if (s.deadlines.release_name === undefined && (s.room === undefined || s.room.state === 'deleted')) {
      d.effects.push({ do: 'forget' });
      return false;
    }
    // the record is all that still knows of the room
    s.deadlines.forget = now + forgetAgainMs;
    changed = true;
  }
  if (passed(s.deadlines.release_name)) {
    releaseName(d);
    changed = true;
  }
  if (passed(s.room?.delete_at)) {
    deleteRoom(d);
    changed = true;
  }
  if (s.status === 'Terminating' && (passed(s.deadlines.leave) || passed(s.deadlines.end))) {
    advance(d);
    changed = true;
  }
  if (isEnded(s)) return changed;

  for (const requirement of s.requirements) {
    const { assignment } = requirement;
    if (passed(assignment?.offer_by)) {
      readiness.dropped(d, requirement, readiness.faults.noAnswer);
      changed = true;
    } else if (passed(assignment?.ready_by) && !passed(s.deadlines.join)) {
      readiness.dropped(d, requirement, readiness.faults.notReady);
      changed = true;
    } else if (passed(assignment?.suspect?.until)) {
      readiness.dropped(d, requirement, assignment?.suspect?.cause === 'room' ? readiness.faults.leftRoom : readiness.faults.gone);
      changed = true;
    } else if (isPending(requirement) && isBackoffOver(requirement, now)) {
      d.effects.push({ do: 'dispatch' });
      changed = true;
    }
  }
  if (passed(s.deadlines.look)) {
    s.deadlines.look = undefined;
    for (const requirement of s.requirements) readiness.unasked(d, requirement, 'never_registered');
    changed = true;
  }
  const mayMiss = s.on_join_timeout === 'degrade' || s.requirements.every((r) => r.known || !r.required);
  if (passed(s.deadlines.registration) && mayMiss) {
    s.deadlines.registration = undefined;
    changed = true;
  }
  if (passed(s.deadlines.expiring) && !passed(s.deadlines.expiry)) {
    d.emit('SessionExpiring', { expires_at: iso(s.expires_at), reason: s.expiry_reason });
    announceNext(d);
    changed = true;
  }
  const reason = whyOver(s, passed);
  if (reason === undefined) {
    if (passed(s.deadlines.join)) {
      readiness.joinTimeIsOver(d);
      changed = true;
    }
    for (const requirement of s.requirements) {
      if (!passed(requirement.replace_by) || isEnded(s)) continue;
      readiness.notReplaced(d, requirement);
      changed = true;
    }
  } else {
    terminate(
      d,
      reason,
      'gateway',
      reason === 'livekit_error' ? { code: 'LIVEKIT_ERROR', message: 'LiveKit did not answer in time' } : undefined,
    );
    changed = true;
  }
  return changed;
}

/** The one reason a session ends by itself now, the most informative first. */
function whyOver(s: Session, passed: (at: number | undefined) => boolean): EndReason | undefined {
  if (passed(s.deadlines.expiry)) return s.expiry_reason;
  if (passed(s.deadlines.create)) return 'livekit_error';
  if (passed(s.deadlines.registration)) return 'registration_timeout';
  if (passed(s.deadlines.resume)) return 'resume_expired';
  if (passed(s.deadlines.client_join)) return 'client_never_joined';
  if (passed(s.deadlines.rejoin)) return 'client_gone';
  return undefined;
}

/** Ends the backoffs that are over. @returns whether there were any */
function isBackoffOver(requirement: Requirement, now: number): boolean {
  let changed = false;
  for (const [id, { failures, until }] of Object.entries(requirement.rests)) {
    if (until === undefined || until > now) continue;
    requirement.rests = { ...requirement.rests, [id]: { failures } };
    changed = true;
  }
  return changed;
}
