// Made by `npm run docs` from the rows of requests, answers, events and commands. What zod infers from those has the same types, but not the
// texts, which an editor is to show. They are no interfaces, as those cannot be given where any object of texts or JSON is taken.
import type { FailureReason } from './failures.ts';
import type { Availability, EndReason, ServiceStatus as ServiceState, Status as SessionStatus, ShareRole, Visibility } from './states.ts';

/** A heartbeat; for browsers, which do not see WebSocket pings. */
export type Ping = {
  /** Comes back in Pong */
  t?: number | undefined;
};

export type SessionMetadata = {
  /** Labels to find sessions by */
  tags?: string[] | undefined;
  /** Seconds the session may last, as a number or a string */
  duration_limit?: number | string | undefined;
  [key: string]: string | number | boolean | string[] | undefined;
};

export type WantedService = string | Record<string, string>;

/** Opens a session and binds it to this socket. With a user_identity the session has a LiveKit room, unless room is false. */
export type NewSessionRequest = {
  /** The user's identity in the room; owns the session */
  user_identity?: string | undefined;
  /** The user's display name in the room */
  user_name?: string | undefined;
  /** An existing folder inside the allowed roots */
  workspace_dir?: string | undefined;
  /** false: no LiveKit room. Default on the wire: true */
  room?: boolean | undefined;
  /** Default: room-{session_id} */
  room_name?: string | undefined;
  /** What the session is about; values are kept as strings. Default on the wire: {} */
  metadata?: SessionMetadata | undefined;
  /** What must be ready; absent: every service available now, of which there may be 32; []: nothing */
  required_services?: WantedService[] | undefined;
  /** What is asked as well; Ready does not wait for it. Default on the wire: [] */
  optional_services?: WantedService[] | undefined;
  /** When not all are ready in time: end, or go on without the missing ones if at least one is ready. Default on the wire: "fail" */
  on_join_timeout?: 'fail' | 'degrade' | undefined;
  /** When a required service is lost after Ready: find another, go on without it, or end. Default on the wire: "replace" */
  on_service_loss?: 'replace' | 'degrade' | 'terminate' | undefined;
  /** Seconds the services have until all are ready; default 60 */
  join_timeout_s?: number | undefined;
  /** Seconds the user has to join after Ready; default: as long as the room's empty timeout allows */
  client_join_timeout_s?: number | undefined;
  /** Hours the session may last; default 24 */
  ttl_hours?: number | undefined;
  /** When the access token is given: with Ready, or in the answer at once. Default on the socket: on_ready */
  token_policy?: 'on_ready' | 'immediate' | undefined;
  /** Seconds the session waits for its client after a broken socket; 0: it ends with its socket. Default on the wire: 0 */
  resume_window_s?: number | undefined;
  /** Who besides the owner may read it: nobody, those it is shared with, everybody. Default on the wire: "private" */
  visibility?: Visibility | undefined;
  /** The same key and body again give the same session while it lives */
  idempotency_key?: string | undefined;
};

/** Takes a session over on this socket and asks for the events since the last one that came. Refused, it changes nothing. */
export type ResumeRequest = {
  /** The session */
  session_id: string;
  /** As NewSessionResponse gave it */
  resume_token: string;
  /** The seq of the last event that came; 0: none did */
  last_seq: number;
};

/** Asks for what a session is now. */
export type GetSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
};

/** The user's sessions, the newest first; on a socket that holds none, everybody's. */
export type ListSessionsRequest = {
  /** Only sessions in this status */
  status?: SessionStatus | undefined;
  /** Only sessions that have all of these in metadata.tags */
  tags?: string[] | undefined;
  /** A list's next_cursor: goes on where it ended */
  cursor?: string | undefined;
  /** Sessions on a page. Default on the wire: 10 */
  limit?: number | undefined;
  /** Sessions left out first. Default on the wire: 0 */
  offset?: number | undefined;
};

export type UpdateSessionRequestMetadataUpdates = {
  /** The labels it has then; null: none */
  tags?: string[] | null | undefined;
  [key: string]: string | number | boolean | null | string[] | undefined;
};

