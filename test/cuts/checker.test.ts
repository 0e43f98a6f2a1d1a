import { describe, expect, test } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import { check, type Fault } from './checker.ts';
import type { ClientHistory, Truth, Writing } from './history.ts';

const at = (seq: number) => ({ seq, ts: '2030-01-01T00:00:00.000Z', session_id: 's' });
const said = (seq: number, content: string) =>
  ({ ...at(seq), type: 'MessageAdded', message_id: `m${seq}`, role: 'user', content }) as LogEvent<'MessageAdded'>;
const updated = (seq: number, version: number, ...changed: string[]) =>
  ({ ...at(seq), type: 'SessionUpdated', version, changed }) as LogEvent<'SessionUpdated'>;
const answerTo = (id: string, text: string) => ({ what: 'answer', id, text }) as const;

interface Case {
  history: ClientHistory;
  truth: Truth;
  writing: Writing;
}

/** What an honest gateway makes of a client's eight commands over two sockets, with somebody else's message and change in between. */
function honest(): Case {
  const log: LogEvent[] = [
    { ...at(1), type: 'SessionStatusChanged', from: 'Creating', to: 'Active', reason: 'ready', version: 1 } as LogEvent,
    said(2, 'ada:1'),
    updated(3, 4, 'context'),
    said(4, 'somebody:0'),
    updated(5, 6, 'context'),
    updated(6, 7, 'shares', 'visibility'),
    updated(7, 8, 'metadata'),
    updated(8, 9, 'expires_at'),
    said(9, 'ada:6'),
    updated(10, 11, 'shares'),
  ];
  const shared = { shares: { bob: 'viewer' as const }, visibility: 'shared' as const };
  const event = (seq: number) => ({ what: 'event', seq }) as const;
  return {
    history: {
      name: 'ada',
      openedSeq: 1,
      commands: [
        { wish: { do: 'say', content: 'ada:1' }, answer: { message_id: 'm2', seq: 2, duplicate: false } },
        { wish: { do: 'set', key: 'k2', value: 2 }, answer: { version: 4 } },
        { wish: { do: 'set', key: 'k3', value: 3 }, answer: { version: 6 } },
        { wish: { do: 'share', user: 'bob', role: 'viewer' }, answer: shared },
        { wish: { do: 'extend', ttl_hours: 2 }, answer: { expires_at: '2030-01-01T02:00:00.000Z' } },
        { wish: { do: 'say', content: 'ada:6', message_id: 'm9' }, answer: { message_id: 'm9', seq: 9, duplicate: false } },
        { wish: { do: 'unshare', user: 'bob' }, answer: { shares: {}, visibility: 'shared' } },
        { wish: { do: 'read' }, answer: { context: { chain: 3 } } },
      ],
      delivered: log.slice(1),
      gaps: [],
      wires: [
        {
          sent: [{ id: 'a', text: '{"type":"AddMessageRequest","id":"a"}' }],
          came: [{ what: 'opened', seq: 1 }, event(2), answerTo('a', 'told'), event(3), event(4)],
        },
        {
          sent: [{ id: 'a', text: '{"type":"AddMessageRequest","id":"a"}' }],
          came: [
            { what: 'resumed', from: 5, recovered: true, asked: 4 },
            ...[5, 6, 7].map(event),
            { what: 'complete', seq: 7 },
            answerTo('a', 'told'),
            ...[8, 9, 10].map(event),
          ],
        },
      ],
    },
    truth: {
      log,
      messages: log.flatMap((one) =>
        one.type === 'MessageAdded' ? [{ message_id: one.message_id, seq: one.seq, content: one.content }] : [],
      ),
      context: { k2: 2, k3: 3, chain: 3 },
      shares: {},
      visibility: 'shared',
      expires_at: Date.parse('2030-01-01T02:00:00Z'),
    },
    writing: { said: ['somebody:0'], changes: 1 },
  };
}

const verdictOn = ({ history, truth, writing }: Case) => check(history, truth, writing);

/** Puts an event into the log, as if something had been carried out there; its client gets it as all others. */
function insert(c: Case, place: number, event: LogEvent): void {
  const shifted = [...c.truth.log.slice(0, place - 1), event, ...c.truth.log.slice(place - 1)];
  c.truth.log = shifted.map((one, i) => ({ ...one, seq: i + 1 }));
  c.truth.messages = c.truth.log.flatMap((one) =>
    one.type === 'MessageAdded' ? [{ message_id: one.message_id, seq: one.seq, content: one.content }] : [],
  );
  c.history.delivered = c.truth.log.slice(1);
}

/** Takes an event out of the log, as if it had never been carried out. */
function remove(c: Case, place: number): void {
  c.truth.log = c.truth.log.filter(({ seq }) => seq !== place).map((one, i) => ({ ...one, seq: i + 1 }));
  c.truth.messages = c.truth.log.flatMap((one) =>
    one.type === 'MessageAdded' ? [{ message_id: one.message_id, seq: one.seq, content: one.content }] : [],
  );
  c.history.delivered = c.truth.log.slice(1);
}

const wire = (c: Case, n: number) => c.history.wires[n]?.came ?? [];

