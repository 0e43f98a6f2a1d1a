import type { ErrorCode } from '../../protocol/errors.ts';
import type { LogEvent } from '../../protocol/events.ts';
import type { EndReason } from '../../protocol/states.ts';
import type { ContentInput } from './content.ts';
import type { Effect } from './draft.ts';
import type { Fault } from './readiness.ts';
import type { Assignment, Participant, RoomFailure, Session } from './record.ts';

/** A service that would take the requirement at this place; its slot is taken. */
export interface Offer extends Pick<Assignment, 'assignment_id' | 'service_id' | 'identity' | 'subject' | 'incarnation'> {
  requirement: number;
  /** How long its service may take to answer. */
  offerMs: number;
}

/** Whose credential says it; absent where nothing authenticates. */
interface Said {
  subject?: string | undefined;
}

/** Everything that can happen to a session. */
export type Input =
  /** `made` by a call; else it is created when somebody joins. */
  | { type: 'RoomCreated'; made: boolean }
  /** `made`: the room may exist anyway. Clients see `message`. */
  | { type: 'RoomFailed'; code: RoomFailure['code']; message: string; retryable?: false; made: boolean }
  | { type: 'RoomDeleted' }
  | { type: 'RoomDeleteFailed' }
  /**
   * What the dispatcher found: services that take a requirement; places (of requirements) for which all that fit are busy, and those for which
   * none is registered. `lookMs`: another node may know one, and has this long to offer it.
   */
  | { type: 'Dispatched'; offers: Offer[]; busy: number[]; unfit?: number[]; lookMs?: number; node_id?: string }
  /** `late`: the offer has timed out, and this registration (its incarnation) took its slot again. */
  | { type: 'Accepted'; assignment_id: string; late?: number }
  /** `unsure`: it may have taken the offer anyway. */
  | ({ type: 'Declined'; assignment_id: string; unsure?: boolean; retry_after_ms?: number } & Fault)
  /** `incarnation` absent: reported by somebody else in the service's name. */
  | ({ type: 'ServiceReady'; service_id: string; assignment_id?: string; incarnation?: number; node_id?: string; late?: number } & Said)
  /** `incarnation`, `node_id`: the registration that it is about; absent: whoever holds it. */
  | ({ type: 'ServiceFailed'; assignment_id: string; incarnation?: number; node_id?: string } & Fault)
  | { type: 'ServiceLeft'; assignment_id: string; clean: boolean }
  /** The service's socket broke. */
  | { type: 'ServiceGone'; assignment_id: string; incarnation: number; node_id?: string }
  /** The service registered again and still holds this. */
  | ({ type: 'ServiceBack'; assignment_id: string; service_id: string; incarnation: number; node_id?: string; again?: true } & Said)
  | { type: 'RoomSeen'; participants: readonly Participant[] }
  | { type: 'RoomGone' }
  /** LiveKit has been out of reach for too long. */
  | { type: 'LiveKitLost' }
  /** A client's socket holds it from now on. `token_hash`: of the only resume token that counts from now on; absent: as before. */
  | { type: 'Attached'; node_id: string; connection_id: string; token_hash?: string }
  /** That socket has ended: on purpose, by accident, because the gateway refused what it sent, or together with its node. Nothing where another one holds the session by now. */
  | { type: 'Detached'; connection_id: string; how: 'closed' | 'broken' | 'refused' | 'node_lost' }
  /** Its user asked for a token again, and is to have the time to join with it. */
  | { type: 'UserAsked' }
  /** Somebody changes its content. `command`: the hash of the request, where its outcome is to be remembered. */
  | (ContentInput & { command?: string | undefined })
  | { type: 'End'; reason: EndReason; by: 'client' | 'gateway' }
  /** Whoever waits for it to be ready gives up. */
  | { type: 'JoinTimeout' }
  /** Finish an end under way now: do not wait for services to leave. */
  | { type: 'StopWaiting' }
  /** Some deadline may have passed. */
  | { type: 'Tick' };

/** What the session does about it: a changed record with its events and effects, or a refusal, which changes nothing. */
export type Decision =
  | { ok: true; changed: boolean; session: Session; events: LogEvent[]; effects: Effect[] }
  | { ok: false; code: ErrorCode; message: string };

/** What becomes of one of several inputs. `session`: as it is after it. */
export type Result = { ok: true; changed: boolean; session: Session } | { ok: false; error: unknown };

/** The combined effect of several inputs on one session, with a result for each. */
export interface Changes {
  session: Session;
  events: readonly LogEvent[];
  effects: readonly Effect[];
  results: readonly Result[];
}

export interface Timeouts {
  registrationMs: number;
  /** How many messages a session may hold; absent: no limit. */
  maxMessages?: number;
}
