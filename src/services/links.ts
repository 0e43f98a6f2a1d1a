import type { Command, CommandType } from '../../protocol/commands.ts';
import { leaveMs } from '../../protocol/times.ts';
import type { Fault } from '../sessions/readiness.ts';

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
  /** Whether leaving is answered by ServiceLeft; where it is not, a service counts as gone once it was notified. */
  readonly saysLeft: boolean;
}

/** A service answers an offer by starting or refusing it: 10 s is what loading a small model may take, and short beside the time to join (60 s). */
export const offerMs = 10_000;

/**
 * How each command goes over HTTP: the setting with the path below a service's endpoint, that path if nobody sets one, and what one call may
 * take. The settings are made from these rows.
 */
export const httpCommands = {
  JoinRoomRequest: {
    setting: 'join_path',
    path: '/join',
    about: "Path, below a service's endpoint, of the call that offers it a session",
    timeoutMs: offerMs,
  },
  LeaveRoomRequest: {
    setting: 'leave_path',
    path: '/leave',
    about: "Path, below a service's endpoint, of the call that asks it to leave",
    timeoutMs: leaveMs,
  },
  ClientPresence: {
    setting: 'presence_path',
    path: '/presence',
    about: "Path, below a service's endpoint, of the call that notifies it that the client is away or back",
    timeoutMs: 3_000,
  },
} as const satisfies Record<CommandType, { setting: `${string}_path`; path: `/${string}`; about: string; timeoutMs: number }>;

/** Where below its endpoint a service takes what, by setting. */
export type EndpointPaths = Readonly<Record<(typeof httpCommands)[CommandType]['setting'] | 'health_path', string>>;

/** An address below a service's endpoint. */
export const below = (endpoint: string, path: string) => endpoint.replace(/\/$/, '') + path;

/** Whether both are at the same address, however it ends. */
export const isSameEndpoint = (one: Endpoint | undefined, other: Endpoint | undefined) =>
  one !== undefined && other !== undefined && below(one.url, '') === below(other.url, '');
