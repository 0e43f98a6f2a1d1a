import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../protocol/errors.ts';
import { type Status, statuses } from '../../protocol/states.ts';
import type { ContentInput } from '../../src/sessions/content.ts';
import type { Spec } from '../../src/sessions/create.ts';
import type { Input } from '../../src/sessions/inputs.ts';
import {
  active,
  clientEnds,
  creating,
  degraded,
  deleting,
  joining,
  offer,
  offered,
  readySaid,
  ready as readySession,
  type Story,
  seen,
  socketBreaks,
  socketComes,
  terminated,
  terminating,
  waiting,
  window,
} from './build.ts';

/** One input of each type. Where it names an assignment, it is that of `asr`, the session's one service. */
/** What happens to a session; what somebody wants it to hold has a table of its own below. */
type Told = Exclude<Input['type'], ContentInput['type']>;

const inputs: Record<Told, Input> = {
  RoomCreated: { type: 'RoomCreated', made: true },
  RoomFailed: { type: 'RoomFailed', code: 'LIVEKIT_ERROR', message: 'refused', made: false },
  RoomDeleted: { type: 'RoomDeleted' },
  RoomDeleteFailed: { type: 'RoomDeleteFailed' },
  Dispatched: offer('asr', 9),
  Accepted: { type: 'Accepted', assignment_id: 'asr-1' },
  Declined: { type: 'Declined', assignment_id: 'asr-1', reason: 'declined', error: 'busy' },
  ServiceReady: readySaid('asr'),
  ServiceFailed: { type: 'ServiceFailed', assignment_id: 'asr-1', reason: 'failed', error: 'died' },
  ServiceLeft: { type: 'ServiceLeft', assignment_id: 'asr-1', clean: true },
  ServiceGone: { type: 'ServiceGone', assignment_id: 'asr-1', incarnation: 1 },
  ServiceBack: { type: 'ServiceBack', assignment_id: 'asr-1', service_id: 'asr', incarnation: 2 },
  RoomSeen: seen('user'),
  RoomGone: { type: 'RoomGone' },
  LiveKitLost: { type: 'LiveKitLost' },
  Attached: socketComes,
  Detached: socketBreaks,
  UserAsked: { type: 'UserAsked' },
  End: clientEnds,
  JoinTimeout: { type: 'JoinTimeout' },
  StopWaiting: { type: 'StopWaiting' },
  Tick: { type: 'Tick' },
};

/** A status: it moves there. changes: another record in the same status. nothing: the same record. Else the code of its refusal. */
type Outcome = Status | 'changes' | 'nothing' | Extract<ErrorCode, 'ASSIGNMENT_NOT_FOUND' | 'ILLEGAL_STATE'>;
interface Situation {
  status: Status;
  make: (wish?: Partial<Spec>) => Story;
  outcomes: Record<Told, Outcome>;
}

