import type { Failure, FailureReason } from '../../protocol/failures.ts';
import type { Metadata, Wanted } from '../../protocol/fields.ts';
import type { EndReason, ShareRole, Status, Visibility } from '../../protocol/states.ts';

/**
 * One service's part in one session. Fields are named as on the wire; times are epoch milliseconds. Records are copied at each change,
 * and objects of one shape are copied ten times faster than such of several: each is made with all its fields, in one order, and what
 * does not hold is undefined.
 */
export interface Assignment {
  assignment_id: string;
  service_id: string;
  /** Who the service is in the room; absent in records of older code: it has the service id there, see `identityOf`. */
  identity: string | undefined;
  /** Whose credential registered the service; absent where nothing authenticates, and in records of older code. */
  subject?: string | undefined;
  /** Which registration of the service this is; a later one of the same id has a larger number. */
  incarnation: number;
  /** The node that reaches the service. */
  node_id: string | undefined;
  attempt: number;
  /** Offered: asked. Joining: accepted. Ready: serving. */
  status: 'Offered' | 'Joining' | 'Ready';
  /** It takes over from a service that was lost after Ready. */
  resuming: boolean;
  /** Its participant has been seen in the room. */
  joined: boolean;
  /** Offered: when an answer must have come. */
  offer_by: number | undefined;
  /** Not Ready: when it must be. */
  ready_by: number | undefined;
  /** Ready: how long after its offer it was. */
  ready_ms: number | undefined;
  /** Its socket or its participant went without a word; lost at this time unless it returns. */
  suspect: { cause: 'socket' | 'room'; until: number } | undefined;
}

/** A service the session asks for; pending while it has no assignment. */
export interface Requirement {
  /** Names it while nobody holds it: the id, or type=ASR,language=zh-CN. */
  key: string;
  want: Wanted;
  /** Ready waits for it. */
  required: boolean;
  /** Passed on to whoever serves it. */
  metadata: Record<string, string> | undefined;
  /** Assignments made for it so far. */
  attempt: number;
  /** Services that replaced one lost after Ready. */
  replacements: number;
  /** A service of this id has been registered at some time since the session was asked for; always true of a selector. */
  known: boolean;
  /** Services that failed it: how often in a row, and until when each is left alone. */
  rests: Record<string, { failures: number; until?: number }>;
  /** A replacement must be ready by then. */
  replace_by: number | undefined;
  /** The search for a service is over. */
  given_up: true | undefined;
  /** Why the last service did not serve, or why none was asked. */
  error: string | undefined;
  /** The same for programs; undefined: nothing has failed since one served. */
  failure: { reason: FailureReason; message?: string | undefined } | undefined;
  /** The last offer, where nobody answered it in time: it is taken yet, until another is made. */
  lapsed: Assignment | undefined;
  assignment: Assignment | undefined;
}

/** An assignment that was asked to leave and has not yet. */
export interface Leaving {
  assignment_id: string;
  service_id: string;
  /** As in Assignment. */
  identity?: string | undefined;
  incarnation: number;
  /** The node that reaches the service. */
  node_id?: string | undefined;
}

/** The LiveKit room. Its state is written before the call it names is made, so that whoever finds the record can finish the work. */
export interface Room {
  /** What LiveKit calls it. */
  name: string;
  /** The chosen name, where LiveKit's is another: a chosen name comes again, and old tokens must not open the next room. */
  label: string | undefined;
  /** Where clients and services join it. */
  livekit_url: string;
  /** The client chose the name: another session may ask for the same. */
  chosen: boolean;
  state: 'creating' | 'open' | 'deleting' | 'deleted';
  /** Known to have existed: the gateway made it, or a look at LiveKit found it. */
  seen: boolean;
  /** Seconds LiveKit keeps it without anybody, counted from its making. */
  empty_timeout: number;
  /** Seconds LiveKit keeps it after the last one left. */
  departure_timeout: number;
  /** A user has been in it. */
  user_seen: boolean;
  /** Creating in vain or deleting: when a deletion is (again) due. */
  delete_at: number | undefined;
  delete_attempts: number;
}

