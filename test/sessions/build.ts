import type { LogEvent } from '../../protocol/events.ts';
import { create, type Spec } from '../../src/sessions/create.ts';
import type { Effect } from '../../src/sessions/draft.ts';
import type { Decision, Input, Timeouts } from '../../src/sessions/inputs.ts';
import { next } from '../../src/sessions/machine.ts';
import { dueAt, type Participant, type Session } from '../../src/sessions/record.ts';

export const t0 = Date.UTC(2026, 0, 1);
export const timeouts: Timeouts = { registrationMs: 30_000 };
/** How often the deadlines are looked at. */
const sweepMs = 200;

/** The socket that holds sessions here. */
export const holder = { node_id: 'node-1', connection_id: 'socket-1' };
/** That socket ended as a network ends it. */
export const socketBreaks: Input = { type: 'Detached', connection_id: holder.connection_id, how: 'broken' };
/** Another socket takes the session over. */
export const socketComes: Input = { type: 'Attached', node_id: 'node-1', connection_id: 'socket-2' };
/** What lets a client come back within a minute. */
export const window: Partial<Spec> = { resume: { window_ms: 60_000, token_hash: 'hash-1' } };

export const spec = (wish: Partial<Spec> = {}): Spec => ({
  session_id: 's1',
  owner_id: 'user_identity' in wish ? wish.user_identity : 'user',
  user_identity: 'user',
  user_name: undefined,
  workspace_dir: undefined,
  room: true,
  room_name: undefined,
  metadata: {},
  visibility: 'private',
  required: ['asr'],
  optional: [],
  on_join_timeout: 'fail',
  on_service_loss: 'replace',
  idempotency: undefined,
  holder,
  resume: undefined,
  token_policy: 'on_ready',
  join_timeout_ms: 60_000,
  client_join_timeout_s: undefined,
  ttl_ms: 86_400_000,
  livekit_url: 'ws://livekit.test',
  ...wish,
});

/** One session in virtual time, made and changed by nothing but create and next. */
export class Story {
  session: Session;
  now = t0;
  readonly events: LogEvent[] = [];
  readonly effects: Effect[] = [];

  constructor(wish: Partial<Spec> = {}) {
    this.session = this.#take(create(spec(wish), t0));
  }

  decide(input: Input): Decision {
    return next(this.session, input, this.now, timeouts);
  }

  /** Applies inputs now. @throws one of them is refused */
  happens(...inputs: Input[]): this {
    for (const input of inputs) {
      const decision = this.decide(input);
      if (!decision.ok) throw new Error(`${input.type} in ${this.session.status}: ${decision.code}`);
      this.session = this.#take(decision);
    }
    return this;
  }

  /** Lets time pass with a Tick whenever something is due, and one at the end. */
  waits(ms: number): this {
    const until = this.now + ms;
    for (let due = dueAt(this.session); due < until; due = Math.max(dueAt(this.session), this.now + sweepMs)) {
      this.now = Math.max(this.now, due);
      this.happens({ type: 'Tick' });
    }
    this.now = until;
    return this.happens({ type: 'Tick' });
  }

  /** How often an effect was asked for so far. */
  count(what: Effect['do']): number {
    return this.effects.filter((effect) => effect.do === what).length;
  }

  #take(decision: Extract<Decision, { ok: true }>): Session {
    this.events.push(...decision.events);
    this.effects.push(...decision.effects);
    return decision.session;
  }
}

export const present = (identity: string, sid = `PA_${identity}`): Participant => ({
  identity,
  sid,
  kind: identity === 'user' ? 'standard' : 'agent',
  joined_at: t0,
});

/** Who is in the room now. */
export const seen = (...identities: string[]): Input => ({ type: 'RoomSeen', participants: identities.map((id) => present(id)) });

/** The services that sessions here require, in this order. */
const places = ['asr', 'llm'];

/** An offer to a service, whose assignment is named after it: `asr-1`. */
export const offer = (service_id: string, n = 1, incarnation = 1, requirement = places.indexOf(service_id)): Input => ({
  type: 'Dispatched',
  offers: [{ requirement, assignment_id: `${service_id}-${n}`, service_id, identity: service_id, incarnation, offerMs: 10_000 }],
  busy: [],
});
/** A service that is registered and has no free slot. */
export const busy = (...ids: string[]): Input => ({ type: 'Dispatched', offers: [], busy: ids.map((id) => places.indexOf(id)) });
/** Nobody who fits is registered. */
export const unfit = (...ids: string[]): Input => ({
  type: 'Dispatched',
  offers: [],
  busy: [],
  unfit: ids.map((id) => places.indexOf(id)),
});
export const readySaid = (service_id: string): Input => ({ type: 'ServiceReady', service_id, incarnation: 1 });
/** Everything from the offer to the ready of one service. */
export const served = (service_id: string, n = 1): Input[] => [
  offer(service_id, n),
  { type: 'Accepted', assignment_id: `${service_id}-${n}` },
  readySaid(service_id),
];
/** In the service's own words. */
export const failedSaid = (assignment_id: string, error: string): Input => ({
  type: 'ServiceFailed',
  assignment_id,
  reason: 'failed',
  error,
  isSaid: true,
});
export const declinedSaid = (assignment_id: string, error: string, retry_after_ms?: number): Input => ({
  type: 'Declined',
  assignment_id,
  reason: 'declined',
  error,
  isSaid: true,
  ...(retry_after_ms !== undefined && { retry_after_ms }),
});
export const clientEnds: Input = { type: 'End', reason: 'client_ended', by: 'client' };

export const creating = (wish?: Partial<Spec>) => new Story(wish);
export const waiting = (wish?: Partial<Spec>) => creating(wish).happens({ type: 'RoomCreated', made: true });
export const offered = (wish?: Partial<Spec>) => waiting(wish).happens(offer('asr'));
export const joining = (wish?: Partial<Spec>) => offered(wish).happens({ type: 'Accepted', assignment_id: 'asr-1' });
/** Ready with its one service `asr`, which is in the room. */
export const ready = (wish?: Partial<Spec>) => waiting(wish).happens(...served('asr'), seen('asr'));
export const active = (wish?: Partial<Spec>) => ready(wish).happens(seen('asr', 'user'));
/** Ready, and its service lost: nobody serves `asr` now. */
export const degraded = (wish?: Partial<Spec>) => ready(wish).happens(failedSaid('asr-1', 'died'));
/** Ended by its client; `asr` has not left yet. */
export const terminating = (wish?: Partial<Spec>) => active(wish).happens(clientEnds);
/** Ended, the service has left, and the room is being deleted. */
export const deleting = (wish?: Partial<Spec>) => terminating(wish).happens({ type: 'ServiceLeft', assignment_id: 'asr-1', clean: true });
export const terminated = (wish?: Partial<Spec>) => deleting(wish).happens({ type: 'RoomDeleted' });
