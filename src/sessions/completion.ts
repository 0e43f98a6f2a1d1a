import type { LogEvent } from '../../protocol/events.ts';
import type { Clock } from '../clock.ts';
import type { Effect } from './draft.ts';
import type { Input, Offer, Timeouts } from './inputs.ts';
import { next } from './machine.ts';
import type { Offers, Rooms } from './ports.ts';
import { assignments, isEnded, isPending, type Session } from './record.ts';

/** What has been decided and is not written yet. */
export interface Unwritten {
  session: Session;
  events: readonly LogEvent[];
  effects: readonly Effect[];
}

interface Parts {
  rooms: Rooms;
  offers(): Offers;
  clock: Clock;
  timeouts: Timeouts;
}

/**
 * Takes into a commit what follows from it at once, which saves separate commits: offers that nobody needs now are cancelled, a room
 * that exists nowhere is deleted, and services that are free are reserved.
 * @returns the reserved slots: they are to be released where the commit fails
 */
export function complete(change: Unwritten, parts: Parts): readonly Offer[] {
  takeBackOffers(change, parts);
  if (parts.rooms.isNowhere) dropRoom(change, parts);
  return reserveServices(change, parts);
}

function reserveServices(change: Unwritten, parts: Parts): readonly Offer[] {
  const { effects } = change;
  // a slot that is about to be free is not seen yet
  const isLater = effects.some((effect) => effect.do === 'release') || !effects.some((effect) => effect.do === 'dispatch');
  const found = isLater || isEnded(change.session) ? undefined : parts.offers().reserve(change.session);
  if (!found) return [];
  add(change, found, parts);
  // the others are looked for once more when it is known that they are waited for
  if (!change.session.requirements.some(isPending)) change.effects = change.effects.filter((effect) => effect.do !== 'dispatch');
  return found.offers;
}

/** An offer that was made and given up within one commit is never sent, so nobody has to leave. */
function takeBackOffers(change: Unwritten, parts: Parts): void {
  for (const effect of change.effects) {
    if (effect.do !== 'offer') continue;
    const { assignment_id } = effect.assignment;
    if (assignments(change.session).some((held) => held.assignment_id === assignment_id)) continue;
    add(change, { type: 'ServiceLeft', assignment_id, clean: true }, parts);
    const isOf = (other: Effect) => (other.do === 'offer' || other.do === 'leave') && other.assignment.assignment_id === assignment_id;
    change.effects = change.effects.filter((other) => !isOf(other));
  }
}

function dropRoom(change: Unwritten, parts: Parts): void {
  if (!change.effects.some((effect) => effect.do === 'deleteRoom')) return;
  change.effects = change.effects.filter((effect) => effect.do !== 'deleteRoom');
  add(change, { type: 'RoomDeleted' }, parts);
}

/** Applies one more input in the same commit. */
function add(change: Unwritten, input: Input, { clock, timeouts }: Parts): void {
  const decision = next(change.session, input, clock.now(), timeouts);
  if (!decision.ok) return;
  change.session = decision.session;
  change.events = [...change.events, ...decision.events];
  change.effects = [...change.effects, ...decision.effects];
}