/** Changes what a session holds. Its owner may, and a service that serves it may change the context. */
export type UpdateSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Merged into the context; null removes a key */
  context_updates?: Record<string, unknown> | undefined;
  /** Merged into the metadata; null removes a key */
  metadata_updates?: UpdateSessionRequestMetadataUpdates | undefined;
  /** Who besides the owner may read it then */
  visibility?: Visibility | undefined;
  /** Refused where the session has another version by now */
  if_version?: number | undefined;
};

/** Gives a session more time, counted from now. */
export type ExtendSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Hours from now */
  ttl_hours: number;
};

/** Says something in a session. */
export type AddMessageRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** As what it is said: user, assistant, system, ... */
  role: string;
  /** What is said */
  content: string;
  /** Its id within the session; the same again changes nothing; default: made here */
  message_id?: string | undefined;
};

/** What was said in a session, from its beginning. */
export type GetMessagesRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Messages on a page. Default on the wire: 50 */
  limit?: number | undefined;
  /** The seq of the last one already known. Default on the wire: 0 */
  after?: number | undefined;
};

/** Lets another user in. A private session becomes a shared one. */
export type ShareSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** The user who is let in */
  target_user_id: string;
  /** viewer: reads; participant: adds messages as well. Default on the wire: "participant" */
  role?: ShareRole | undefined;
};

/** Lets a user in no longer. */
export type UnshareSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** The user who is let in no longer */
  target_user_id: string;
};

/** Follows another session's events on this socket, without tokens. */
export type WatchRequest = {
  /** The session */
  session_id: string;
};

/** Follows a session no longer. Succeeds where it was not followed. */
export type UnwatchRequest = {
  /** The session */
  session_id: string;
};

/** Ends a session and forgets its messages. Idempotent. */
export type DeleteSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
};

/** Ends a session. Idempotent. */
export type EndSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
};

export type RegisterServiceRequestHeldItem = {
  /** The session */
  session_id: string;
  /** One service's part in one session */
  assignment_id: string;
};

/** Offers a service on this socket. The same instance may come back on a new socket and name what it still holds. */
export type RegisterServiceRequest = {
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** The same value after a reconnect takes the old registration over */
  instance_id?: string | undefined;
  /** Where it is reached over HTTP; not needed on a socket */
  endpoint?: string | undefined;
  /** type, version, capabilities, language, ...; at most 16 KiB as JSON. Default on the wire: {} */
  metadata?: Record<string, string | number | boolean> | undefined;
  /** Sessions it serves at once; absent: no limit */
  max_sessions?: number | undefined;
  /** What it still serves from before its socket broke. Default on the wire: [] */
  held?: RegisterServiceRequestHeldItem[] | undefined;
};

/** Accepts or declines a JoinRoomRequest. */
export type JoinRoomResponse = {
  /** One service's part in one session */
  assignment_id: string;
  /** Whether it joins */
  accepted: boolean;
  /** Why not */
  reason?: string | undefined;
  /** Do not ask again before */
  retry_after_ms?: number | undefined;
};

/** A service can serve the session now. Named by session_id and service_id, or by assignment_id. A socket that registered a service speaks for that one only. */
export type ServiceReady = {
  /** The session */
  session_id?: string | undefined;
  /** The service's id, which is also its identity in the room */
  service_id?: string | undefined;
  /** One service's part in one session */
  assignment_id?: string | undefined;
};

/** Asks for a new token for the session's user. */
export type RefreshTokenRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
};

/** How far a service has come; passed on to the session's client, and dropped where it cannot be. */
export type ServiceProgress = {
  /** One service's part in one session */
  assignment_id: string;
  /** What it does, in its own words */
  phase: string;
  /** How much of it is done */
  percent?: number | undefined;
  /** For a person to read */
  message?: string | undefined;
};

/** Whether the service takes sessions; what it serves goes on. */
export type ServiceStatus = {
  /** available: it is offered sessions. full: it is not. draining: as DeregisterServiceRequest with drain */
  status: Availability;
};

