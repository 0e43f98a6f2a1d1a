// Made by `npm run docs` from the rows of requests, answers, events and commands. What zod infers from those has the same types, but not the
// texts, which an editor is to show. They are no interfaces, as those cannot be given where any object of texts or JSON is taken.
import type { FailureReason } from './failures.ts';
import type { Availability, EndReason, ServiceStatus as ServiceState, Status as SessionStatus, ShareRole, Visibility } from './states.ts';

/** A heartbeat; for browsers, which do not see WebSocket pings. */
export type Ping = {
  /** Echoed in Pong */
  t?: number | undefined;
};

/** Says who is at this socket; again at any time, with a new token for the same one, to extend it. */
export type IdentifyRequest = {
  /** The credential; absent: one sent with the upgrade counts, or none is required */
  token?: string | undefined;
  /** Must be the token's; without authentication it is believed */
  kind?: 'user' | 'device' | 'service' | 'operator' | undefined;
  /** Must be the token's; without authentication it is believed */
  identity?: string | undefined;
  /** It sends something at least this often: it is pinged after that much silence */
  heartbeat_s?: number | undefined;
  /** What the operator may know it by: model, version, ... */
  attributes?: Record<string, string> | undefined;
};

export type SessionMetadata = {
  /** Labels for finding sessions */
  tags?: string[] | undefined;
  /** Seconds the session may last, as a number or a string */
  duration_limit?: number | string | undefined;
  [key: string]: string | number | boolean | string[] | undefined;
};

export type WantedService = string | Record<string, string>;

/** Creates a session and binds it to this socket. With a user_identity the session has a LiveKit room, unless room is false. */
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
  /** Describes the session; values are stored as strings. Default on the wire: {} */
  metadata?: SessionMetadata | undefined;
  /** Services that must be ready; absent: every service available now, up to 32; []: none */
  required_services?: WantedService[] | undefined;
  /** Services that are asked as well; Ready does not wait for them. Default on the wire: [] */
  optional_services?: WantedService[] | undefined;
  /** If not all are ready in time: end, or continue without the missing ones if at least one is ready. Default on the wire: "fail" */
  on_join_timeout?: 'fail' | 'degrade' | undefined;
  /** If a required service is lost after Ready: find another, continue without it, or end. Default on the wire: "replace" */
  on_service_loss?: 'replace' | 'degrade' | 'terminate' | undefined;
  /** Time limit in seconds for all services to become ready; default 60 */
  join_timeout_s?: number | undefined;
  /** Time limit in seconds for the user to join after Ready; default: as long as the room's empty timeout allows */
  client_join_timeout_s?: number | undefined;
  /** Session lifetime in hours; default 24 */
  ttl_hours?: number | undefined;
  /** When the access token is sent: with Ready, or immediately in the answer. Default on the socket: on_ready */
  token_policy?: 'on_ready' | 'immediate' | undefined;
  /** Seconds the session waits for its client after the socket breaks; 0: it ends with its socket. Default on the wire: 0 */
  resume_window_s?: number | undefined;
  /** Who may read it besides the owner: nobody, those it is shared with, everybody. Default on the wire: "private" */
  visibility?: Visibility | undefined;
  /** The same key and body return the same session while it is live */
  idempotency_key?: string | undefined;
};

/** Resumes a session on this socket and requests the events since the last one received. If refused, it changes nothing. */
export type ResumeRequest = {
  /** The session */
  session_id: string;
  /** From NewSessionResponse */
  resume_token: string;
  /** The seq of the last event received; 0: none was */
  last_seq: number;
};

/** Returns the current state of a session. */
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
  /** next_cursor of the previous page: continues there */
  cursor?: string | undefined;
  /** Sessions on a page. Default on the wire: 10 */
  limit?: number | undefined;
  /** Sessions to skip. Default on the wire: 0 */
  offset?: number | undefined;
};

export type UpdateSessionRequestMetadataUpdates = {
  /** The new tags; null: none */
  tags?: string[] | null | undefined;
  [key: string]: string | number | boolean | null | string[] | undefined;
};