/** Why a room could not be created, as clients see it. */
export interface RoomFailure {
  code: 'LIVEKIT_ERROR' | 'ROOM_NAME_IN_USE';
  message: string;
  /** Absent: as the code says. */
  retryable?: false;
}

export interface Participant {
  identity: string;
  sid: string;
  kind: string;
  joined_at: number;
}

/** A change that the client asked for. */
export interface Remembered {
  /** Of the whole request, id and all. */
  hash: string;
  /** What was answered, without what any answer to it says. */
  outcome: Record<string, unknown>;
  /** Of the outcome, as JSON. */
  bytes: number;
}

/** Absolute times at which something happens to the session by itself. */
export interface Deadlines {
  /** The room must be there. */
  create?: number | undefined;
  /** Its client, away, must have come back. */
  resume?: number | undefined;
  /** Every required id must have been registered. */
  registration?: number | undefined;
  /** That no service fits is said then: another node may know one. */
  look?: number | undefined;
  /** Every required service must be ready. */
  join?: number | undefined;
  /** The user must have come. */
  client_join?: number | undefined;
  /** The user must have come back. */
  rejoin?: number | undefined;
  /** The session's life ends. */
  expiry?: number | undefined;
  /** The wait for services asked to leave is over. */
  leave?: number | undefined;
  /** Terminating becomes Terminated whatever is left to do. */
  end?: number | undefined;
  /** The end by `expiry` is announced. */
  expiring?: number | undefined;
  /** A client-chosen room name that LiveKit uses as it is may be used again. */
  release_name?: number | undefined;
  /** The record is dropped. */
  forget?: number | undefined;
}

/** Everything the gateway knows of a session; written only by a commit. Treated as immutable once saved. */
export interface Session {
  session_id: string;
  /** Grows by one with each commit. */
  version: number;
  /** Of the commit that wrote it: a commit whose answer was lost is known again by it. */
  commit_id: string;
  /** The last event in its log. */
  seq: number;
  status: Status;
  health: 'ok' | 'degraded';
  /** Whether a client socket holds it; away: its socket broke, and it may come back. */
  link: 'attached' | 'away' | 'none';
  /** The node whose socket holds it, or held it last. */
  node_id: string | undefined;
  /** That socket. */
  connection_id: string | undefined;
  /** How its client may come back after a broken socket, and the hash of the token for that once one was given; absent: it ends with its socket. */
  resume: { window_ms: number; token_hash?: string } | undefined;
  /** What its client asked for lately and got: answered again, not done again, when an answer was lost. */
  remembered: readonly Remembered[] | undefined;
  owner_id: string | undefined;
  /** Who asked for it, where there are credentials: it may resume it too. */
  opened_by?: string | undefined;
  user_identity: string | undefined;
  user_name: string | undefined;
  /** What LiveKit shows of the user besides. */
  user_metadata: string | undefined;
  user_attributes: Record<string, string> | undefined;
  workspace_dir: string | undefined;
  metadata: Metadata;
  /** What its users keep with it; JSON. */
  context: Record<string, unknown>;
  /** Who besides the owner may read it: nobody, those it is shared with, everybody. */
  visibility: Visibility;
  /** With whom it is shared, by user, and as what. */
  shares: Record<string, ShareRole>;
  /** How many messages it holds. */
  messages: number;
  token_policy: 'on_ready' | 'immediate';
  on_join_timeout: 'fail' | 'degrade';
  on_service_loss: 'replace' | 'degrade' | 'terminate';
  join_timeout_ms: number;
  client_join_timeout_ms: number | undefined;
  room: Room | undefined;
  requirements: Requirement[];
  leaving: Leaving[];
  participants: Participant[];
  deadlines: Deadlines;
  expiry_reason: 'ttl' | 'duration_limit';
  /** Names nobody else may hold while this record does; the store refuses a second holder. */
  claims: string[];
  /** Its creation may be asked for again: the claim of the key, and the hash of what was asked for. `until_joined`: not once its user was in the room. */
  idempotency: { claim: string; hash: string; until_joined?: true | undefined } | undefined;
  timings: { room_ms: number | undefined; services_ms: number | undefined; total_ms: number | undefined };
  created_at: number;
  updated_at: number;
  expires_at: number;
  /** Set on entering Terminating, or on a failed creation. */
  ended:
    | {
        reason: EndReason;
        by: 'client' | 'gateway';
        at: number;
        /** The required services that were not ready then, where it ended for them. */
        missing: string[];
        /** Why each of them was not. */
        failures?: Failure[] | undefined;
        /** Why its room could not be created. */
        error?: RoomFailure | undefined;
      }
    | undefined;
}