/** Takes the registration back: with drain once it serves nothing any more, without at once. */
export type DeregisterServiceRequest = {
  /** true: once it serves nothing. false: at once, and what it serves goes to others. Default on the wire: true */
  drain?: boolean | undefined;
};

/** The service cannot serve the session. */
export type ServiceFailed = {
  /** One service's part in one session */
  assignment_id: string;
  /** Why; told to the client */
  error?: string | undefined;
};

/** The service has left the session's room: the answer to LeaveRoomRequest, or news. */
export type ServiceLeft = {
  /** One service's part in one session */
  assignment_id: string;
  /** false: it left in disorder. Default on the wire: true */
  clean?: boolean | undefined;
};

/** The answer to a heartbeat. */
export type Pong = {
  /** As it came in Ping */
  t?: number | undefined;
  /** The gateway's clock, ISO-8601, UTC */
  server_time: string;
};

export type Timings = {
  /** The room was there */
  room_ms?: number | undefined;
  /** Every required service was ready */
  services_ms?: number | undefined;
  /** The session was Ready */
  total_ms?: number | undefined;
};

export type CreatedSession = {
  /** The session */
  session_id: string;
  /** The session's status */
  status: SessionStatus;
  /** The room; absent: it has none */
  room_name?: string | undefined;
  /** What LiveKit calls the room: room_name, or for a room_name that was asked for that and a suffix, as kitchen~k3v7q2xa */
  livekit_room?: string | undefined;
  /** Where the client joins the room */
  livekit_url?: string | undefined;
  /** Lets the user into the room; here when the session is Ready or token_policy is immediate */
  access_token?: string | undefined;
  /** With links and .. resolved */
  workspace_dir?: string | undefined;
  /** Services that serve it, by id */
  ready_services: string[];
  /** Services asked for that do not serve yet: the id, or what was asked for, as type=ASR */
  pending_services: string[];
  /** When it was asked for, ISO-8601, UTC */
  created_at: string;
  /** When the session ends by itself, ISO-8601, UTC */
  expires_at: string;
  /** The position this reflects; the next event has seq + 1 */
  seq: number;
  /** How long each part of the start took; a part that has not happened is absent */
  timings: Timings;
  /** The session was there before: the same idempotency key was used */
  replayed: boolean;
  /** Seconds the session waits for its client after a broken socket */
  resume_window_s: number;
  /** Lets the client come back on a new socket; here when resume_window_s is not 0. An earlier one ends with it */
  resume_token?: string | undefined;
};

/** The session left Creating; the events after seq follow. */
export type NewSessionResponse = CreatedSession;

export type SessionService = {
  /** The service, or while none holds it what was asked for, as type=ASR */
  service_id: string;
  /** How far it is */
  status: ServiceState;
  /** Ready waits for it */
  required: boolean;
  /** Its part in this session; absent: none holds it */
  assignment_id?: string | undefined;
  /** Why the last one did not serve, or none was asked */
  error?: string | undefined;
};

export type Participant = {
  /** The identity in the room */
  identity: string;
  /** What LiveKit calls it: standard, agent, ... */
  kind: string;
  /** When it came, ISO-8601, UTC */
  joined_at: string;
};

export type Failure = {
  /** As in missing */
  service: string;
  /** Why it did not serve */
  reason: FailureReason;
  /** What the service itself said, at most 200 characters */
  message?: string | undefined;
};

