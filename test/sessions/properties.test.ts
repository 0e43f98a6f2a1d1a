import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import type { Status } from '../../protocol/states.ts';
import { create } from '../../src/sessions/create.ts';
import type { Effect } from '../../src/sessions/draft.ts';
import type { Decision, Input } from '../../src/sessions/inputs.ts';
import { next } from '../../src/sessions/machine.ts';
import { changed } from '../../src/sessions/notifications.ts';
import { assignments, dueAt, isEnded, isServing, type Session } from '../../src/sessions/record.ts';
import { present, spec, t0, timeouts } from './build.ts';

const arrows: Record<Status, readonly Status[]> = {
  Creating: ['WaitingForServices', 'Ready', 'Terminating'],
  WaitingForServices: ['Ready', 'Terminating'],
  Ready: ['Active', 'Terminating'],
  Active: ['Ready', 'Terminating'],
  Terminating: ['Terminated'],
  Terminated: [],
};
const services = ['asr', 'llm', 'tts'];
const sockets = ['socket-1', 'socket-2', 'socket-3'];
const commands = ['first', 'second', 'third'];

/** One thing that happens: how much later, and an input made from what the session is by then. */
interface Happening {
  later: number | 'when due';
  input: (session: Session, n: number) => Input;
}

const pick = <T>(list: readonly T[], index: number, other: T): T => list[index % Math.max(1, list.length)] ?? other;
/** Mostly an assignment the session has or had, now and then one it never heard of. */
const assignmentOf = (session: Session, index: number) =>
  pick([...assignments(session), ...session.leaving], index, { assignment_id: 'unknown', service_id: 'asr', incarnation: 0 });

const atOnce = (input: Input): Happening => ({ later: 0, input: () => input });
const told = (input: Input) => fc.constant(() => input);
const ofAssignment = (make: (of: { assignment_id: string; service_id: string; incarnation: number }, index: number) => Input) =>
  fc.nat(9).map((index) => (session: Session) => make(assignmentOf(session, index), index));

const offers: fc.Arbitrary<Happening['input']> = fc.record({ ids: fc.subarray(services), busy: fc.subarray(services) }).map(
  ({ ids, busy }) =>
    ({ requirements }: Session, n: number): Input => ({
      type: 'Dispatched',
      offers: ids.map((service_id) => ({
        requirement: requirements.findIndex(({ key }) => key === service_id),
        service_id,
        identity: service_id,
        assignment_id: `${service_id}-${n}`,
        incarnation: n,
        offerMs: 10_000,
      })),
      busy: busy.map((id) => requirements.findIndex(({ key }) => key === id)).filter((place) => place >= 0),
    }),
);

const inputs: fc.Arbitrary<Happening['input']> = fc.oneof(
  { weight: 4, arbitrary: offers },
  { weight: 4, arbitrary: ofAssignment(({ service_id, assignment_id }) => ({ type: 'ServiceReady', service_id, assignment_id })) },
  { weight: 2, arbitrary: ofAssignment(({ service_id }) => ({ type: 'ServiceReady', service_id })) },
  { weight: 3, arbitrary: ofAssignment(({ assignment_id }) => ({ type: 'Accepted', assignment_id })) },
  { weight: 2, arbitrary: ofAssignment(({ assignment_id }) => ({ type: 'Declined', assignment_id, reason: 'declined', error: 'busy' })) },
  ofAssignment(({ assignment_id }, i) => ({
    type: 'Declined',
    assignment_id,
    reason: 'declined',
    error: 'busy',
    retry_after_ms: i * 1_000,
  })),
  {
    weight: 2,
    arbitrary: ofAssignment(({ assignment_id }) => ({ type: 'ServiceFailed', assignment_id, reason: 'failed', error: 'died' })),
  },
  ofAssignment(({ assignment_id }, i) => ({ type: 'ServiceLeft', assignment_id, clean: i % 2 === 0 })),
  { weight: 2, arbitrary: ofAssignment(({ assignment_id, incarnation }) => ({ type: 'ServiceGone', assignment_id, incarnation })) },
  ofAssignment(({ assignment_id, service_id }, i) => ({ type: 'ServiceBack', assignment_id, service_id, incarnation: 100 + i })),
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.subarray(['user', ...services]), fc.constantFrom('', '-again'))
      .chain(([ids, again]) => told({ type: 'RoomSeen', participants: ids.map((id) => present(id, `PA_${id}${again}`)) })),
  },
  { weight: 4, arbitrary: told({ type: 'RoomCreated', made: true }) },
  fc.boolean().chain((made) => told({ type: 'RoomFailed', code: 'LIVEKIT_ERROR', message: 'refused', made })),
  told({ type: 'RoomFailed', code: 'ROOM_NAME_IN_USE', message: 'taken', made: false }),
  told({ type: 'RoomDeleted' }),
  told({ type: 'RoomDeleteFailed' }),
  told({ type: 'RoomGone' }),
  told({ type: 'LiveKitLost' }),
  told({ type: 'UserAsked' }),
  told({ type: 'End', reason: 'client_ended', by: 'client' }),
  told({ type: 'JoinTimeout' }),
  {
    weight: 2,
    arbitrary: fc.constantFrom(...sockets).chain((connection_id) => told({ type: 'Attached', node_id: 'node-1', connection_id })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.nat(3), fc.constantFrom('broken' as const, 'broken' as const, 'broken' as const, 'node_lost' as const, 'closed' as const))
      .map(
        // mostly the socket that holds it, now and then one that held it before
        ([which, how]) =>
          ({ connection_id = '' }: Session): Input => ({
            type: 'Detached',
            connection_id: which < 3 ? connection_id : pick(sockets, which, ''),
            how,
          }),
      ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...commands).chain((command) => told({ type: 'Update', context_updates: { command }, command })),
  },
  { weight: 4, arbitrary: told({ type: 'Tick' }) },
);