const planted: [string, Fault, (c: Case) => unknown][] = [
  ['an event that never came', 'event lost', (c) => c.history.delivered.splice(3, 1)],
  ['the last event missing', 'event lost', (c) => c.history.delivered.pop()],
  ['an event that came twice', 'event doubled', (c) => c.history.delivered.splice(3, 0, c.history.delivered[2] as LogEvent)],
  [
    'two events in the wrong order',
    'event out of order',
    (c) => c.history.delivered.splice(2, 2, c.history.delivered[3] as LogEvent, c.history.delivered[2] as LogEvent),
  ],
  ['an event that the log does not have', 'event not in the log', (c) => c.history.delivered.push(said(11, 'ghost'))],
  ['an event that says something else', 'event not in the log', (c) => c.history.delivered.splice(0, 1, said(2, 'another'))],
  ['an event from before the opening', 'event not in the log', (c) => c.history.delivered.unshift(c.truth.log[0] as LogEvent)],
  ['an event that a socket did not bring', 'event lost', (c) => wire(c, 0).splice(1, 1)],
  ['an event that a socket brought twice', 'event doubled', (c) => wire(c, 1).splice(2, 0, { what: 'event', seq: 5 })],
  ['a resume that begins too late', 'event lost', (c) => wire(c, 1).splice(0, 2, { what: 'resumed', from: 6, recovered: true, asked: 4 })],
  ['answers on a socket that is told no events', 'event lost', (c) => wire(c, 1).splice(0, 8, answerTo('a', 'told'))],
  ['a replay that ends too early', 'event lost', (c) => wire(c, 1).splice(3, 1)],
  ['an event on a socket that has no session', 'event not in the log', (c) => wire(c, 0).shift()],
  ['a message that was answered and is not there', 'command without effect', (c) => remove(c, 9)],
  ['a change that was answered and is not there', 'command without effect', (c) => remove(c, 5)],
  ['a message that is there twice', 'command doubled', (c) => insert(c, 10, { ...said(0, 'ada:6'), message_id: 'other' })],
  ['a change that was made twice', 'command doubled', (c) => insert(c, 6, updated(0, 6, 'context'))],
  ['a share that was taken back and made again', 'command doubled', (c) => insert(c, 11, updated(0, 12, 'shares'))],
  ['a message kept twice beside the log', 'state differs', (c) => c.truth.messages.push({ message_id: 'x', seq: 9, content: 'ada:6' })],
  [
    'two commands carried out in the wrong order',
    'command out of order',
    (c) => {
      const [first, second] = [c.truth.log[1], c.truth.log[2]];
      if (first && second) c.truth.log.splice(1, 2, { ...second, seq: 2 }, { ...first, seq: 3 });
    },
  ],
  ['an older value put back', 'state differs', (c) => Object.assign(c.truth.context, { chain: 2 })],
  ['a key that is gone', 'state differs', (c) => delete c.truth.context.k2],
  ['a user who is let in again', 'state differs', (c) => Object.assign(c.truth.shares, { bob: 'viewer' })],
  ['an end that is another', 'state differs', (c) => (c.truth.expires_at += 1)],
  ['a log with a hole', 'state differs', (c) => c.truth.log.splice(4, 1)],
  ['a command without an answer', 'command unanswered', (c) => delete c.history.commands[1]?.answer],
  [
    'a command that was refused',
    'command refused',
    (c) => Object.assign(c.history.commands[7] ?? {}, { error: 'RequestFailed', answer: undefined }),
  ],
  ['an answer that names another event', 'answer wrong', (c) => Object.assign(c.history.commands[0]?.answer ?? {}, { seq: 4 })],
  ['an answer that calls it a duplicate', 'answer wrong', (c) => Object.assign(c.history.commands[5]?.answer ?? {}, { duplicate: true })],
  ['an answer with another version', 'answer wrong', (c) => Object.assign(c.history.commands[1]?.answer ?? {}, { version: 5 })],
  ['an answer with a state that was not then', 'answer wrong', (c) => Object.assign(c.history.commands[3]?.answer ?? {}, { shares: {} })],
  [
    'a read that does not know what was answered before',
    'answer wrong',
    (c) => Object.assign(c.history.commands[7]?.answer ?? {}, { context: { chain: 2 } }),
  ],
  ['two answers to one command', 'answers differ', (c) => wire(c, 1).splice(5, 1, answerTo('a', 'told otherwise'))],
  [
    'a request that was sent again as another',
    'answers differ',
    (c) => c.history.wires[1]?.sent.splice(0, 1, { id: 'a', text: '{"type":"AddMessageRequest","id":"a","x":1}' }),
  ],
  ['what somebody else said is not there', 'command without effect', (c) => c.writing.said.push('somebody:1')],
  ['what somebody else said is there twice', 'command doubled', (c) => insert(c, 5, { ...said(0, 'somebody:0'), message_id: 'other' })],
  ['a change of somebody else is not there', 'command without effect', (c) => (c.writing.changes += 1)],
];

describe('the checker', () => {
  test('finds nothing in an honest history', () => {
    expect(verdictOn(honest())).toEqual({ findings: [], excused: 0 });
  });

  test.each(planted)('catches %s: %s', (_, fault, plant) => {
    const c = honest();
    plant(c);
    expect(verdictOn(c).findings.map((finding) => finding.fault)).toContain(fault);
  });

  test('excuses what the client was notified it would not get, and nothing beside it', () => {
    const c = honest();
    c.history.delivered.splice(2, 3);
    c.history.gaps = [{ from: 4, to: 6 }];
    expect(verdictOn(c)).toEqual({ findings: [], excused: 3 });
    c.history.gaps = [{ from: 4, to: 5 }];
    expect(verdictOn(c)).toMatchObject({ findings: [{ fault: 'event lost', detail: 'ada: SessionUpdated 6' }], excused: 2 });
  });
});