/** Changes the content of a session. Allowed to its owner; a service that serves it may change the context. */
export type UpdateSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Merged into the context; null removes a key */
  context_updates?: Record<string, unknown> | undefined;
  /** Merged into the metadata; null removes a key */
  metadata_updates?: UpdateSessionRequestMetadataUpdates | undefined;
  /** Who may read it from then on, besides the owner */
  visibility?: Visibility | undefined;
  /** Refused if the session has another version by now */
  if_version?: number | undefined;
};

/** Sets a new lifetime of a session, counted from now. */
export type ExtendSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Hours from now */
  ttl_hours: number;
};

/** Adds a message to a session. */
export type AddMessageRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Role of the speaker: user, assistant, system, ... */
  role: string;
  /** The text */
  content: string;
  /** Its id within the session; sending the same id again changes nothing; default: generated */
  message_id?: string | undefined;
};

/** Returns the messages of a session, oldest first. */
export type GetMessagesRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** Messages on a page. Default on the wire: 50 */
  limit?: number | undefined;
  /** The seq of the last message already known. Default on the wire: 0 */
  after?: number | undefined;
};

/** Grants another user access. A private session becomes shared. */
export type ShareSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** The user who gets access */
  target_user_id: string;
  /** viewer: may read; participant: may also add messages. Default on the wire: "participant" */
  role?: ShareRole | undefined;
};

/** Revokes a user's access. */
export type UnshareSessionRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
  /** The user whose access is revoked */
  target_user_id: string;
};

/** Watches another session: its events are sent on this socket, without tokens. */
export type WatchRequest = {
  /** The session */
  session_id: string;
};

/** Stops watching a session. Succeeds if it was not watched. */
export type UnwatchRequest = {
  /** The session */
  session_id: string;
};

/** Ends a session and deletes its messages. Idempotent. */
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
  /** The assignment of one service to one session */
  assignment_id: string;
};

/** Registers a service on this socket. The same instance may return on a new socket and name the sessions it still serves. */
export type RegisterServiceRequest = {
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** The same value after a reconnect takes over the old registration */
  instance_id?: string | undefined;
  /** Its HTTP address; not needed on a socket */
  endpoint?: string | undefined;
  /** type, version, capabilities, language, ...; at most 16 KiB as JSON. Default on the wire: {} */
  metadata?: Record<string, string | number | boolean> | undefined;
  /** Concurrent sessions it can serve; absent: no limit */
  max_sessions?: number | undefined;
  /** Sessions it still serves from before its socket broke. Default on the wire: [] */
  held?: RegisterServiceRequestHeldItem[] | undefined;
};

/** Accepts or declines a JoinRoomRequest. */
export type JoinRoomResponse = {
  /** The assignment of one service to one session */
  assignment_id: string;
  /** Whether it joins */
  accepted: boolean;
  /** Why not */
  reason?: string | undefined;
  /** Do not offer it again earlier */
  retry_after_ms?: number | undefined;
};

/** A service can serve the session now. Named by session_id and service_id, or by assignment_id. A socket that registered a service can report for that service only. */
export type ServiceReady = {
  /** The session */
  session_id?: string | undefined;
  /** The service's id, which is also its identity in the room */
  service_id?: string | undefined;
  /** The assignment of one service to one session */
  assignment_id?: string | undefined;
};

/** Requests a new token for the session's user. */
export type RefreshTokenRequest = {
  /** The session; absent: this socket's */
  session_id?: string | undefined;
};

/** Progress of a service; forwarded to the session's client, and dropped if it cannot be delivered. */
export type ServiceProgress = {
  /** The assignment of one service to one session */
  assignment_id: string;
  /** What it is doing, in its own words */
  phase: string;
  /** Percentage done */
  percent?: number | undefined;
  /** Human-readable */
  message?: string | undefined;
};

