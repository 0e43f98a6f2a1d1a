import { isDeepStrictEqual } from 'node:util';
import type { LogEvent } from '../../protocol/events.ts';
import type { ClientHistory, Command, Truth, Wire, Writing } from './history.ts';
import { Model, mark } from './model.ts';

export type Fault =
  | 'event lost'
  | 'event doubled'
  | 'event out of order'
  | 'event not in the log'
  | 'command without effect'
  | 'command doubled'
  | 'command out of order'
  | 'command unanswered'
  | 'command refused'
  | 'answer wrong'
  | 'answers differ'
  | 'state differs';

export interface Finding {
  fault: Fault;
  detail: string;
}

export interface Verdict {
  findings: Finding[];
  /** Events that the client was told it would not get. */
  excused: number;
}

/** Compares what a client did and was told with what its session holds in the end. Pure; `writing`: what others wrote into it. */
export function check(history: ClientHistory, truth: Truth, writing: Writing): Verdict {
  const findings: Finding[] = [];
  const add = (fault: Fault, detail: string) => findings.push({ fault, detail: `${history.name}: ${detail}` });
  checkLog(truth, add);
  const excused = checkDelivered(history, truth, add);
  checkWires(history, add);
  checkCommands(history, truth, add);
  checkWriting(truth, writing, add);
  return { findings, excused };
}

type Add = (fault: Fault, detail: string) => void;

/** The log itself has no gap and nothing twice, and the messages are those of its events. */
function checkLog({ log, messages }: Truth, add: Add): void {
  for (const [i, { seq }] of log.entries()) if (seq !== i + 1) return add('state differs', `place ${i + 1} of the log holds event ${seq}`);
  const said = log.flatMap((event) => (event.type === 'MessageAdded' ? [`${event.seq} ${event.message_id} ${event.content}`] : []));
  const kept = messages.map(({ seq, message_id, content }) => `${seq} ${message_id} ${content}`);
  if (!isDeepStrictEqual(said, kept)) add('state differs', `${said.length} messages in the log, ${kept.length} kept, or not the same`);
}

/** @returns how many events are excused */
function checkDelivered({ delivered, gaps, openedSeq }: ClientHistory, { log }: Truth, add: Add): number {
  const seen = new Set<number>();
  let last = 0;
  for (const event of delivered) {
    if (seen.has(event.seq)) add('event doubled', `${event.type} ${event.seq}`);
    else if (event.seq < last) add('event out of order', `${event.type} ${event.seq} after ${last}`);
    if (event.seq <= openedSeq || !isSame(event, log[event.seq - 1])) add('event not in the log', `${event.type} ${event.seq}`);
    seen.add(event.seq);
    last = Math.max(last, event.seq);
  }
  let excused = 0;
  for (const { seq, type } of log) {
    if (seq <= openedSeq || seen.has(seq)) continue;
    if (gaps.some(({ from, to }) => from <= seq && seq <= to)) excused += 1;
    else add('event lost', `${type} ${seq}`);
  }
  return excused;
}

/** The log holds no token: it is signed at the delivery. */
function isSame(event: LogEvent, logged: LogEvent | undefined): boolean {
  if (event.type !== 'SessionReady') return isDeepStrictEqual(event, logged);
  const { access_token: _, ...rest } = event as LogEvent & { access_token?: string };
  return isDeepStrictEqual(rest, logged);
}

/** What no client hides: each socket has every event from where it began, once and in order, and a request has one answer. */
function checkWires({ wires }: ClientHistory, add: Add): void {
  const answers = new Map<string, string>();
  const requests = new Map<string, string>();
  for (const [n, wire] of wires.entries()) {
    checkWire(wire, (fault, detail) => add(fault, `socket ${n}: ${detail}`));
    for (const { id, text } of wire.sent) {
      if ((requests.get(id) ?? text) !== text) add('answers differ', `request ${id} was sent again as another`);
      requests.set(id, text);
    }
    for (const frame of wire.came) {
      if (frame.what !== 'answer' || isRead(requests.get(frame.id))) continue;
      if ((answers.get(frame.id) ?? frame.text) !== frame.text) {
        add('answers differ', `${requests.get(frame.id)}: ${answers.get(frame.id)} and ${frame.text}`);
      }
      answers.set(frame.id, frame.text);
    }
  }
}

const isRead = (text = '') => !/"type":"(AddMessage|UpdateSession|ExtendSession|ShareSession|UnshareSession)Request"/.test(text);

function checkWire({ came }: Wire, add: Add): void {
  let next: number | undefined;
  for (const frame of came) {
    if (frame.what === 'opened') next = frame.seq + 1;
    else if (frame.what === 'resumed') {
      if (frame.recovered && frame.from !== frame.asked + 1)
        add('event lost', `asked for what is after ${frame.asked}, begun at ${frame.from}`);
      next = frame.from;
    } else if (frame.what === 'answer') {
      if (next === undefined) add('event lost', `${frame.text} on a socket that is told no events`);
    } else if (frame.what === 'complete' && frame.seq + 1 !== next) add('event lost', `complete at ${frame.seq}, where ${next} is next`);
    else if (frame.what === 'event') {
      if (next === undefined) add('event not in the log', `event ${frame.seq} on a socket without a session`);
      else if (frame.seq < next) add('event doubled', `event ${frame.seq} where ${next} is next`);
      else if (frame.seq > next) add('event lost', `event ${frame.seq} where ${next} is next`);
      next = Math.max(next ?? 0, frame.seq + 1);
    }
  }
}