const later: fc.Arbitrary<Happening['later']> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 6, arbitrary: fc.nat(2_000) },
  { weight: 2, arbitrary: fc.constant('when due' as const) },
  fc.nat(30_000),
  { weight: 1, arbitrary: fc.nat(100).map((n) => (n < 90 ? n : n * 37_000)) },
);

/** Straight to Ready: pure chance seldom gets there with its services. */
const toReady: Happening[] = [
  atOnce({ type: 'RoomCreated', made: true }),
  {
    later: 0,
    input: ({ requirements }) => ({
      type: 'Dispatched',
      offers: requirements.map(({ key }, requirement) => ({
        requirement,
        service_id: key,
        identity: key,
        assignment_id: `${key}-first`,
        incarnation: 1,
        offerMs: 10_000,
      })),
      busy: [],
    }),
  },
  ...services.map((service_id) => atOnce({ type: 'ServiceReady', service_id })),
];

const happenings: fc.Arbitrary<Happening[]> = fc
  .tuple(fc.boolean(), fc.array(fc.record({ later, input: inputs }), { minLength: 1, maxLength: 60, size: 'max' }))
  .map(([straight, list]) => [...(straight ? toReady : []), ...list].slice(0, 60));

const wishes = fc
  .record({
    parts: fc.tuple(fc.subarray(services), fc.subarray(services, { maxLength: 1 })),
    on_join_timeout: fc.constantFrom('fail' as const, 'fail' as const, 'degrade' as const),
    on_service_loss: fc.constantFrom('replace' as const, 'replace' as const, 'replace' as const, 'degrade' as const, 'terminate' as const),
    room: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
    resume: fc.option(
      fc.integer({ min: 1, max: 3_600 }).map((s) => ({ window_ms: s * 1_000, token_hash: 'hash' })),
      { nil: undefined },
    ),
    room_name: fc.option(fc.constant('lobby'), { nil: undefined }),
    client_join_timeout_s: fc.option(fc.integer({ min: 1, max: 3_600 }), { nil: undefined }),
    join_timeout_ms: fc.integer({ min: 1_000, max: 600_000 }),
    ttl_ms: fc.integer({ min: 3_600, max: 86_400_000 }),
    metadata: fc
      .option(fc.integer({ min: 1, max: 7_200 }), { nil: undefined })
      .map((s) => (s === undefined ? {} : { duration_limit: String(s) })),
  })
  .map(({ parts: [required, optional], ...wish }) =>
    spec({ ...wish, required, optional: optional.filter((id) => !required.includes(id)) }),
  );

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(freeze);
  }
  return value;
}

interface Step {
  before: Session | undefined;
  input: Input | undefined;
  decision: Extract<Decision, { ok: true }>;
  now: number;
}

/** A run of the machine, from create to `forget`. */
interface Run {
  steps: Step[];
  session: Session;
  events: LogEvent[];
  effects: Effect[];
}