/** Sets whether the service accepts further sessions; those it serves continue. */
export type ServiceStatus = {
  /** available: it is offered sessions. full: it is not. draining: like DeregisterServiceRequest with drain */
  status: Availability;
};

/** Deregisters the service: with drain once it serves no session, without drain immediately. */
export type DeregisterServiceRequest = {
  /** true: once it serves no session. false: immediately, and its sessions are offered to other services. Default on the wire: true */
  drain?: boolean | undefined;
};

/** The service cannot serve the session. */
export type ServiceFailed = {
  /** The assignment of one service to one session */
  assignment_id: string;
  /** The reason; shown to the client */
  error?: string | undefined;
};

/** The service has left the session's room: in answer to LeaveRoomRequest, or by itself. */
export type ServiceLeft = {
  /** The assignment of one service to one session */
  assignment_id: string;
  /** false: leaving failed. Default on the wire: true */
  clean?: boolean | undefined;
};

/** The answer to a heartbeat. */
export type Pong = {
  /** The value from Ping */
  t?: number | undefined;
  /** The gateway's clock, ISO-8601, UTC */
  server_time: string;
};

/** The socket belongs to this peer from now on. */
export type IdentifyResponse = {
  /** Who it is; absent: nobody in particular, who may do everything */
  kind?: 'user' | 'device' | 'service' | 'operator' | undefined;
  /** Its own identity */
  identity?: string | undefined;
  /** The user it speaks for */
  user_identity?: string | undefined;
  /** What it may do as an operator */
  scopes?: string[] | undefined;
  /** When its credential expires, ISO-8601, UTC; absent: never */
  expires_at?: string | undefined;
  /** Seconds of silence after which it is pinged */
  heartbeat_s: number;
};

export type Timings = {
  /** The room existed */
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
  /** The name of the room in LiveKit: room_name, or for a chosen room_name with a suffix, as in kitchen~k3v7q2xa */
  livekit_room?: string | undefined;
  /** Where the client joins the room */
  livekit_url?: string | undefined;
  /** Admits the user to the room; present if the session is Ready or token_policy is immediate */
  access_token?: string | undefined;
  /** With links and .. resolved */
  workspace_dir?: string | undefined;
  /** Services that are ready, by id */
  ready_services: string[];
  /** Requested services that are not ready yet: the id, or the selector, as in type=ASR */
  pending_services: string[];
  /** When it was requested, ISO-8601, UTC */
  created_at: string;
  /** When the session expires, ISO-8601, UTC */
  expires_at: string;
  /** The position this reflects; the next event has seq + 1 */
  seq: number;
  /** How long each part of the start took; a part that has not happened is absent */
  timings: Timings;
  /** true: the session already existed for this idempotency key */
  replayed: boolean;
  /** Seconds the session waits for its client after the socket breaks */
  resume_window_s: number;
  /** Lets the client resume on a new socket; present if resume_window_s is not 0. It replaces earlier ones */
  resume_token?: string | undefined;
};

/** The session has left Creating; the events after seq follow. */
export type NewSessionResponse = CreatedSession;

export type SessionService = {
  /** The service; while none is assigned, the selector, as in type=ASR */
  service_id: string;
  /** Its status */
  status: ServiceState;
  /** Ready waits for it */
  required: boolean;
  /** Its assignment in this session; absent: none is assigned */
  assignment_id?: string | undefined;
  /** Why the last service failed, or why none was asked */
  error?: string | undefined;
};

export type Participant = {
  /** The identity in the room */
  identity: string;
  /** Its kind in LiveKit: standard, agent, ... */
  kind: string;
  /** When it joined, ISO-8601, UTC */
  joined_at: string;
};

export type Failure = {
  /** As listed in missing */
  service: string;
  /** Why it was not ready */
  reason: FailureReason;
  /** Reported by the service itself, at most 200 characters */
  message?: string | undefined;
};