export type Session = {
  /** The session */
  session_id: string;
  /** The session's status */
  status: SessionStatus;
  /** Grows with each change */
  version: number;
  /** The last event this reflects */
  seq: number;
  /** Whose session it is; absent: nobody was named */
  owner_id?: string | undefined;
  /** The user's identity in the room */
  user_identity?: string | undefined;
  /** The room; absent: it has none */
  room_name?: string | undefined;
  /** What LiveKit calls the room: room_name, or for a room_name that was asked for that and a suffix, as kitchen~k3v7q2xa */
  livekit_room?: string | undefined;
  /** Where the room is joined */
  livekit_url?: string | undefined;
  /** The folder, with links and .. resolved */
  workspace_dir?: string | undefined;
  /** As it was asked for, values as strings */
  metadata: Record<string, string | string[]>;
  /** What its users keep with it */
  context: Record<string, unknown>;
  /** In a list whose page has no room for the context, which is then empty: read the session */
  context_omitted?: true | undefined;
  /** Who besides the owner may read it */
  visibility: Visibility;
  /** With whom it is shared and as what, by user; told to its owner and the operator */
  shares?: Record<string, ShareRole> | undefined;
  /** How many messages were added to it */
  messages: number;
  /** degraded: it is Ready or Active, and a required service is missing */
  health: 'ok' | 'degraded';
  /** Whether a client socket holds it; away: its socket broke, and it may come back */
  link: 'attached' | 'away' | 'none';
  /** away: when the session ends without its client, ISO-8601, UTC */
  resume_deadline?: string | undefined;
  /** Services that serve it, by id */
  ready_services: string[];
  /** Services asked for that do not serve yet: the id, or what was asked for, as type=ASR */
  pending_services: string[];
  /** Every service asked for, required ones first */
  services: SessionService[];
  /** Who is in the room, as last seen */
  participants: Participant[];
  /** When it was asked for, ISO-8601, UTC */
  created_at: string;
  /** When it last changed, ISO-8601, UTC */
  updated_at: string;
  /** When the session ends by itself, ISO-8601, UTC */
  expires_at: string;
  /** Why it ended; absent: it has not */
  end_reason?: EndReason | undefined;
  /** Where it ended for that: the required services that did not serve, by id, or what was asked for */
  missing?: string[] | undefined;
  /** Why each of missing did not serve, in the same order */
  failures?: Failure[] | undefined;
};

/** This socket holds the session. The missed events follow, then ResumeComplete. */
export type ResumeResponse = {
  /** The session */
  session_id: string;
  /** false: some of the missed events are no longer kept, so none is sent; start over from the snapshot */
  recovered: boolean;
  /** As GetSessionResponse */
  snapshot: Session;
  /** The first event that follows */
  from_seq: number;
  /** The last event before ResumeComplete; one less than from_seq: none follows */
  to_seq: number;
  /** Lets the user into the room; here when recovered is false and the session is Ready or Active */
  access_token?: string | undefined;
};

export type Token = {
  /** The session */
  session_id: string;
  /** Lets its bearer into the room */
  access_token: string;
  /** Where the room is joined */
  livekit_url: string;
  /** When the token ends, ISO-8601, UTC */
  expires_at: string;
};

/** A new token; earlier ones stay valid. */
export type RefreshTokenResponse = Token;

/** The service gets no further sessions. */
export type DeregisterServiceResponse = {
  /** Always true; a refusal is an Error */
  success: true;
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** The same in words */
  message: string;
  /** Sessions it still serves */
  sessions: number;
};

/** The session as it is now. */
export type GetSessionResponse = Session;

/** One page of sessions. */
export type ListSessionsResponse = {
  /** The sessions, the newest first */
  items: Session[];
  /** Ask with it as cursor for the next page; absent: this was the end */
  next_cursor?: string | undefined;
};

/** The session holds it now. */
export type UpdateSessionResponse = {
  /** The session */
  session_id: string;
  /** The version it has now */
  version: number;
};

/** The session has its new end. */
export type ExtendSessionResponse = {
  /** The session */
  session_id: string;
  /** When it ends by itself now, ISO-8601, UTC */
  expires_at: string;
};

/** The message is kept. */
export type AddMessageResponse = {
  /** Its id within the session */
  message_id: string;
  /** Its place in the session's log */
  seq: number;
  /** As what it was said: user, assistant, system, ... */
  role: string;
  /** What was said */
  content: string;
  /** Who said it; absent: the operator, a service, or nobody was named */
  user_id?: string | undefined;
  /** When it was kept, ISO-8601, UTC */
  created_at: string;
  /** The session */
  session_id: string;
  /** It was there before: nothing changed */
  duplicate: boolean;
};