/** Runs a session through what happens, then on by Ticks alone until it is forgotten; from then on LiveKit answers. */
function run(wish: ReturnType<typeof spec>, what: readonly Happening[], toTheEnd: boolean): Run {
  let now = t0;
  const first = create(freeze(wish), now);
  const steps: Step[] = [{ before: undefined, input: undefined, decision: first, now }];
  let session = freeze(first.session);
  const decide = (input: Input) => {
    const decision = next(session, freeze(input), now, timeouts);
    if (!decision.ok) return;
    steps.push({ before: session, input, decision, now });
    session = freeze(decision.session);
  };
  for (const [n, { later, input }] of what.entries()) {
    const due = dueAt(session);
    if (later !== 'when due') now += later;
    else if (due !== Number.POSITIVE_INFINITY) now = Math.max(now, due);
    decide(input(session, n));
  }
  const forgotten = () => steps.some(({ decision }) => decision.effects.some((effect) => effect.do === 'forget'));
  for (let ticks = 0; toTheEnd && !forgotten(); ticks++) {
    if (ticks === 500) throw new Error(`still ${session.status} after ${ticks} ticks`);
    if (session.room?.state === 'creating') decide({ type: 'RoomCreated', made: true });
    if (session.room?.state === 'deleting') decide({ type: 'RoomDeleted' });
    now = Math.max(now + 1, dueAt(session));
    decide({ type: 'Tick' });
  }
  return {
    steps,
    session,
    events: steps.flatMap((step) => step.decision.events),
    effects: steps.flatMap((step) => step.decision.effects),
  };
}

/** Checks what holds for every session, whatever happens to it. A fixed seed: a failure is the same on every machine. */
const holds = (check: (run: Run) => void, toTheEnd = false) =>
  fc.assert(
    fc.property(wishes, happenings, (wish, what) => check(run(wish, what, toTheEnd))),
    { numRuns: 500, seed: 20_260_101 },
  );

test('no sequence of inputs makes it throw, or touches the record it was given', () => {
  // the records are frozen: a write to one throws
  holds(() => {});
});

test('the random sessions reach every status, and every way through the gate', () => {
  const reached = new Set<string>();
  holds(({ events, session, steps }) => {
    for (const event of events) reached.add(event.type === 'SessionStatusChanged' ? event.to : event.type);
    if (session.ended) reached.add(session.ended.reason);
    for (const { before, decision } of steps)
      if (before?.link === 'away') reached.add(decision.session.link === 'attached' ? 'back' : `away while ${before.status}`);
  });
  const ends = ['service_lost', 'client_gone', 'resume_expired', 'node_lost'];
  const links = ['back', ...['Creating', 'WaitingForServices', 'Ready', 'Active'].map((status) => `away while ${status}`)];
  expect([...reached]).toEqual(
    expect.arrayContaining([...Object.keys(arrows), 'SessionDegraded', 'SessionRestored', 'SessionActive', ...ends, ...links]),
  );
});

test('the version grows by one with each change, and by nothing without one', () => {
  holds(({ steps }) => {
    for (const { before, decision } of steps) {
      const version = before?.version ?? 0;
      expect(decision.session.version).toBe(decision.changed ? version + 1 : version);
    }
  });
});

test('seq has no gap and ends with the record s', () => {
  holds(({ events, steps, session }) => {
    expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i + 1));
    for (const { before, decision } of steps) expect(decision.session.seq).toBe((before?.seq ?? 0) + decision.events.length);
    expect(session.seq).toBe(events.length);
  });
});

test('the status moves along the allowed arrows only, and each move is reported', () => {
  holds(({ events, steps }) => {
    let at: Status | undefined;
    for (const event of events) {
      if (event.type !== 'SessionStatusChanged') continue;
      expect(event.from).toBe(at);
      if (at !== undefined) expect(arrows[at]).toContain(event.to);
      at = event.to;
    }
    for (const { before, decision } of steps) {
      const told = decision.events.findLast((event) => event.type === 'SessionStatusChanged');
      expect(decision.session.status).toBe(told?.to ?? before?.status);
    }
  });
});

test('Terminated is final, and so is the reason of an end', () => {
  holds(({ steps }) => {
    for (const { before, decision } of steps) {
      if (before?.ended) expect(decision.session.ended).toEqual(before.ended);
      if (before?.status === 'Terminated') {
        expect(decision.session.status).toBe('Terminated');
        expect(decision.events).toEqual([]);
      }
    }
  });
});

test('SessionEnded comes once, and is the last event', () => {
  holds(({ events, session }) => {
    const ends = events.filter((event) => event.type === 'SessionEnded');
    expect(ends.length).toBe(session.status === 'Terminated' ? 1 : 0);
    if (session.status === 'Terminated') expect(events.at(-1)).toBe(ends[0]);
  });
});

test('something is due for every session that has not ended', () => {
  holds(({ steps }) => {
    for (const { decision } of steps) {
      const due = dueAt(decision.session);
      expect(due).not.toBeNaN();
      if (decision.session.status !== 'Terminated') expect(due).toBeLessThan(Number.POSITIVE_INFINITY);
    }
  });
});

test('a Tick leaves nothing due that it could have done', () => {
  holds(({ steps }) => {
    for (const { decision, now } of steps) {
      // the end has its own test: it may wait for a deletion
      let { session } = decision;
      for (let ticks = 0; ticks < 3; ticks++) {
        const again = next(session, { type: 'Tick' }, now, timeouts);
        if (again.ok) session = again.session;
      }
      if (session.status !== 'Terminating' && session.status !== 'Terminated') expect(dueAt(session)).toBeGreaterThan(now);
    }
  });
});