/** Carries the client's commands out again, one after the other, and compares: each has one effect, at its place, and the answer that tells of it. */
function checkCommands({ name, commands }: ClientHistory, truth: Truth, add: Add): void {
  const model = new Model();
  const effects = truth.log.flatMap((event) => {
    const found = ownMark(event, name);
    return found === undefined ? [] : [{ mark: found, event }];
  });
  const expected: string[] = [];
  for (const [n, command] of commands.entries()) {
    const said = `command ${n} (${command.wish.do})`;
    if (command.error !== undefined) {
      add('command refused', `${said}: ${command.error}`);
      continue;
    }
    const effect = model.apply(command.wish);
    if (effect !== undefined) expected.push(effect);
    if (command.answer === undefined) add('command unanswered', said);
    else {
      const wrong = wrongIn(command, model, effect === undefined ? undefined : effects[expected.length - 1]?.event);
      if (wrong !== undefined) add('answer wrong', `${said}: ${wrong} ${JSON.stringify(command.answer)}`);
    }
  }
  compare(
    expected,
    effects.map(({ mark }) => mark),
    add,
  );
  const { context, shares, visibility } = model;
  const held = { context: truth.context, shares: truth.shares, visibility: truth.visibility };
  if (!isDeepStrictEqual({ context, shares, visibility }, held)) {
    add('state differs', `${JSON.stringify(held)}, not ${JSON.stringify({ context, shares, visibility })}`);
  }
  const extended = commands.findLast(({ wish, answer }) => wish.do === 'extend' && answer)?.answer;
  if (extended && Date.parse(extended.expires_at) !== truth.expires_at) {
    add('state differs', `ends at ${new Date(truth.expires_at).toISOString()}, and the last answer said ${extended.expires_at}`);
  }
}

/** Of an event that only this client's commands make. */
function ownMark(event: LogEvent, name: string): string | undefined {
  if (event.type === 'MessageAdded') return event.content.startsWith(`${name}:`) ? mark.said(event.content) : undefined;
  return event.type === 'SessionUpdated' && !event.changed.includes('metadata') ? mark.changed(event.changed) : undefined;
}

/** @returns what is wrong with a command's answer, by the event at its place and the state after it */
function wrongIn({ wish, answer = {} }: Command, model: Model, event: LogEvent | undefined): string | undefined {
  if (wish.do === 'say' && event?.type === 'MessageAdded') {
    if (answer.duplicate !== false) return 'a duplicate?';
    if (answer.seq !== event.seq || answer.message_id !== event.message_id) return `it is event ${event.seq}`;
    if (wish.message_id !== undefined && answer.message_id !== wish.message_id) return 'another id';
  }
  if (wish.do === 'set' && event?.type === 'SessionUpdated' && answer.version !== event.version) return `it made version ${event.version}`;
  // what was asked before it was carried out before it
  if (wish.do === 'read' && (answer.context?.chain ?? 0) < Number(model.context.chain ?? 0))
    return `the chain was at ${model.context.chain}`;
  if (wish.do === 'share' || wish.do === 'unshare') {
    const { shares, visibility } = answer;
    if (!isDeepStrictEqual({ shares, visibility }, { shares: model.shares, visibility: model.visibility })) return 'not the state after it';
  }
  return undefined;
}

/** Finds what is missing, what is there too often, and what stands in another place. */
function compare(expected: readonly string[], found: readonly string[], add: Add): void {
  const count = new Map<string, number>();
  for (const one of expected) count.set(one, (count.get(one) ?? 0) + 1);
  for (const one of found) count.set(one, (count.get(one) ?? 0) - 1);
  const uneven = [...count].filter(([, n]) => n !== 0);
  for (const [one, n] of uneven) add(n > 0 ? 'command without effect' : 'command doubled', `${one}: ${Math.abs(n)}`);
  const at = expected.findIndex((one, i) => one !== found[i]);
  if (uneven.length === 0 && at >= 0) add('command out of order', `${found[at]}, where ${expected[at]} was to be`);
}

/** What others wrote is there once as well. */
function checkWriting({ log }: Truth, { said, changes }: Writing, add: Add): void {
  const contents = log.flatMap((event) => (event.type === 'MessageAdded' ? [event.content] : []));
  for (const content of said) {
    const times = contents.filter((other) => other === content).length;
    if (times !== 1) add(times === 0 ? 'command without effect' : 'command doubled', `${content}: ${times} times`);
  }
  const changed = log.filter((event) => event.type === 'SessionUpdated' && event.changed.includes('metadata')).length;
  if (changed !== changes) add(changed < changes ? 'command without effect' : 'command doubled', `${changed} changes of ${changes}`);
}