export type Message = {
  /** Its id within the session */
  message_id: string;
  /** Its place in the session's log */
  seq: number;
  /** As what it was said: user, assistant, system, ... */
  role: string;
  /** What was said */
  content: string;
  /** Who said it; absent: the operator, a service, or nobody was named */
  user_id?: string | undefined;
  /** When it was kept, ISO-8601, UTC */
  created_at: string;
};

/** One page of messages, the oldest first. */
export type GetMessagesResponse = {
  /** The session */
  session_id: string;
  /** The messages, by seq */
  items: Message[];
  /** Ask with it as after for the next page; absent: this was the end */
  next_after?: number | undefined;
};

/** With whom the session is shared. */
export type ShareSessionResponse = {
  /** The session */
  session_id: string;
  /** Who besides the owner may read it */
  visibility: Visibility;
  /** With whom it is shared and as what, by user */
  shares: Record<string, ShareRole>;
};

/** With whom the session is shared. */
export type UnshareSessionResponse = {
  /** The session */
  session_id: string;
  /** Who besides the owner may read it */
  visibility: Visibility;
  /** With whom it is shared and as what, by user */
  shares: Record<string, ShareRole>;
};

/** The session as it is now; the events after its seq follow. */
export type WatchResponse = {
  /** The session */
  session_id: string;
  /** The position this reflects; the next event has seq + 1 */
  seq: number;
  /** As GetSessionResponse */
  session: Session;
};

/** No further event of this session comes here. */
export type UnwatchResponse = {
  /** The session */
  session_id: string;
};

/** The session is ending, or has ended, and its messages are forgotten. */
export type DeleteSessionResponse = {
  /** The session */
  session_id: string;
  /** The session's status */
  status: SessionStatus;
};

/** The session is ending, or has ended. */
export type EndSessionResponse = {
  /** The session */
  session_id: string;
  /** The session's status */
  status: SessionStatus;
};

/** The service is registered. */
export type RegisterServiceResponse = {
  /** Always true; a refusal is an Error */
  success: true;
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** The same in words */
  message: string;
  /** Of what it held: go on */
  keep: string[];
  /** Of what it held: over, leave the room */
  release: string[];
};

/** The ready event was taken. */
export type ServiceReadyResponse = {
  /** Always true; a refusal is an Error */
  success: true;
  /** The session */
  session_id: string;
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** Every required service is ready */
  all_ready: boolean;
};

/** The session moved on. */
export type SessionStatusChanged = {
  /** Absent when the session was made */
  from?: SessionStatus | undefined;
  /** The status now */
  to: SessionStatus;
  /** Why: the end reason on the way out, else a sentence */
  reason?: string | undefined;
  /** The session's version with this change */
  version: number;
};

/** A service of the session took a step. */
export type ServiceStatusChanged = {
  /** The service, or while none holds it what was asked for, as type=ASR */
  service_id: string;
  /** One service's part in one session */
  assignment_id?: string | undefined;
  /** What it is now */
  status: ServiceState;
  /** 1 for the first service asked; 0: none was */
  attempt: number;
  /** Why it does not serve, or what is waited for */
  error?: string | undefined;
  /** Since the session was asked for */
  elapsed_ms: number;
};

/** Every required service is ready. Its access_token is minted for the session's own client when it is delivered. */
export type SessionReady = {
  /** The room */
  room_name: string;
  /** What LiveKit calls the room: room_name, or for a room_name that was asked for that and a suffix, as kitchen~k3v7q2xa */
  livekit_room?: string | undefined;
  /** Where the room is joined */
  livekit_url: string;
  /** How long each part of the start took */
  timings: Timings;
  /** On the wire only, and only for the session's own client */
  access_token?: string | undefined;
};

/** The user is in the room. */
export type SessionActive = {
  /** Who it is */
  participant: Participant;
};

/** A ready session misses services. */
export type SessionDegraded = {
  /** The required services that do not serve now: by id, or what was asked for */
  missing: string[];
};

/** No service is missing any more. */
export type SessionRestored = {
  /** Always empty */
  missing: string[];
};