export type Session = {
  /** The session */
  session_id: string;
  /** The session's status */
  status: SessionStatus;
  /** Increases with each change */
  version: number;
  /** The last event this reflects */
  seq: number;
  /** The owner; absent: no user was named */
  owner_id?: string | undefined;
  /** The user's identity in the room */
  user_identity?: string | undefined;
  /** The room; absent: it has none */
  room_name?: string | undefined;
  /** The name of the room in LiveKit: room_name, or for a chosen room_name with a suffix, as in kitchen~k3v7q2xa */
  livekit_room?: string | undefined;
  /** Address of LiveKit for joining the room */
  livekit_url?: string | undefined;
  /** The folder, with links and .. resolved */
  workspace_dir?: string | undefined;
  /** As requested, values as strings */
  metadata: Record<string, string | string[]>;
  /** Content that its users keep with it */
  context: Record<string, unknown>;
  /** true in a list: the page had no room for the context, which is empty here; read the session itself */
  context_omitted?: true | undefined;
  /** Who may read it besides the owner */
  visibility: Visibility;
  /** Role of each user it is shared with; shown to its owner and the operator only */
  shares?: Record<string, ShareRole> | undefined;
  /** How many messages were added to it */
  messages: number;
  /** degraded: Ready or Active, but a required service is missing */
  health: 'ok' | 'degraded';
  /** Whether a client socket holds it; away: the socket broke, and the client may resume */
  link: 'attached' | 'away' | 'none';
  /** away: when the session ends without its client, ISO-8601, UTC */
  resume_deadline?: string | undefined;
  /** Services that are ready, by id */
  ready_services: string[];
  /** Requested services that are not ready yet: the id, or the selector, as in type=ASR */
  pending_services: string[];
  /** Every requested service, required ones first */
  services: SessionService[];
  /** Who is in the room, as last seen */
  participants: Participant[];
  /** When it was requested, ISO-8601, UTC */
  created_at: string;
  /** When it last changed, ISO-8601, UTC */
  updated_at: string;
  /** When the session expires, ISO-8601, UTC */
  expires_at: string;
  /** Why it ended; absent: it has not */
  end_reason?: EndReason | undefined;
  /** If it ended for that reason: the required services that were not ready, by id or selector */
  missing?: string[] | undefined;
  /** Why each service in missing was not ready, in the same order */
  failures?: Failure[] | undefined;
};

/** This socket holds the session. The missed events follow, then ResumeComplete. */
export type ResumeResponse = {
  /** The session */
  session_id: string;
  /** false: some of the missed events were dropped, so none is sent; start over from the snapshot */
  recovered: boolean;
  /** As GetSessionResponse */
  snapshot: Session;
  /** The first event that follows */
  from_seq: number;
  /** The last event before ResumeComplete; one less than from_seq: none follows */
  to_seq: number;
  /** Admits the user to the room; present if recovered is false and the session is Ready or Active */
  access_token?: string | undefined;
};

export type Token = {
  /** The session */
  session_id: string;
  /** Admits its bearer to the room */
  access_token: string;
  /** Address of LiveKit for joining the room */
  livekit_url: string;
  /** When the token expires, ISO-8601, UTC */
  expires_at: string;
};

/** A new token; earlier ones stay valid. */
export type RefreshTokenResponse = Token;

/** The service is offered no further sessions. */
export type DeregisterServiceResponse = {
  /** Always true; a refusal is an Error */
  success: true;
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** Human-readable summary */
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
  /** Pass it as cursor for the next page; absent: this was the last page */
  next_cursor?: string | undefined;
};

/** The change is stored. */
export type UpdateSessionResponse = {
  /** The session */
  session_id: string;
  /** Its new version */
  version: number;
};

/** The session has its new end time. */
export type ExtendSessionResponse = {
  /** The session */
  session_id: string;
  /** When it now expires, ISO-8601, UTC */
  expires_at: string;
};

/** The message is stored. */
export type AddMessageResponse = {
  /** Its id within the session */
  message_id: string;
  /** Its place in the session's log */
  seq: number;
  /** Role of the speaker: user, assistant, system, ... */
  role: string;
  /** The text */
  content: string;
  /** The user who wrote it; absent: the operator, a service, or no user was named */
  user_id?: string | undefined;
  /** When it was stored, ISO-8601, UTC */
  created_at: string;
  /** The session */
  session_id: string;
  /** true: it was already stored, and nothing changed */
  duplicate: boolean;
};

