import type { Logger } from 'pino';
import type { LogEvent } from '../../protocol/events.ts';
import type { Status } from '../../protocol/states.ts';
import type { Clock } from '../clock.ts';
import type { Effect } from './draft.ts';
import type { Input } from './inputs.ts';
import type { NotificationType } from './notifications.ts';
import type { Assignment, Leaving, Participant, Room, Session } from './record.ts';

/** Somebody else committed first: load again and decide anew. */
export class VersionConflict extends Error {}

/** A name in `claims` is held by another session. */
export class ClaimTaken extends Error {
  readonly claim: string;
  constructor(claim: string) {
    super(`${claim} is held by another session`);
    this.claim = claim;
  }
}

/** Which sessions to list; what is absent does not matter. */
export interface SessionFilter {
  owner_id?: string | undefined;
  status?: Status | undefined;
  /** Sessions that have all of these in metadata.tags. */
  tags?: readonly string[] | undefined;
  limit: number;
  offset: number;
  /** Only those that come after this one in the list. */
  before?: { created_at: number; session_id: string } | undefined;
}

/** A provider that has it at hand need not make a promise of it. */
type MaybePromise<T> = T | Promise<T>;

/**
 * How many of a session's newest events each provider keeps. A client or watcher that was away is sent them from where it left off, and one that
 * missed more starts anew from a snapshot: enough for minutes of lively talk, and bounded for sessions that last for days.
 */
export const maxEvents = 512;

/** What a storage holds. */
export interface Statistics {
  sessions: number;
  /** Sessions in each status; a status without any may be absent. */
  by_status: Partial<Record<Status, number>>;
  messages: number;
}

export type Message = LogEvent<'MessageAdded'>;

/**
 * Called with the session that may have news, so that one function can serve all of them, and with the `commit_id` of what was written where
 * that is known: whoever wrote it has no need to read it.
 */
export type Wake = (id: string, commit_id?: string) => void;

/**
 * Where sessions and their logs live: what a provider implements. Every provider passes test/store/contract.ts.
 * Records, events and lists given and returned are never changed by either side. Every call ends within the provider's time limit.
 * @throws StorageError from every call
 */
export interface StoreProvider {
  /** Several gateways may use it at once, and what it holds outlives them; absent: it is one gateway's alone, which ends its sessions when it stops. */
  readonly shared?: boolean;
  /**
   * The commit, and the only write of a record: puts record and events if the stored version is `expected` (0: must not exist).
   * Repeating it has one effect: where the stored record has this one's version and commit_id, it succeeds and changes nothing.
   * Events that are MessageAdded are kept as messages as well.
   * @throws VersionConflict the stored version is another
   * @throws ClaimTaken a claim of the record is held by another session
   */
  saveSession(session: Session, expected: number, events: readonly LogEvent[]): Promise<void>;
  loadSession(id: string): Promise<Session | undefined>;
  /** Drops record, log, messages and claims. Succeeds where there is none. */
  deleteSession(id: string): Promise<void>;
  /** The session that holds a claim. */
  holderOf(claim: string): Promise<string | undefined>;
  /** Sessions that fit, by created_at and then session_id, the largest first. */
  listSessions(filter: SessionFilter): Promise<readonly Session[]>;
  getStatistics(): Promise<Statistics>;
  /** At most `limit` events after `seq`, in order and without a gap; undefined: some of them were dropped. The last `maxEvents` are kept. */
  eventsAfter(id: string, seq: number, limit: number): MaybePromise<readonly LogEvent[] | undefined>;
  /** At most `limit` messages after `seq`, in order. They are kept as long as the record. */
  messagesAfter(id: string, seq: number, limit: number): Promise<readonly Message[]>;
  findMessage(id: string, message_id: string): Promise<Message | undefined>;
  /** Forgets what was said: the messages are gone, and their events in the log keep their place with an empty content. */
  dropMessages(id: string): Promise<void>;
  /**
   * Calls `wake` after commits to this session, which must exist, also of other nodes. May wake for nothing, must not miss forever.
   * A function is one subscriber of a session, however often it is given.
   */
  subscribe(id: string, wake: Wake): void;
  /** Ends the subscription. Succeeds where there is none. */
  unsubscribe(id: string, wake: Wake): void;
  /** Ids of sessions whose `dueAt` is `before` or earlier, the earliest first, at most `limit`. May name some a tenth of a second early, or for nothing. */
  due(before: number, limit: number): Promise<readonly string[]>;
  /** Writes a node's heartbeat, valid until then, epoch ms; nodes whose heartbeat has expired are dropped. */
  beat(nodeId: string, until: number): Promise<void>;
  /** The nodes with a valid heartbeat at this time, epoch ms. */
  nodes(now: number): Promise<readonly string[]>;
  /** Whether the storage answers now. Rejects where it does not. */
  ping(): Promise<void>;
  /** What deletes a running session's record in this storage, to follow "something deletes records, as" in the log; absent: nothing is known of it. */
  readonly deletedBy?: string;
  /** What an operator should change about the storage, a sentence each; absent or empty: nothing. */
  warnings?(): readonly string[];
  /** Ends connections; calls after it reject. */
  close(): Promise<void>;
}

/** What a provider is made with. */
export interface StoreOptions {
  /** Which storage, as configured: memory:, redis://..., postgres://... */
  url: string;
  /** In front of every key, channel and the like. */
  keyPrefix: string;
  /** What one call may take. */
  timeoutMs: number;
  clock: Clock;
  log: Logger;
}
/** Makes a provider. Does not fail because the storage is down: its calls do, until it is back. */
export type StoreFactory = (options: StoreOptions) => Promise<StoreProvider>;