/** Somebody came into the room or left it. */
export type ParticipantChanged = {
  /** Who it is */
  participant: Participant;
  /** true: it came. false: it left */
  present: boolean;
};

/** Somebody said something in the session. What was deleted with its session has an empty content. */
export type MessageAdded = {
  /** Its id within the session */
  message_id: string;
  /** As what it was said: user, assistant, system, ... */
  role: string;
  /** What was said; empty where it was deleted since */
  content: string;
  /** Who said it; absent: the operator, a service, or nobody was named */
  user_id?: string | undefined;
};

/** Somebody changed what the session holds. */
export type SessionUpdated = {
  /** The session's version with this change */
  version: number;
  /** What changed: context, metadata, visibility, shares or expires_at */
  changed: string[];
};

/** The session ends soon: told 60 s and 10 s before. */
export type SessionExpiring = {
  /** When it ends, ISO-8601, UTC */
  expires_at: string;
  /** Which of its times is the shorter */
  reason: 'ttl' | 'duration_limit';
};

/** The session is over, and its socket free for the next. */
export type SessionEnded = {
  /** Why it ended */
  reason: EndReason;
  /** Who ended it */
  by: 'client' | 'gateway';
  /** Seconds since it was asked for */
  duration_s: number;
  /** Where it ended for that: the required services that did not serve, by id, or what was asked for */
  missing?: string[] | undefined;
  /** Why each of missing did not serve, in the same order */
  failures?: Failure[] | undefined;
};

/** Asks a service to join a session; accept it within 10 s with JoinRoomResponse, then say ServiceReady. */
export type JoinRoomRequest = {
  /** One service's part in one session */
  readonly assignment_id: string;
  /** 1 for the first service asked for this place, and one more with each */
  readonly attempt: number;
  /** The session */
  readonly session_id: string;
  /** The room */
  readonly room_name: string;
  /** What LiveKit calls the room: room_name, or for a room_name that was asked for that and a suffix, as kitchen~k3v7q2xa */
  readonly livekit_room?: string | undefined;
  /** The service's id, which is also its identity in the room */
  readonly service_identity: string;
  /** The user's identity in the room: the participant to serve */
  readonly user_identity?: string | undefined;
  /** The user's display name in the room */
  readonly user_name?: string | undefined;
  /** Where the room is joined */
  readonly livekit_url: string;
  /** Lets the service into the room */
  readonly access_token: string;
  /** What the session's users keep with it */
  readonly context: Record<string, unknown>;
  /** The session's metadata */
  readonly metadata: Record<string, string | string[]>;
  /** What the session was asked for with for this service: agent_metadata and deployment of LiveKit's TokenSource */
  readonly place_metadata?: Record<string, string> | undefined;
  /** The session's folder */
  readonly workspace_dir?: string | undefined;
  /** Left until it must be ready */
  readonly deadline_ms: number;
  /** It takes over from a service that was lost */
  readonly resuming: boolean;
};

/** Asks a service to leave the room; answered by ServiceLeft. */
export type LeaveRoomRequest = {
  /** One service's part in one session */
  readonly assignment_id: string;
  /** An end reason, or a sentence */
  readonly reason: string;
  /** How long the gateway waits for ServiceLeft; 0: it does not */
  readonly deadline_ms: number;
};

/** The client's socket broke, or it came back. The room and its media go on meanwhile. */
export type ClientPresence = {
  /** The session */
  readonly session_id: string;
  /** Whether a socket of the client holds the session */
  readonly status: 'connected' | 'away';
  /** away: when the session ends without its client, ISO-8601, UTC */
  readonly resume_deadline?: string | undefined;
};

/** How far a service of the session has come. */
export type ServiceProgressNotice = {
  /** The session */
  session_id: string;
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** One service's part in one session */
  assignment_id: string;
  /** What it does, in its own words */
  phase: string;
  /** How much of it is done, 0 to 100 */
  percent?: number | undefined;
  /** For a person to read */
  message?: string | undefined;
};