export type Message = {
  /** Its id within the session */
  message_id: string;
  /** Its place in the session's log */
  seq: number;
  /** Role of the speaker: user, assistant, system, ... */
  role: string;
  /** The text */
  content: string;
  /** The user who wrote it; absent: the operator, a service, or no user was named */
  user_id?: string | undefined;
  /** When it was stored, ISO-8601, UTC */
  created_at: string;
};

/** One page of messages, the oldest first. */
export type GetMessagesResponse = {
  /** The session */
  session_id: string;
  /** The messages, by seq */
  items: Message[];
  /** Pass it as after for the next page; absent: this was the last page */
  next_after?: number | undefined;
};

/** With whom the session is shared. */
export type ShareSessionResponse = {
  /** The session */
  session_id: string;
  /** Who may read it besides the owner */
  visibility: Visibility;
  /** Role of each user it is shared with */
  shares: Record<string, ShareRole>;
};

/** With whom the session is shared. */
export type UnshareSessionResponse = {
  /** The session */
  session_id: string;
  /** Who may read it besides the owner */
  visibility: Visibility;
  /** Role of each user it is shared with */
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

/** No further event of this session is sent here. */
export type UnwatchResponse = {
  /** The session */
  session_id: string;
};

/** The session is ending, or has ended, and its messages are deleted. */
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
  /** Human-readable summary */
  message: string;
  /** Of those it named in held: continue */
  keep: string[];
  /** Of those it named in held: over, leave the room */
  release: string[];
};

/** The service counts as ready. */
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

/** The status of the session has changed. */
export type SessionStatusChanged = {
  /** Absent when the session was created */
  from?: SessionStatus | undefined;
  /** The new status */
  to: SessionStatus;
  /** Why: the end reason if it ends, else a sentence */
  reason?: string | undefined;
  /** The session's version with this change */
  version: number;
};

/** The status of a service in the session has changed. */
export type ServiceStatusChanged = {
  /** The service; while none is assigned, the selector, as in type=ASR */
  service_id: string;
  /** The assignment of one service to one session */
  assignment_id?: string | undefined;
  /** Its new status */
  status: ServiceState;
  /** 1 for the first service asked; 0: none was asked */
  attempt: number;
  /** Why it is not ready, or what the session waits for */
  error?: string | undefined;
  /** Since the session was requested */
  elapsed_ms: number;
};