test('a session becomes Ready only when every required service serves, or degraded with one that does where it wished so', () => {
  holds(({ steps }) => {
    for (const { before, decision } of steps) {
      const was = before?.status ?? 'Creating';
      if (was !== 'Creating' && was !== 'WaitingForServices') continue;
      if (!decision.events.some((event) => event.type === 'SessionReady')) continue;
      const { requirements, on_join_timeout, health } = decision.session;
      const needed = requirements.filter((r) => r.required);
      if (!needed.every(isServing)) {
        expect(needed.some(isServing)).toBe(true);
        expect({ on_join_timeout, health }).toEqual({ on_join_timeout: 'degrade', health: 'degraded' });
      }
    }
  });
});

test('a session is degraded exactly while a service it had is missing and not yet replaced', () => {
  holds(({ steps }) => {
    for (const { decision } of steps) {
      const { health, status, requirements } = decision.session;
      const open = status === 'Ready' || status === 'Active';
      if (health === 'degraded' && open) expect(requirements.some((r) => r.required && !isServing(r))).toBe(true);
      if (open && requirements.some((r) => r.replace_by !== undefined)) expect(health).toBe('degraded');
    }
  });
});

test('every slot that was taken is released once, at the latest with the end', () => {
  holds(({ steps, effects, session }) => {
    expect(session.status).toBe('Terminated');
    const taken = steps.flatMap(({ input }) => (input?.type === 'Dispatched' ? input.offers.map((o) => o.assignment_id) : []));
    const released = effects.flatMap((effect) => (effect.do === 'release' ? [effect.assignment.assignment_id] : []));
    expect(released.toSorted()).toEqual(taken.toSorted());
    const end = steps.findIndex(({ decision }) => decision.session.status === 'Terminated');
    const later = steps.slice(end + 1).flatMap(({ input, decision }) => (input?.type === 'Dispatched' ? [] : decision.effects));
    expect(later.filter((effect) => effect.do === 'release')).toEqual([]);
  }, true);
});

test('an offer is made only for a slot, and once', () => {
  holds(({ steps, effects }) => {
    const taken = steps.flatMap(({ input }) => (input?.type === 'Dispatched' ? input.offers.map((o) => o.assignment_id) : []));
    const offered = effects.flatMap((effect) => (effect.do === 'offer' ? [effect.assignment.assignment_id] : []));
    expect(new Set(offered).size).toBe(offered.length);
    for (const id of offered) expect(taken).toContain(id);
  });
});

test('every session ends by itself and is forgotten, with its room deleted', () => {
  holds(({ session, effects }) => {
    expect(session.status).toBe('Terminated');
    expect([undefined, 'deleted']).toContain(session.room?.state);
    expect(effects).toContainEqual({ do: 'forget' });
  }, true);
});

test('a session waits for its client exactly while it is away, and only where it has a window', () => {
  holds(({ steps }) => {
    for (const { before, decision, now, input } of steps) {
      const { session } = decision;
      const { link, deadlines, resume, status } = session;
      if (isEnded(session)) expect(deadlines.resume).toBeUndefined();
      else expect(deadlines.resume !== undefined).toBe(link === 'away');
      if (status === 'Terminated') expect(link).toBe('none');
      if (link === 'away') expect(resume).toBeDefined();
      if (link === 'away' && before?.link === 'attached') expect(deadlines.resume).toBe(now + (resume?.window_ms ?? 0));
      // nothing but a socket that comes or goes changes who holds it
      if (before && !isEnded(session) && input?.type !== 'Attached') {
        expect(session.connection_id).toBe(before.connection_id);
        if (input?.type !== 'Detached') expect(link).toBe(before.link);
      }
      if (session.ended?.reason === 'resume_expired' && !before?.ended) expect(before?.link).toBe('away');
    }
  });
});

test('the services are notified each time the client goes away and each time it comes back, and at no other time', () => {
  holds(({ steps }) => {
    for (const { before, decision } of steps) {
      const went = before?.link !== 'away' && decision.session.link === 'away';
      const came = before?.link === 'away' && decision.session.link === 'attached';
      expect(decision.effects.filter((effect) => effect.do === 'notify' && effect.what === 'ClientPresence')).toHaveLength(
        went || came ? 1 : 0,
      );
    }
  });
});

test('the services reached from the node that commits are notified of the same changes as those that other nodes reach', () => {
  holds(({ steps }) => {
    for (const { before, decision } of steps) {
      const { session, effects } = decision;
      const news = before && !isEnded(session) ? changed(before, session) : [];
      expect(effects.flatMap((effect) => (effect.do === 'notify' ? [effect.what] : []))).toEqual(news);
    }
  });
});