/** What each request is made with; what has a default may be left out. */
export interface Requests {
  /** A heartbeat; for browsers, which do not see WebSocket pings. */
  Ping: Ping;
  /** Opens a session and binds it to this socket. With a user_identity the session has a LiveKit room, unless room is false. */
  NewSessionRequest: NewSessionRequest;
  /** Takes a session over on this socket and asks for the events since the last one that came. Refused, it changes nothing. */
  ResumeRequest: ResumeRequest;
  /** Asks for what a session is now. */
  GetSessionRequest: GetSessionRequest;
  /** The user's sessions, the newest first; on a socket that holds none, everybody's. */
  ListSessionsRequest: ListSessionsRequest;
  /** Changes what a session holds. Its owner may, and a service that serves it may change the context. */
  UpdateSessionRequest: UpdateSessionRequest;
  /** Gives a session more time, counted from now. */
  ExtendSessionRequest: ExtendSessionRequest;
  /** Says something in a session. */
  AddMessageRequest: AddMessageRequest;
  /** What was said in a session, from its beginning. */
  GetMessagesRequest: GetMessagesRequest;
  /** Lets another user in. A private session becomes a shared one. */
  ShareSessionRequest: ShareSessionRequest;
  /** Lets a user in no longer. */
  UnshareSessionRequest: UnshareSessionRequest;
  /** Follows another session's events on this socket, without tokens. */
  WatchRequest: WatchRequest;
  /** Follows a session no longer. Succeeds where it was not followed. */
  UnwatchRequest: UnwatchRequest;
  /** Ends a session and forgets its messages. Idempotent. */
  DeleteSessionRequest: DeleteSessionRequest;
  /** Ends a session. Idempotent. */
  EndSessionRequest: EndSessionRequest;
  /** Offers a service on this socket. The same instance may come back on a new socket and name what it still holds. */
  RegisterServiceRequest: RegisterServiceRequest;
  /** Accepts or declines a JoinRoomRequest. */
  JoinRoomResponse: JoinRoomResponse;
  /** A service can serve the session now. Named by session_id and service_id, or by assignment_id. A socket that registered a service speaks for that one only. */
  ServiceReady: ServiceReady;
  /** Asks for a new token for the session's user. */
  RefreshTokenRequest: RefreshTokenRequest;
  /** How far a service has come; passed on to the session's client, and dropped where it cannot be. */
  ServiceProgress: ServiceProgress;
  /** Whether the service takes sessions; what it serves goes on. */
  ServiceStatus: ServiceStatus;
  /** Takes the registration back: with drain once it serves nothing any more, without at once. */
  DeregisterServiceRequest: DeregisterServiceRequest;
  /** The service cannot serve the session. */
  ServiceFailed: ServiceFailed;
  /** The service has left the session's room: the answer to LeaveRoomRequest, or news. */
  ServiceLeft: ServiceLeft;
}

/** What each answer holds. */
export interface Answers {
  /** The answer to a heartbeat. */
  Pong: Pong;
  /** The session left Creating; the events after seq follow. */
  NewSessionResponse: NewSessionResponse;
  /** This socket holds the session. The missed events follow, then ResumeComplete. */
  ResumeResponse: ResumeResponse;
  /** A new token; earlier ones stay valid. */
  RefreshTokenResponse: RefreshTokenResponse;
  /** The service gets no further sessions. */
  DeregisterServiceResponse: DeregisterServiceResponse;
  /** The session as it is now. */
  GetSessionResponse: GetSessionResponse;
  /** One page of sessions. */
  ListSessionsResponse: ListSessionsResponse;
  /** The session holds it now. */
  UpdateSessionResponse: UpdateSessionResponse;
  /** The session has its new end. */
  ExtendSessionResponse: ExtendSessionResponse;
  /** The message is kept. */
  AddMessageResponse: AddMessageResponse;
  /** One page of messages, the oldest first. */
  GetMessagesResponse: GetMessagesResponse;
  /** With whom the session is shared. */
  ShareSessionResponse: ShareSessionResponse;
  /** With whom the session is shared. */
  UnshareSessionResponse: UnshareSessionResponse;
  /** The session as it is now; the events after its seq follow. */
  WatchResponse: WatchResponse;
  /** No further event of this session comes here. */
  UnwatchResponse: UnwatchResponse;
  /** The session is ending, or has ended, and its messages are forgotten. */
  DeleteSessionResponse: DeleteSessionResponse;
  /** The session is ending, or has ended. */
  EndSessionResponse: EndSessionResponse;
  /** The service is registered. */
  RegisterServiceResponse: RegisterServiceResponse;
  /** The ready event was taken. */
  ServiceReadyResponse: ServiceReadyResponse;
}

