import { z } from 'zod';
import { participant as anyParticipant, livekitRoom, timings, unserved } from './answers.ts';
import { assignmentId, milliseconds, serviceId, sessionId, text, time, word } from './fields.ts';
import { endReasons, serviceStatuses, statuses } from './states.ts';

const participant = anyParticipant.describe('Who it is');
const livekitUrl = z.string().describe('Where the room is joined');
const roomName = z.string().describe('The room');

/** Everything that is written into a session's log, by its wire `type`; on the wire each carries seq, ts and session_id. */
export const events = {
  SessionStatusChanged: {
    about: 'The session moved on.',
    body: z.object({
      from: z.enum(statuses).optional().describe('Absent when the session was made'),
      to: z.enum(statuses).describe('The status now'),
      reason: z.string().optional().describe('Why: the end reason on the way out, else a sentence'),
      version: z.number().int().describe("The session's version with this change"),
    }),
  },
  ServiceStatusChanged: {
    about: 'A service of the session took a step.',
    body: z.object({
      service_id: z.string().describe('The service, or while none holds it what was asked for, as type=ASR'),
      assignment_id: assignmentId.optional(),
      status: z.enum(serviceStatuses).describe('What it is now'),
      attempt: z.number().int().describe('1 for the first service asked; 0: none was'),
      error: text(1_024).optional().describe('Why it does not serve, or what is waited for'),
      elapsed_ms: milliseconds.describe('Since the session was asked for'),
    }),
  },
  SessionReady: {
    about: "Every required service is ready. Its access_token is minted for the session's own client when it is delivered.",
    body: z.object({
      room_name: roomName,
      livekit_room: livekitRoom.optional(),
      livekit_url: livekitUrl,
      timings: timings.describe('How long each part of the start took'),
      access_token: z.string().optional().describe("On the wire only, and only for the session's own client"),
    }),
  },
  SessionActive: { about: 'The user is in the room.', body: z.object({ participant }) },
  SessionDegraded: {
    about: 'A ready session misses services.',
    body: z.object({ missing: z.array(z.string()).describe('The required services that do not serve now: by id, or what was asked for') }),
  },
  SessionRestored: { about: 'No service is missing any more.', body: z.object({ missing: z.array(z.string()).describe('Always empty') }) },
  ParticipantChanged: {
    about: 'Somebody came into the room or left it.',
    body: z.object({ participant, present: z.boolean().describe('true: it came. false: it left') }),
  },
  MessageAdded: {
    about: 'Somebody said something in the session. What was deleted with its session has an empty content.',
    body: z.object({
      message_id: text(128, 1).describe('Its id within the session'),
      role: text(64, 1).describe('As what it was said: user, assistant, system, ...'),
      content: text(32_768).describe('What was said; empty where it was deleted since'),
      user_id: z.string().optional().describe('Who said it; absent: the operator, a service, or nobody was named'),
    }),
  },
  SessionUpdated: {
    about: 'Somebody changed what the session holds.',
    body: z.object({
      version: z.number().int().describe("The session's version with this change"),
      changed: z.array(z.string()).describe('What changed: context, metadata, visibility, shares or expires_at'),
    }),
  },
  SessionExpiring: {
    about: 'The session ends soon: told 60 s and 10 s before.',
    body: z.object({
      expires_at: time.describe('When it ends, ISO-8601, UTC'),
      reason: z.enum(['ttl', 'duration_limit']).describe('Which of its times is the shorter'),
    }),
  },
  SessionEnded: {
    about: 'The session is over, and its socket free for the next.',
    body: z.object({
      reason: word(endReasons).describe('Why it ended'),
      by: z.enum(['client', 'gateway']).describe('Who ended it'),
      duration_s: z.number().min(0).describe('Seconds since it was asked for'),
      ...unserved,
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type EventType = keyof typeof events;
export type EventBody<T extends EventType> = z.output<(typeof events)[T]['body']>;

/** One entry of a session's log, as it stands on the wire. `seq` starts at 1 and has no gap. */
export type LogEvent<T extends EventType = EventType> = {
  [K in T]: { type: K; seq: number; ts: string; session_id: string } & EventBody<K>;
}[T];

/** What the gateway asks of a service, by its wire `type`. */
export const commands = {
  JoinRoomRequest: {
    about: 'Asks a service to join a session; accept it within 10 s with JoinRoomResponse, then say ServiceReady.',
    body: z.object({
      assignment_id: assignmentId,
      attempt: z.number().int().describe('1 for the first service asked for this place, and one more with each'),
      session_id: sessionId,
      room_name: roomName,
      livekit_room: livekitRoom.optional(),
      service_identity: serviceId,
      user_identity: z.string().optional().describe("The user's identity in the room: the participant to serve"),
      user_name: z.string().optional().describe("The user's display name in the room"),
      livekit_url: livekitUrl,
      access_token: z.string().describe('Lets the service into the room'),
      context: z.record(z.string(), z.unknown()).describe("What the session's users keep with it"),
      metadata: z.record(z.string(), z.union([z.string(), z.array(z.string())])).describe("The session's metadata"),
      place_metadata: z
        .record(z.string(), z.string())
        .optional()
        .describe("What the session was asked for with for this service: agent_metadata and deployment of LiveKit's TokenSource"),
      workspace_dir: z.string().optional().describe("The session's folder"),
      deadline_ms: milliseconds.describe('Left until it must be ready'),
      resuming: z.boolean().describe('It takes over from a service that was lost'),
    }),
  },
  LeaveRoomRequest: {
    about: 'Asks a service to leave the room; answered by ServiceLeft.',
    body: z.object({
      assignment_id: assignmentId,
      reason: z.string().describe('An end reason, or a sentence'),
      deadline_ms: milliseconds.describe('How long the gateway waits for ServiceLeft; 0: it does not'),
    }),
  },
  ClientPresence: {
    about: "The client's socket broke, or it came back. The room and its media go on meanwhile.",
    body: z.object({
      session_id: sessionId,
      status: z.enum(['connected', 'away']).describe('Whether a socket of the client holds the session'),
      resume_deadline: time.optional().describe('away: when the session ends without its client, ISO-8601, UTC'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type CommandType = keyof typeof commands;
export type Command<T extends CommandType = CommandType> = { [K in T]: { type: K } & z.output<(typeof commands)[K]['body']> }[T];

/** What is told on the side, without a place in the log; may be dropped. */
export const notices = {
  ServiceProgress: {
    about: 'How far a service of the session has come.',
    body: z.object({
      session_id: sessionId,
      service_id: serviceId,
      assignment_id: assignmentId,
      phase: z.string().describe('What it does, in its own words'),
      percent: z.number().optional().describe('How much of it is done, 0 to 100'),
      message: z.string().optional().describe('For a person to read'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type NoticeType = keyof typeof notices;
export type Notice<T extends NoticeType = NoticeType> = { [K in T]: { type: K } & z.output<(typeof notices)[K]['body']> }[T];

/** What the gateway says of the connection itself, by its wire `type`. */
export const controls = {
  Hello: {
    about: 'The first frame on a socket that offered the subprotocol.',
    body: z.object({
      protocol: z.literal(1).describe('The major version of this contract'),
      server: z.string().describe('Always session-gateway'),
      version: z.string().describe("The gateway's own version"),
      node_id: z.string().describe('The process; a restart makes a new one'),
      connection_id: z.string().describe('This socket, as the log names it'),
      auth: z.enum(['none', 'required']).describe('Whether peers must say who they are'),
      heartbeat: z
        .object({
          interval_ms: milliseconds.describe('Silence after which a client is pinged'),
          timeout_ms: milliseconds.describe('How long it then has to answer'),
        })
        .describe('When the gateway looks whether a peer is there'),
      limits: z
        .object({
          max_frame_bytes: z.number().int().describe('Largest frame taken'),
          max_depth: z.number().int().describe('Objects and lists inside each other'),
          max_buffered_bytes: z.number().int().describe('Bytes that may wait for this peer'),
          slow_reader_ms: milliseconds.describe('How long it may read none of them'),
          first_frame_ms: milliseconds.describe('How long until a request must have been taken'),
          messages_per_second: z.number().describe('Messages each second, beyond a burst'),
          frames_per_second: z
            .number()
            .optional()
            .describe('Frames each second: messages, fragments, pings, pongs; as many may come at once'),
          bytes_per_second: z.number().optional().describe('Bytes of frames each second; as many may come at once'),
          max_fragments: z.number().int().optional().describe('Fragments of one message'),
          max_refused_in_a_row: z.number().int().describe('Refused frames in a row until it is closed'),
        })
        .describe('What this gateway takes'),
    }),
  },
  GoAway: {
    about: 'The gateway is shutting down and closes this socket with 4452 at the deadline.',
    body: z.object({
      reason: z.string().describe('Always shutdown'),
      deadline_ms: milliseconds.describe('Until the socket is closed'),
    }),
  },
  ResumeComplete: {
    about: 'Every missed event has come; what follows is new.',
    body: z.object({
      session_id: sessionId,
      seq: z.number().int().describe('The last of them; as to_seq in ResumeResponse'),
    }),
  },
  Error: {
    about: 'A request was refused; it changed nothing.',
    body: z.object({
      error: z.string().describe('The kind of error, one word'),
      code: z.string().describe('Which error; for programs'),
      message: z.string().describe('What is wrong; for people'),
      timestamp: time.describe('When, ISO-8601, UTC'),
      retryable: z.boolean().describe('Sending the same again later can help'),
      retry_after_ms: milliseconds.optional().describe('Not before this'),
      session_id: sessionId.optional().describe('The session this socket holds'),
      details: z.record(z.string(), z.unknown()).optional().describe('More, by code: issues, session_id, reason, missing, error_id'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type ControlType = keyof typeof controls;
