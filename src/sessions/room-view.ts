import type { Draft } from './draft.ts';
import { returned, suspected } from './readiness.ts';
import { type Participant, userIsIn } from './record.ts';
import { shown, userCame, userWent } from './user-presence.ts';

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
    if (s.idempotency?.until_joined) s.claims = s.claims.filter((claim) => claim !== s.idempotency?.claim);
    if (!wasIn) userCame(d);
  } else if (wasIn) userWent(d);
}