/** A provider with the verbs that are the same for all. */
export interface SessionStore extends StoreProvider {
  readonly shared: boolean;
  warnings(): readonly string[];
  /** Drops the records whose time as a tombstone is over, at most `limit`. @returns how many */
  cleanExpiredSessions(limit?: number): Promise<number>;
}

/**
 * LiveKit answered that it will not, or did not answer. Its message is the operator's: it may name hosts and what LiveKit said.
 * unauthorized: the key, the secret or a clock is wrong, so that nothing works. unreachable: no answer, or a server that fails.
 */
export class RoomsError extends Error {
  readonly kind: 'unreachable' | 'unauthorized' | 'busy' | 'refused' | 'not_found';
  /** No answer came: the call may have had its effect anyway. */
  readonly unknownOutcome: boolean;
  constructor(kind: RoomsError['kind'], message: string, unknownOutcome: boolean) {
    super(message);
    this.kind = kind;
    this.unknownOutcome = unknownOutcome;
  }

  /** Whether the same may work later without anybody's help. */
  get isPassing(): boolean {
    return this.kind === 'unreachable' || this.kind === 'busy';
  }
}

/** A room of that name exists and is not this session's. */
export class RoomNameTaken extends Error {}

/** Whether LiveKit answers. */
export interface Reach {
  /** It has answered at least once. */
  ever: boolean;
  /** Since when it does not, epoch ms; undefined: it answered the last call, or none was made. */
  downSince: number | undefined;
}

/** How long a token lives, where its session does not end before: LiveKit gives whoever joined with one newer ones. */
export const tokenLifeMs = { client: 6 * 3_600_000, manager: 600_000 };

/** Somebody else than the session's user. */
export interface Guest {
  identity: string;
  name?: string | undefined;
  metadata?: string | undefined;
  attributes?: Record<string, string> | undefined;
  /** Whether it is heard and seen; else it only hears and sees. */
  speaks: boolean;
}

/** The rooms on LiveKit. Every call ends within its own deadline. */
export interface Rooms {
  /** Where clients and services join. */
  readonly url: string;
  readonly reach: Reach;
  /** on_join: LiveKit creates rooms when somebody joins, and `create` does nothing. */
  readonly mode: 'create' | 'on_join';
  /** Whether no room can be there to be deleted: none is made by a call, and no server has ever answered, of late either. */
  readonly isNowhere: boolean;
  /** Makes the session's room; succeeds again. @throws RoomsError @throws RoomNameTaken */
  create(room: Room, sessionId: string): Promise<void>;
  /** Deletes a room by LiveKit's name for it; succeeds where there is none. @throws RoomsError */
  remove(name: string): Promise<void>;
  /** Who is in the room of that name; undefined: there is none. @throws RoomsError */
  participants(name: string): Promise<Participant[] | undefined>;
  /** Every room there is, with what it says of itself. @throws RoomsError */
  list(): Promise<{ name: string; metadata: string }[]>;
  /** Whether LiveKit answers now. */
  ping(): Promise<boolean>;
  /** A token that lets the user in, or a guest, until the session expires; 6 h at most. */
  clientToken(session: Session, wish?: { lifeMs?: number; guest?: Guest | undefined }): Promise<string>;
  /** A token that lets a service in under its identity in the room, as an agent. */
  serviceToken(session: Session, identity: string): Promise<string>;
  /** A token that administers the room unseen, for 10 min. */
  managerToken(session: Session): Promise<string>;
}

/** What a commit did. */
export interface Commit {
  /** The record that it was decided on; undefined: it created the session. Of a remote one: as this node knew it. */
  before: Session | undefined;
  session: Session;
  /** Those that it added to the log, in order; none of a remote one. */
  events: readonly LogEvent[];
  /** Those that this node carries out. */
  effects: readonly Effect[];
  /** How often it had to be decided again because another one was first. */
  conflicts: number;
  /** How long its write took. */
  ms: number;
  /** Another node wrote it, or an earlier run. */
  remote: boolean;
}

/** Services that take what a session waits for. */
export type Found = Extract<Input, { type: 'Dispatched' }>;

/** Sends services what sessions want of them. */
export interface ServiceCommands {
  /** Sends a JoinRoomRequest. */
  offer(session: Session, assignment: Assignment): Promise<void>;
  /** Sends a LeaveRoomRequest, where the service can still be reached. */
  leave(sessionId: string, assignment: Leaving, reason: string): void;
  /** Reports to the session's services how this stands, where they can be reached. */
  notify(session: Session, what: NotificationType): void;
}

/** The services that can be asked to join. */
export interface Offers {
  /** Every service that would take a session now. */
  available(): string[];
  /** Every registered service that can be reached. */
  registered(): string[];
  /** Looks for services that take the session's pending requirements, and reserves their slots. @returns what was found, as an input of the session; undefined: nothing */
  reserve(session: Session): Found | undefined;
  /** As `reserve`, and applies it to the session. */
  dispatch(session: Session): Promise<void>;
  readonly commands: ServiceCommands;
  /** Frees the assignment's slot. `isLapsed`: its offer was not answered in time, and may be yet. */
  release(sessionId: string, assignment: Leaving, isLapsed?: boolean): void;
}
