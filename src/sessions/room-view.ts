import type { Draft } from './draft.ts';
import { returned, suspected } from './readiness.ts';
import { identityOf, type Participant, type Session, userIsIn } from './record.ts';
import { shown, userCame, userWent } from './user-presence.ts';

/** Whether the room is as it was last seen, services included. */
export function isAsSeen({ room, participants: before, requirements }: Session, present: readonly Participant[]): boolean {
  const known = new Set(before.map(({ sid }) => sid));
  const same = present.length === known.size && present.every(({ sid }) => known.has(sid));
  // a service may have gone while somebody else said where it was, or a successor of its name be there already
  const moved = requirements.some(
    ({ assignment: a }) => a && a.status !== 'Offered' && !a.suspect && a.joined !== present.some((p) => p.identity === identityOf(a)),
  );
  return same && room?.seen === true && !moved;
}

/** Takes in who is in the room now. `joined_at` of those already known is kept. */
export function roomSeen(d: Draft, seen: readonly Participant[]): void {
  const { s } = d;
  const known = new Map(s.participants.map((p) => [p.sid, p]));
  const present = seen.map((p) => known.get(p.sid) ?? p);
  if (s.room) s.room.seen = true;
  const before = s.participants;
  const wasIn = userIsIn(s);
  // a participant that left and came back within two looks has another sid
  const same = (a: Participant) => (b: Participant) => a.identity === b.identity && a.sid === b.sid;
  for (const old of before) if (!present.some(same(old))) d.emit('ParticipantChanged', { participant: shown(old), present: false });
  for (const p of present) if (!before.some(same(p))) d.emit('ParticipantChanged', { participant: shown(p), present: true });
  s.participants = present;

  for (const requirement of s.requirements) {
    const { assignment } = requirement;
    if (!assignment) continue;
    if (present.some((p) => p.identity === identityOf(assignment))) {
      assignment.joined = true;
      if (assignment.suspect?.cause === 'room') returned(d, assignment, assignment.incarnation);
    } else if (assignment.joined && !assignment.suspect) suspected(d, requirement, assignment, 'room');
  }

  if (userIsIn(s)) {
    if (s.room) s.room.user_seen = true;
    if (s.idempotency?.until_joined) s.claims = s.claims.filter((claim) => claim !== s.idempotency?.claim);
    if (!wasIn) userCame(d);
  } else if (wasIn) userWent(d);
}