/** What each event of a session's log holds. */
export interface Events {
  /** The session moved on. */
  SessionStatusChanged: SessionStatusChanged;
  /** A service of the session took a step. */
  ServiceStatusChanged: ServiceStatusChanged;
  /** Every required service is ready. Its access_token is minted for the session's own client when it is delivered. */
  SessionReady: SessionReady;
  /** The user is in the room. */
  SessionActive: SessionActive;
  /** A ready session misses services. */
  SessionDegraded: SessionDegraded;
  /** No service is missing any more. */
  SessionRestored: SessionRestored;
  /** Somebody came into the room or left it. */
  ParticipantChanged: ParticipantChanged;
  /** Somebody said something in the session. What was deleted with its session has an empty content. */
  MessageAdded: MessageAdded;
  /** Somebody changed what the session holds. */
  SessionUpdated: SessionUpdated;
  /** The session ends soon: told 60 s and 10 s before. */
  SessionExpiring: SessionExpiring;
  /** The session is over, and its socket free for the next. */
  SessionEnded: SessionEnded;
}

/** What the gateway asks of a service. */
export interface Commands {
  /** Asks a service to join a session; accept it within 10 s with JoinRoomResponse, then say ServiceReady. */
  JoinRoomRequest: JoinRoomRequest;
  /** Asks a service to leave the room; answered by ServiceLeft. */
  LeaveRoomRequest: LeaveRoomRequest;
  /** The client's socket broke, or it came back. The room and its media go on meanwhile. */
  ClientPresence: ClientPresence;
}

/** What is told on the side, without a place in the log. */
export interface Notices {
  /** How far a service of the session has come. */
  ServiceProgress: ServiceProgressNotice;
}

/** The answer to each request that has one. */
export interface Replies {
  /** The answer to a heartbeat. */
  Ping: Pong;
  /** The session left Creating; the events after seq follow. */
  NewSessionRequest: NewSessionResponse;
  /** This socket holds the session. The missed events follow, then ResumeComplete. */
  ResumeRequest: ResumeResponse;
  /** The session as it is now. */
  GetSessionRequest: GetSessionResponse;
  /** One page of sessions. */
  ListSessionsRequest: ListSessionsResponse;
  /** The session holds it now. */
  UpdateSessionRequest: UpdateSessionResponse;
  /** The session has its new end. */
  ExtendSessionRequest: ExtendSessionResponse;
  /** The message is kept. */
  AddMessageRequest: AddMessageResponse;
  /** One page of messages, the oldest first. */
  GetMessagesRequest: GetMessagesResponse;
  /** With whom the session is shared. */
  ShareSessionRequest: ShareSessionResponse;
  /** With whom the session is shared. */
  UnshareSessionRequest: UnshareSessionResponse;
  /** The session as it is now; the events after its seq follow. */
  WatchRequest: WatchResponse;
  /** No further event of this session comes here. */
  UnwatchRequest: UnwatchResponse;
  /** The session is ending, or has ended, and its messages are forgotten. */
  DeleteSessionRequest: DeleteSessionResponse;
  /** The session is ending, or has ended. */
  EndSessionRequest: EndSessionResponse;
  /** The service is registered. */
  RegisterServiceRequest: RegisterServiceResponse;
  /** The ready event was taken. */
  ServiceReady: ServiceReadyResponse;
  /** A new token; earlier ones stay valid. */
  RefreshTokenRequest: RefreshTokenResponse;
  /** The service gets no further sessions. */
  DeregisterServiceRequest: DeregisterServiceResponse;
}
