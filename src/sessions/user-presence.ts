import { iso } from '../time.ts';
import type { Draft } from './draft.ts';
import { type Participant, rejoinMs } from './record.ts';

//   Ready, client_join --comes--> Active --goes--> Ready, rejoin --comes--> Active
//     | time is over                                 | time is over
//     v client_never_joined                          v client_gone

/** A session that its user never joined ends this long before LiveKit drops the empty room: the client gets a reason and not a dead token. */
const emptyMarginMs = 10_000;

/** Gives the user, who has not come yet, the time to join from now. */
export function awaitUser({ s, now }: Draft): void {
  if (!s.room) return;
  const madeAt = s.created_at + (s.timings.room_ms ?? 0);
  const emptyAt = madeAt + s.room.empty_timeout * 1_000 - emptyMarginMs;
  s.deadlines.client_join = Math.min(emptyAt, now + (s.client_join_timeout_ms ?? Number.POSITIVE_INFINITY));
}

export function userCame(d: Draft): void {
  const { s } = d;
  const user = s.participants.find((p) => p.identity === s.user_identity);
  if (s.status !== 'Ready' || !user) return;
  s.deadlines.client_join = undefined;
  s.deadlines.rejoin = undefined;
  d.moveTo('Active');
  d.emit('SessionActive', { participant: shown(user) });
}

export function userWent(d: Draft): void {
  if (d.s.status !== 'Active') return;
  d.s.deadlines.rejoin = d.now + rejoinMs(d.s);
  d.moveTo('Ready', 'the user left the room');
}

/** A participant as clients see it. */
export const shown = ({ identity, kind, joined_at }: Participant) => ({ identity, kind, joined_at: iso(joined_at) });