/** Every required service is ready. Its access_token is minted for the session's own client when it is delivered. */
export type SessionReady = {
  /** The room */
  room_name: string;
  /** The name of the room in LiveKit: room_name, or for a chosen room_name with a suffix, as in kitchen~k3v7q2xa */
  livekit_room?: string | undefined;
  /** Address of LiveKit for joining the room */
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

/** Required services of a ready session are missing. */
export type SessionDegraded = {
  /** The required services that are not ready now, by id or selector */
  missing: string[];
};

/** All required services are ready again. */
export type SessionRestored = {
  /** Always empty */
  missing: string[];
};

/** A participant joined the room or left it. */
export type ParticipantChanged = {
  /** Who it is */
  participant: Participant;
  /** true: it joined. false: it left */
  present: boolean;
};

/** A message was added to the session. After deletion its content is empty. */
export type MessageAdded = {
  /** Its id within the session */
  message_id: string;
  /** Role of the speaker: user, assistant, system, ... */
  role: string;
  /** The text; empty if it was deleted since */
  content: string;
  /** The user who wrote it; absent: the operator, a service, or no user was named */
  user_id?: string | undefined;
};

/** The content of the session was changed. */
export type SessionUpdated = {
  /** The session's version with this change */
  version: number;
  /** What changed: context, metadata, visibility, shares or expires_at */
  changed: string[];
};

/** The session ends soon: sent 60 s and 10 s before. */
export type SessionExpiring = {
  /** When it ends, ISO-8601, UTC */
  expires_at: string;
  /** Which of its limits is reached first */
  reason: 'ttl' | 'duration_limit';
};

/** The session is over, and its socket is free for the next one. */
export type SessionEnded = {
  /** Why it ended */
  reason: EndReason;
  /** Who ended it */
  by: 'client' | 'gateway';
  /** Seconds since it was requested */
  duration_s: number;
  /** If it ended for that reason: the required services that were not ready, by id or selector */
  missing?: string[] | undefined;
  /** Why each service in missing was not ready, in the same order */
  failures?: Failure[] | undefined;
};

/** Asks a service to join a session; accept it within 10 s with JoinRoomResponse, then send ServiceReady. */
export type JoinRoomRequest = {
  /** The assignment of one service to one session */
  readonly assignment_id: string;
  /** 1 for the first service asked for this place, then counting up */
  readonly attempt: number;
  /** The session */
  readonly session_id: string;
  /** The room */
  readonly room_name: string;
  /** The name of the room in LiveKit: room_name, or for a chosen room_name with a suffix, as in kitchen~k3v7q2xa */
  readonly livekit_room?: string | undefined;
  /** The service's id, which is also its identity in the room */
  readonly service_identity: string;
  /** The user's identity in the room: the participant to serve */
  readonly user_identity?: string | undefined;
  /** The user's display name in the room */
  readonly user_name?: string | undefined;
  /** Address of LiveKit for joining the room */
  readonly livekit_url: string;
  /** Admits the service to the room */
  readonly access_token: string;
  /** Content that the session's users keep with it */
  readonly context: Record<string, unknown>;
  /** The session's metadata */
  readonly metadata: Record<string, string | string[]>;
  /** Requested for this service: agent_metadata and deployment of LiveKit's TokenSource */
  readonly place_metadata?: Record<string, string> | undefined;
  /** The session's directory */
  readonly workspace_dir?: string | undefined;
  /** Time left until it must be ready */
  readonly deadline_ms: number;
  /** true: it replaces a service that was lost */
  readonly resuming: boolean;
};

/** Asks a service to leave the room; answered by ServiceLeft. */
export type LeaveRoomRequest = {
  /** The assignment of one service to one session */
  readonly assignment_id: string;
  /** An end reason, or a sentence */
  readonly reason: string;
  /** How long the gateway waits for ServiceLeft; 0: it does not */
  readonly deadline_ms: number;
};

/** The client's socket broke, or the client is back. The room and its media continue meanwhile. */
export type ClientPresence = {
  /** The session */
  readonly session_id: string;
  /** Whether a socket of the client holds the session */
  readonly status: 'connected' | 'away';
  /** away: when the session ends without its client, ISO-8601, UTC */
  readonly resume_deadline?: string | undefined;
};

/** Progress of a service in the session. */
export type ServiceProgressNotice = {
  /** The session */
  session_id: string;
  /** The service's id, which is also its identity in the room */
  service_id: string;
  /** The assignment of one service to one session */
  assignment_id: string;
  /** What it is doing, in its own words */
  phase: string;
  /** Percentage done, 0 to 100 */
  percent?: number | undefined;
  /** Human-readable */
  message?: string | undefined;
};

/** What each request is made with; what has a default may be left out. */
export interface Requests {
  /** A heartbeat; for browsers, which do not see WebSocket pings. */
  Ping: Ping;
  /** Says who is at this socket; again at any time, with a new token for the same one, to extend it. */
  IdentifyRequest: IdentifyRequest;
  /** Creates a session and binds it to this socket. With a user_identity the session has a LiveKit room, unless room is false. */
  NewSessionRequest: NewSessionRequest;
  /** Resumes a session on this socket and requests the events since the last one received. If refused, it changes nothing. */
  ResumeRequest: ResumeRequest;
  /** Returns the current state of a session. */
  GetSessionRequest: GetSessionRequest;
  /** The user's sessions, the newest first; on a socket that holds none, everybody's. */
  ListSessionsRequest: ListSessionsRequest;
  /** Changes the content of a session. Allowed to its owner; a service that serves it may change the context. */
  UpdateSessionRequest: UpdateSessionRequest;
  /** Sets a new lifetime of a session, counted from now. */
  ExtendSessionRequest: ExtendSessionRequest;
  /** Adds a message to a session. */
  AddMessageRequest: AddMessageRequest;
  /** Returns the messages of a session, oldest first. */
  GetMessagesRequest: GetMessagesRequest;
  /** Grants another user access. A private session becomes shared. */
  ShareSessionRequest: ShareSessionRequest;
  /** Revokes a user's access. */
  UnshareSessionRequest: UnshareSessionRequest;
  /** Watches another session: its events are sent on this socket, without tokens. */
  WatchRequest: WatchRequest;
  /** Stops watching a session. Succeeds if it was not watched. */
  UnwatchRequest: UnwatchRequest;
  /** Ends a session and deletes its messages. Idempotent. */
  DeleteSessionRequest: DeleteSessionRequest;
  /** Ends a session. Idempotent. */
  EndSessionRequest: EndSessionRequest;
  /** Registers a service on this socket. The same instance may return on a new socket and name the sessions it still serves. */
  RegisterServiceRequest: RegisterServiceRequest;
  /** Accepts or declines a JoinRoomRequest. */
  JoinRoomResponse: JoinRoomResponse;
  /** A service can serve the session now. Named by session_id and service_id, or by assignment_id. A socket that registered a service can report for that service only. */
  ServiceReady: ServiceReady;
  /** Requests a new token for the session's user. */
  RefreshTokenRequest: RefreshTokenRequest;
  /** Progress of a service; forwarded to the session's client, and dropped if it cannot be delivered. */
  ServiceProgress: ServiceProgress;
  /** Sets whether the service accepts further sessions; those it serves continue. */
  ServiceStatus: ServiceStatus;
  /** Deregisters the service: with drain once it serves no session, without drain immediately. */
  DeregisterServiceRequest: DeregisterServiceRequest;
  /** The service cannot serve the session. */
  ServiceFailed: ServiceFailed;
  /** The service has left the session's room: in answer to LeaveRoomRequest, or by itself. */
  ServiceLeft: ServiceLeft;
}

/** What each answer holds. */
export interface Answers {
  /** The answer to a heartbeat. */
  Pong: Pong;
  /** The socket belongs to this peer from now on. */
  IdentifyResponse: IdentifyResponse;
  /** The session has left Creating; the events after seq follow. */
  NewSessionResponse: NewSessionResponse;
  /** This socket holds the session. The missed events follow, then ResumeComplete. */
  ResumeResponse: ResumeResponse;
  /** A new token; earlier ones stay valid. */
  RefreshTokenResponse: RefreshTokenResponse;
  /** The service is offered no further sessions. */
  DeregisterServiceResponse: DeregisterServiceResponse;
  /** The session as it is now. */
  GetSessionResponse: GetSessionResponse;
  /** One page of sessions. */
  ListSessionsResponse: ListSessionsResponse;
  /** The change is stored. */
  UpdateSessionResponse: UpdateSessionResponse;
  /** The session has its new end time. */
  ExtendSessionResponse: ExtendSessionResponse;
  /** The message is stored. */
  AddMessageResponse: AddMessageResponse;
  /** One page of messages, the oldest first. */
  GetMessagesResponse: GetMessagesResponse;
  /** With whom the session is shared. */
  ShareSessionResponse: ShareSessionResponse;
  /** With whom the session is shared. */
  UnshareSessionResponse: UnshareSessionResponse;
  /** The session as it is now; the events after its seq follow. */
  WatchResponse: WatchResponse;
  /** No further event of this session is sent here. */
  UnwatchResponse: UnwatchResponse;
  /** The session is ending, or has ended, and its messages are deleted. */
  DeleteSessionResponse: DeleteSessionResponse;
  /** The session is ending, or has ended. */
  EndSessionResponse: EndSessionResponse;
  /** The service is registered. */
  RegisterServiceResponse: RegisterServiceResponse;
  /** The service counts as ready. */
  ServiceReadyResponse: ServiceReadyResponse;
}

/** What each event of a session's log holds. */
export interface Events {
  /** The status of the session has changed. */
  SessionStatusChanged: SessionStatusChanged;
  /** The status of a service in the session has changed. */
  ServiceStatusChanged: ServiceStatusChanged;
  /** Every required service is ready. Its access_token is minted for the session's own client when it is delivered. */
  SessionReady: SessionReady;
  /** The user is in the room. */
  SessionActive: SessionActive;
  /** Required services of a ready session are missing. */
  SessionDegraded: SessionDegraded;
  /** All required services are ready again. */
  SessionRestored: SessionRestored;
  /** A participant joined the room or left it. */
  ParticipantChanged: ParticipantChanged;
  /** A message was added to the session. After deletion its content is empty. */
  MessageAdded: MessageAdded;
  /** The content of the session was changed. */
  SessionUpdated: SessionUpdated;
  /** The session ends soon: sent 60 s and 10 s before. */
  SessionExpiring: SessionExpiring;
  /** The session is over, and its socket is free for the next one. */
  SessionEnded: SessionEnded;
}

/** What the gateway asks of a service. */
export interface Commands {
  /** Asks a service to join a session; accept it within 10 s with JoinRoomResponse, then send ServiceReady. */
  JoinRoomRequest: JoinRoomRequest;
  /** Asks a service to leave the room; answered by ServiceLeft. */
  LeaveRoomRequest: LeaveRoomRequest;
  /** The client's socket broke, or the client is back. The room and its media continue meanwhile. */
  ClientPresence: ClientPresence;
}

/** Sent beside the log, without a place in it. */
export interface Notices {
  /** Progress of a service in the session. */
  ServiceProgress: ServiceProgressNotice;
}

/** The answer to each request that has one. */
export interface Replies {
  /** The answer to a heartbeat. */
  Ping: Pong;
  /** The socket belongs to this peer from now on. */
  IdentifyRequest: IdentifyResponse;
  /** The session has left Creating; the events after seq follow. */
  NewSessionRequest: NewSessionResponse;
  /** This socket holds the session. The missed events follow, then ResumeComplete. */
  ResumeRequest: ResumeResponse;
  /** The session as it is now. */
  GetSessionRequest: GetSessionResponse;
  /** One page of sessions. */
  ListSessionsRequest: ListSessionsResponse;
  /** The change is stored. */
  UpdateSessionRequest: UpdateSessionResponse;
  /** The session has its new end time. */
  ExtendSessionRequest: ExtendSessionResponse;
  /** The message is stored. */
  AddMessageRequest: AddMessageResponse;
  /** One page of messages, the oldest first. */
  GetMessagesRequest: GetMessagesResponse;
  /** With whom the session is shared. */
  ShareSessionRequest: ShareSessionResponse;
  /** With whom the session is shared. */
  UnshareSessionRequest: UnshareSessionResponse;
  /** The session as it is now; the events after its seq follow. */
  WatchRequest: WatchResponse;
  /** No further event of this session is sent here. */
  UnwatchRequest: UnwatchResponse;
  /** The session is ending, or has ended, and its messages are deleted. */
  DeleteSessionRequest: DeleteSessionResponse;
  /** The session is ending, or has ended. */
  EndSessionRequest: EndSessionResponse;
  /** The service is registered. */
  RegisterServiceRequest: RegisterServiceResponse;
  /** The service counts as ready. */
  ServiceReady: ServiceReadyResponse;
  /** A new token; earlier ones stay valid. */
  RefreshTokenRequest: RefreshTokenResponse;
  /** The service is offered no further sessions. */
  DeregisterServiceRequest: DeregisterServiceResponse;
}