/** Nothing by name, in a record: the same for all records, which are not changed once they are saved. */
export const empty: Record<string, never> = Object.freeze({});

/** What clients and services know a room by. */
export const labelOf = ({ name, label }: Pick<Room, 'name' | 'label'>) => label ?? name;

/** What claims a client-chosen room name. */
export const roomClaim = (name: string) => `room:${name}`;

/** The claims without that of a room's name. */
export const withoutRoomClaim = (claims: string[]) => claims.filter((claim) => !claim.startsWith(roomClaim('')));

/** How long the room waits for its user, who may come back with the client. */
export const rejoinMs = ({ resume }: Pick<Session, 'resume'>) => Math.max(20_000, (resume?.window_ms ?? 0) + 10_000);

export const isEnded = (session: Session) => session.status === 'Terminating' || session.status === 'Terminated';

export const isServing = ({ assignment }: Requirement) => assignment?.status === 'Ready' && assignment.suspect === undefined;

/** Nobody holds it, and somebody is looked for. */
export const isPending = ({ assignment, given_up }: Requirement) => assignment === undefined && given_up === undefined;

/** No service is there that could be asked. */
export const isGone = (failure: Requirement['failure']) => failure?.reason === 'lost' || failure?.reason === 'never_registered';

/** Who the service of an assignment is in the room. */
export const identityOf = ({ identity, service_id }: Pick<Leaving, 'identity' | 'service_id'>) => identity ?? service_id;

/** How a requirement is listed: by the service that holds it, else by what was asked for. */
export const nameOf = ({ assignment, key }: Requirement) => assignment?.service_id ?? key;

export const allServe = (session: Session) => session.requirements.every((r) => !r.required || isServing(r));

/** Names of the required services that do not serve. */
export const missing = (session: Session) => session.requirements.filter((r) => r.required && !isServing(r)).map(nameOf);

/** Why each of them does not. */
export const failures = (session: Session): Failure[] =>
  session.requirements
    .filter((r) => r.required && !isServing(r))
    .map((r) => ({ service: nameOf(r), ...(r.failure?.message === undefined ? stateOf(r) : r.failure) }));

/** What a requirement that nobody serves waits for; a service's own words say more. */
function stateOf({ assignment, failure, known }: Requirement): { reason: FailureReason } {
  if (assignment?.suspect) return { reason: 'lost' };
  if (assignment) return { reason: assignment.status === 'Offered' ? 'no_answer' : 'not_ready' };
  return failure ?? { reason: known ? 'not_ready' : 'never_registered' };
}

export const userIsIn = (session: Session) => session.participants.some((p) => p.identity === session.user_identity);

export function assignments(session: Session): Assignment[] {
  const found: Assignment[] = [];
  for (const { assignment } of session.requirements) if (assignment) found.push(assignment);
  return found;
}

/** The next time something is due for this session; Infinity: never. */
export function dueAt(session: Session): number {
  let due = session.room?.delete_at ?? Number.POSITIVE_INFINITY;
  const { deadlines } = session;
  for (const name in deadlines) due = Math.min(due, deadlines[name as keyof Deadlines] ?? due);
  for (const requirement of session.requirements) {
    const { replace_by, assignment, rests } = requirement;
    due = Math.min(due, replace_by ?? due, assignment?.offer_by ?? due, assignment?.ready_by ?? due, assignment?.suspect?.until ?? due);
    if (isPending(requirement)) for (const { until } of Object.values(rests)) due = Math.min(due, until ?? due);
  }
  return due;
}
