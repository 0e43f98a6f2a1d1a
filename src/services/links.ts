import { Close, type CloseReason } from '../../protocol/close.ts';
import type { Command, CommandType } from '../../protocol/commands.ts';
import { leaveMs } from '../../protocol/times.ts';
import type { Fault } from '../sessions/readiness.ts';
import type { Calls, Outbound, Reply } from './outbound.ts';

/**
 * What became of an offer on its way: `sent` is answered later, by a frame; `unsure`: the service may have taken it anyway; `aborted`: nobody
 * waits for it now. `detail` is for the operator: it may name addresses, and what was answered there.
 */
export type Delivery =
  | { outcome: 'sent' }
  | { outcome: 'accepted' }
  | { outcome: 'aborted' }
  | ({ outcome: 'refused'; detail?: string; unsure?: boolean; retry_after_ms?: number } & Fault);

/** Every command but the offer, whose answer is waited for. */
export type SentCommand = Command<Exclude<CommandType, 'JoinRoomRequest'>>;

/** Where a service is called. It cannot say itself whether it is there, and is asked. */
export interface Endpoint {
  readonly url: string;
  /** Whether anything answers there now. Never rejects. */
  answers(): Promise<boolean>;
  /** A new link to it. */
  link(): Link;
}

/** How a service is reached. */
export interface Link {
  /** Absent: the service has connected, and the end of its connection says that it is gone. */
  readonly endpoint?: Endpoint;
  /** How long the service may take to answer an offer. */
  readonly offerMs: number;
  /** `over` is aborted when the assignment ends; absent where the answer comes as a frame. */
  offer(command: Command<'JoinRoomRequest'>, over?: AbortSignal): Promise<Delivery>;
  /** Sends a command once, and does not wait until it arrives. */
  send(command: SentCommand): void;
  /** Another registration has taken its place. */
  replaced(): void;
  /** Whether leaving is answered by ServiceLeft; where it is not, a service that was notified counts as gone. */
  readonly saysLeft: boolean;
}

/** A socket, as a service is reached over it. */
export interface ServicePeer {
  /** Queues a command; false: it is too late to send it. */
  send(command: Command): boolean;
  close(reason: CloseReason): void;
}

/** A service answers an offer by starting or refusing it: 10 s is what loading a small model may take, and short beside the time to join (60 s). */
const offerMs = 10_000;

export const socketLink = (peer: ServicePeer): Link => ({
  offerMs,
  offer: async (command) =>
    peer.send(command) ? { outcome: 'sent' } : { outcome: 'refused', reason: 'lost', error: 'the offer could not be sent' },
  send: (command) => void peer.send(command),
  replaced: () => peer.close(Close.TakenOver),
  saysLeft: true,
});

/**
 * How each command goes over HTTP: the setting with the path below a service's endpoint, that path if nobody sets one, and what one call may
 * take. The settings are made from these rows.
 */
export const httpCommands = {
  JoinRoomRequest: {
    setting: 'join_path',
    path: '/join',
    about: 'Path below the endpoint of a service where it is asked to join',
    timeoutMs: offerMs,
  },
  LeaveRoomRequest: { setting: 'leave_path', path: '/leave', about: 'Path where it is asked to leave', timeoutMs: leaveMs },
  ClientPresence: {
    setting: 'presence_path',
    path: '/presence',
    about: 'Path where it is notified that the client is away or back',
    timeoutMs: 3_000,
  },
} as const satisfies Record<CommandType, { setting: `${string}_path`; path: `/${string}`; about: string; timeoutMs: number }>;

/** Where below its endpoint a service takes what, by setting. */
export type EndpointPaths = Readonly<Record<(typeof httpCommands)[CommandType]['setting'] | 'health_path', string>>;

const probeMs = 5_000;

const at = (endpoint: string, path: string) => endpoint.replace(/\/$/, '') + path;

/** Whether both are at the same address, however it ends. */
export const isSameEndpoint = (one: Endpoint | undefined, other: Endpoint | undefined) =>
  one !== undefined && other !== undefined && at(one.url, '') === at(other.url, '');

export function httpLink(endpoint: string, paths: EndpointPaths, outbound: Outbound): Link {
  const calls: Calls = outbound.calls(endpoint);
  const urlOf = (type: CommandType) => at(endpoint, paths[httpCommands[type].setting]);
  return {
    endpoint: {
      url: endpoint,
      answers: async () => !('error' in (await outbound.get(at(endpoint, paths.health_path), probeMs))),
      link: () => httpLink(endpoint, paths, outbound),
    },
    offerMs,
    async offer({ type, ...fields }, over) {
      const reply = await calls.request(urlOf(type), fields, httpCommands[type].timeoutMs, over);
      return over?.aborted ? { outcome: 'aborted' } : delivery(reply, endpoint);
    },
    send({ type, ...fields }) {
      void calls.notify(urlOf(type), fields, httpCommands[type].timeoutMs);
    },
    replaced() {},
    saysLeft: false,
  };
}

type Answer = Exclude<Reply, { error: string }>;

const maxPauseMs = 600_000;
const pause = (ms: unknown) => (typeof ms === 'number' && ms >= 0 ? { retry_after_ms: Math.min(ms, maxPauseMs) } : {});
const noAnswer = { reason: 'no_answer', error: 'the service did not answer the offer', unsure: true } as const;

/** What Retry-After asks for: seconds, or a date of the clock that the answer's own Date is of (RFC 9110, 10.2.3). */
function askedPause({ date, 'retry-after': asked }: Answer['headers']) {
  if (asked === undefined) return {};
  const text = String(asked);
  if (!/^[a-z]/i.test(text)) return pause(Number(text) * 1_000);
  const now = Date.parse(String(date));
  // the oldest form of a date names no zone
  const then = Date.parse(/GMT$/.test(text) ? text : `${text} GMT`);
  return pause(then - (Number.isNaN(now) ? Date.now() : now));
}

/** What an answer to an offer means. Its status and text are for the operator: an endpoint may lead anywhere. */
function delivery(reply: Reply, endpoint: string): Delivery {
  if ('error' in reply) return { outcome: 'refused', ...noAnswer, unsure: !reply.isUnsent, detail: `${endpoint}: ${reply.error}` };
  const { status, headers, text } = reply;
  const body = fieldsOf(text);
  const said = typeof body?.reason === 'string' ? body.reason.slice(0, 400) : undefined;
  const refusal = { reason: 'declined', error: said ?? 'the service declined', isSaid: said !== undefined } as const;
  if (status >= 200 && status < 300) {
    if (text === '' || (body && (body.accepted === undefined || body.accepted === true))) return { outcome: 'accepted' };
    if (body?.accepted === false) return { outcome: 'refused', ...refusal, ...pause(body.retry_after_ms) };
    // what cannot be read is no consent
    const error = 'the answer of the service could not be read';
    return { outcome: 'refused', ...noAnswer, error, detail: `${endpoint} answered ${status}: ${whyUnread(reply)}` };
  }
  const detail = `${endpoint} answered ${status}`;
  if (status === 409 || status === 429 || status === 503) {
    return { outcome: 'refused', ...refusal, ...askedPause(headers), detail };
  }
  return { outcome: 'refused', reason: 'failed', error: 'the service refused the offer', detail };
}

/** The fields of a JSON object; undefined: it is none. */
function fieldsOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const whyUnread = ({ headers, text }: Answer) =>
  headers['content-encoding'] !== undefined
    ? `content-encoding ${headers['content-encoding']} was not asked for`
    : fieldsOf(text)
      ? 'accepted is neither true nor false'
      : 'the body is not a JSON object';