const table: Record<string, Situation> = {
  Creating: {
    status: 'Creating',
    make: creating,
    outcomes: {
      RoomCreated: 'WaitingForServices',
      RoomFailed: 'Terminated',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ASSIGNMENT_NOT_FOUND',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'nothing',
      End: 'Terminating',
      JoinTimeout: 'Terminating',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Creating, nothing required': {
    status: 'Creating',
    make: (wish) => creating({ required: [], ...wish }),
    outcomes: {
      RoomCreated: 'Ready',
      RoomFailed: 'Terminated',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ASSIGNMENT_NOT_FOUND',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'nothing',
      End: 'Terminating',
      JoinTimeout: 'Terminating',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'WaitingForServices, asr pending': {
    status: 'WaitingForServices',
    make: (wish) => waiting(wish).happens(seen()),
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'changes',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ASSIGNMENT_NOT_FOUND',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'changes',
      RoomGone: 'Terminating',
      LiveKitLost: 'Terminating',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'nothing',
      End: 'Terminating',
      JoinTimeout: 'Terminating',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'WaitingForServices, asr offered': {
    status: 'WaitingForServices',
    make: (wish) => offered(wish).happens(seen()),
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'changes',
      Declined: 'changes',
      ServiceReady: 'Ready',
      ServiceFailed: 'changes',
      ServiceLeft: 'changes',
      ServiceGone: 'changes',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'changes',
      RoomGone: 'Terminating',
      LiveKitLost: 'Terminating',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'nothing',
      End: 'Terminating',
      JoinTimeout: 'Terminating',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'WaitingForServices, asr joining': {
    status: 'WaitingForServices',
    make: (wish) => joining(wish).happens(seen('asr')),
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'nothing',
      Declined: 'nothing',
      ServiceReady: 'Ready',
      ServiceFailed: 'changes',
      ServiceLeft: 'changes',
      ServiceGone: 'changes',
      ServiceBack: 'changes',
      RoomSeen: 'changes',
      RoomGone: 'Terminating',
      LiveKitLost: 'Terminating',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'nothing',
      End: 'Terminating',
      JoinTimeout: 'Terminating',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  Ready: {
    status: 'Ready',
    make: readySession,
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'nothing',
      Declined: 'nothing',
      ServiceReady: 'nothing',
      ServiceFailed: 'changes',
      ServiceLeft: 'changes',
      ServiceGone: 'changes',
      ServiceBack: 'changes',
      RoomSeen: 'Active',
      RoomGone: 'Terminating',
      LiveKitLost: 'Terminating',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'changes',
      End: 'Terminating',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Ready, asr lost': {
    status: 'Ready',
    make: (wish) => degraded(wish).happens({ type: 'Tick' }),
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'changes',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ASSIGNMENT_NOT_FOUND',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'Active',
      RoomGone: 'Terminating',
      LiveKitLost: 'Terminating',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'changes',
      End: 'Terminating',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  Active: {
    status: 'Active',
    make: active,
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'nothing',
      Declined: 'nothing',
      ServiceReady: 'nothing',
      ServiceFailed: 'changes',
      ServiceLeft: 'changes',
      ServiceGone: 'changes',
      ServiceBack: 'changes',
      RoomSeen: 'changes',
      RoomGone: 'Terminating',
      LiveKitLost: 'Terminating',
      Attached: 'changes',
      Detached: 'Terminating',
      UserAsked: 'nothing',
      End: 'Terminating',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Active, without a room': {
    status: 'Active',
    make: (wish) => creating({ room: false, required: [], ...wish }),
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ASSIGNMENT_NOT_FOUND',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'changes',
      Detached: 'Terminated',
      UserAsked: 'nothing',
      End: 'Terminated',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Terminating, room in the making': {
    status: 'Terminating',
    make: (wish) => creating(wish).happens(clientEnds),
    outcomes: {
      RoomCreated: 'changes',
      RoomFailed: 'Terminated',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ILLEGAL_STATE',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'ILLEGAL_STATE',
      Detached: 'nothing',
      UserAsked: 'nothing',
      End: 'nothing',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Terminating, asr leaving': {
    status: 'Terminating',
    make: terminating,
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ILLEGAL_STATE',
      ServiceFailed: 'changes',
      ServiceLeft: 'changes',
      ServiceGone: 'changes',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'ILLEGAL_STATE',
      Detached: 'nothing',
      UserAsked: 'nothing',
      End: 'nothing',
      JoinTimeout: 'nothing',
      StopWaiting: 'changes',
      Tick: 'nothing',
    },
  },
  'Terminating, room being deleted': {
    status: 'Terminating',
    make: deleting,
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'Terminated',
      RoomDeleteFailed: 'changes',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ILLEGAL_STATE',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'ILLEGAL_STATE',
      Detached: 'nothing',
      UserAsked: 'nothing',
      End: 'nothing',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Terminated, room in the making': {
    status: 'Terminated',
    make: (wish) => creating(wish).waits(10_000),
    outcomes: {
      RoomCreated: 'changes',
      RoomFailed: 'changes',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ILLEGAL_STATE',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'ILLEGAL_STATE',
      Detached: 'nothing',
      UserAsked: 'nothing',
      End: 'nothing',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Terminated, room being deleted': {
    status: 'Terminated',
    make: (wish) => deleting(wish).waits(10_000),
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'changes',
      RoomDeleteFailed: 'changes',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ILLEGAL_STATE',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'ILLEGAL_STATE',
      Detached: 'nothing',
      UserAsked: 'nothing',
      End: 'nothing',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
  'Terminated, room gone': {
    status: 'Terminated',
    make: terminated,
    outcomes: {
      RoomCreated: 'nothing',
      RoomFailed: 'nothing',
      RoomDeleted: 'nothing',
      RoomDeleteFailed: 'nothing',
      Dispatched: 'nothing',
      Accepted: 'ASSIGNMENT_NOT_FOUND',
      Declined: 'nothing',
      ServiceReady: 'ILLEGAL_STATE',
      ServiceFailed: 'ASSIGNMENT_NOT_FOUND',
      ServiceLeft: 'nothing',
      ServiceGone: 'nothing',
      ServiceBack: 'ASSIGNMENT_NOT_FOUND',
      RoomSeen: 'nothing',
      RoomGone: 'nothing',
      LiveKitLost: 'nothing',
      Attached: 'ILLEGAL_STATE',
      Detached: 'nothing',
      UserAsked: 'nothing',
      End: 'nothing',
      JoinTimeout: 'nothing',
      StopWaiting: 'nothing',
      Tick: 'nothing',
    },
  },
};

describe('the table is whole', () => {
  test('every status has a situation', () => {
    expect(new Set(Object.values(table).map((situation) => situation.status))).toEqual(new Set(statuses));
  });

  test('every situation is in the status it says', () => {
    for (const [name, { make, status }] of Object.entries(table)) expect(make().session.status, name).toBe(status);
  });

  test('every input the machine declares has one here, and a cell in every situation', () => {
    const source = readFileSync(join(import.meta.dirname, '../../src/sessions/inputs.ts'), 'utf8');
    const declared = [...(/export type Input =\n([\s\S]*?);\n\n/.exec(source)?.[1] ?? '').matchAll(/^ {2}\| \(?\{ type: '(\w+)'/gm)].map(
      (m) => m[1],
    );
    expect(declared).toContain('Tick');
    expect(Object.keys(inputs)).toEqual(declared);
    expect(Object.values(inputs).map((input) => input.type)).toEqual(declared);
    for (const [name, { outcomes }] of Object.entries(table)) expect(Object.keys(outcomes), name).toEqual(declared);
  });
});

const outcomeOf = (story: Story, input: Input): string => {
  const before = story.session;
  const decision = story.decide(input);
  if (!decision.ok) return decision.code;
  if (!decision.changed) return decision.session === before && decision.events.length === 0 ? 'nothing' : 'a change that is not told';
  return decision.session.status === before.status ? 'changes' : decision.session.status;
};

for (const [name, { make, outcomes }] of Object.entries(table)) {
  describe(name, () => {
    for (const [type, expected] of Object.entries(outcomes) as [Told, Outcome][]) {
      test(`${type}: ${expected}`, () => {
        expect(outcomeOf(make(), inputs[type])).toBe(expected);
      });
    }
  });
}

test('an offer the session does not take is released', () => {
  for (const make of [creating, offered, readySession, terminating, terminated]) {
    const decision = make().decide(offer('asr', 9));
    expect(decision).toMatchObject({ ok: true, events: [], effects: [{ do: 'release', assignment: { assignment_id: 'asr-9' } }] });
  }
});

test('a ready service of another registration is refused', () => {
  expect(joining().decide({ type: 'ServiceReady', service_id: 'asr', incarnation: 7 })).toMatchObject({
    ok: false,
    code: 'ASSIGNMENT_NOT_FOUND',
  });
});

test('a ready event without a registration is taken', () => {
  expect(joining().happens({ type: 'ServiceReady', service_id: 'asr' }).session.status).toBe('Ready');
});

test('a ready event under the assignment of another service is refused', () => {
  const story = joining({ required: ['asr', 'llm'] }).happens(offer('llm'));
  expect(story.decide({ type: 'ServiceReady', service_id: 'asr', assignment_id: 'llm-1' })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
});

test('a socket that went with an older registration changes nothing', () => {
  expect(outcomeOf(joining(), { type: 'ServiceGone', assignment_id: 'asr-1', incarnation: 0 })).toBe('nothing');
});

test('a service back under another id is refused', () => {
  const back: Input = { type: 'ServiceBack', assignment_id: 'asr-1', service_id: 'llm', incarnation: 2 };
  expect(outcomeOf(joining(), back)).toBe('ASSIGNMENT_NOT_FOUND');
});

test('a look that shows the same participants changes nothing', () => {
  expect(outcomeOf(active(), seen('user', 'asr'))).toBe('nothing');
});

test('a room that was never seen is not gone', () => {
  expect(outcomeOf(creating().happens({ type: 'RoomCreated', made: false }), { type: 'RoomGone' })).toBe('nothing');
});

const holdings: Record<ContentInput['type'], ContentInput> = {
  Update: { type: 'Update', context_updates: { mood: 'good' } },
  Extend: { type: 'Extend', ttl_ms: 3_600_000 },
  Message: { type: 'Message', message_id: 'm1', role: 'user', content: 'hello' },
  Share: { type: 'Share', user: 'bob', role: 'viewer' },
  Unshare: { type: 'Unshare', user: 'nobody' },
};

describe('what a session holds', () => {
  for (const [name, { make }] of Object.entries(table)) {
    const ended = name.startsWith('Termin');
    for (const input of Object.values(holdings)) {
      const expected = ended ? 'ILLEGAL_STATE' : input.type === 'Unshare' ? 'nothing' : 'changes';
      test(`${name}, ${input.type}: ${expected}`, () => {
        expect(outcomeOf(make(), input)).toBe(expected);
      });
    }
  }
});

describe('a session whose client may come back', () => {
  const open = Object.entries(table).filter(([name]) => !name.startsWith('Termin'));
  const ended = Object.entries(table).filter(([name]) => name.startsWith('Termin'));
  const away = (make: Situation['make']) => make(window).happens(socketBreaks);

  test.each(open)('%s: is away after a broken socket, until its window is over', (_, { make, status }) => {
    const story = away(make);
    expect(story.session).toMatchObject({ status, link: 'away', deadlines: { resume: story.now + 60_000 } });
    expect(story.count('notify')).toBe(1);
    expect(outcomeOf(story, socketBreaks)).toBe('nothing');
  });

  test.each(open)('%s: is held by the socket that comes', (_, { make, status }) => {
    const story = away(make).happens(socketComes);
    expect(story.session).toMatchObject({ status, link: 'attached', node_id: 'node-1', connection_id: 'socket-2' });
    expect(story.session.deadlines.resume).toBeUndefined();
    expect(story.count('notify')).toBe(2);
    // of the socket that broke nothing more is heard
    expect(outcomeOf(story, socketBreaks)).toBe('nothing');
  });

  test.each(open)('%s: while away every other input is taken as without a window', (_, { make, outcomes }) => {
    for (const [type, expected] of Object.entries(outcomes) as [Told, Outcome][]) {
      if (type === 'Attached' || type === 'Detached') continue;
      expect(outcomeOf(away(make), inputs[type]), type).toBe(expected);
    }
  });

  test.each(open)('%s: ends with its socket where that is closed on purpose', (_, { make, outcomes }) => {
    expect(outcomeOf(make(window), { ...socketBreaks, how: 'closed' } as Input)).toBe(outcomes.End);
    expect(make(window).happens({ ...socketBreaks, how: 'closed' } as Input).session.ended).toMatchObject({
      reason: 'client_ended',
      by: 'client',
    });
  });

  test.each(ended)('%s: takes nobody back', (_, { make }) => {
    expect(outcomeOf(make(window), socketComes)).toBe('ILLEGAL_STATE');
    expect(outcomeOf(make(window), socketBreaks)).toBe('nothing');
  });

  test('is away as well when the node of its socket is lost', () => {
    expect(active(window).happens({ ...socketBreaks, how: 'node_lost' } as Input).session).toMatchObject({
      status: 'Active',
      link: 'away',
    });
  });

  test('whose newer socket holds it: the end of the older one changes nothing', () => {
    const story = active(window).happens(socketComes);
    expect(story.count('notify')).toBe(0);
    expect(outcomeOf(story, socketBreaks)).toBe('nothing');
    expect(outcomeOf(story, { ...socketBreaks, how: 'closed' } as Input)).toBe('nothing');
  });

  test('keeps its token when it is taken over with it, and has a new one when its creation is asked for again', () => {
    expect(active(window).happens(socketComes).session.resume).toEqual({ window_ms: 60_000, token_hash: 'hash-1' });
    const again = { ...socketComes, token_hash: 'hash-2' } as Input;
    expect(active(window).happens(again).session.resume).toEqual({ window_ms: 60_000, token_hash: 'hash-2' });
    expect(active().happens(again).session.resume).toBeUndefined();
  });
});

test.each([
  ['broken', 'client_gone', 'client'],
  ['closed', 'client_ended', 'client'],
  ['refused', 'protocol_error', 'gateway'],
  ['node_lost', 'node_lost', 'gateway'],
] as const)('without a window a session whose socket is %s ends as %s', (how, reason, by) => {
  expect(active().happens({ ...socketBreaks, how } as Input).session.ended).toMatchObject({ reason, by });
});

test('who a service is in the room is its identity there, and its id where an older record has none', () => {
  const [first] = (offer('asr') as Extract<Input, { type: 'Dispatched' }>).offers;
  if (!first) throw new Error('no offer');
  const story = waiting().happens({ type: 'Dispatched', offers: [{ ...first, identity: 'agent-AJ_1' }], busy: [] });
  story.happens({ type: 'Accepted', assignment_id: 'asr-1' }, readySaid('asr'), seen('asr'));
  expect(story.session.requirements[0]?.assignment).toMatchObject({ service_id: 'asr', identity: 'agent-AJ_1', joined: false });
  story.happens(seen('agent-AJ_1'));
  expect(story.session.requirements[0]?.assignment).toMatchObject({ joined: true, suspect: undefined });
  expect(story.happens(clientEnds).session.leaving).toMatchObject([{ service_id: 'asr', identity: 'agent-AJ_1' }]);
});
