import { z } from 'zod';
import { timings } from './answers.ts';
import { assignmentId, milliseconds, serviceId, sessionId, text, time } from './fields.ts';
import { endReasons, serviceStatuses, statuses } from './states.ts';

const participant = z.object({ identity: z.string(), kind: z.string(), joined_at: time });

/** Everything that is written into a session's log, by its wire `type`; on the wire each carries seq, ts and session_id. */
export const events = {
  SessionStatusChanged: {
    about: 'The session moved on.',
    body: z.object({
      from: z.enum(statuses).optional().describe('Absent when the session was made'),
      to: z.enum(statuses),
      reason: z.string().optional(),
      version: z.number().int(),
    }),
  },
  ServiceStatusChanged: {
    about: 'A service of the session took a step.',
    body: z.object({
      service_id: serviceId,
      assignment_id: assignmentId.optional(),
      status: z.enum(serviceStatuses),
      attempt: z.number().int().describe('1 for the first service asked'),
      error: text(1_024).optional(),
      elapsed_ms: milliseconds.describe('Since the session was asked for'),
    }),
  },
  SessionReady: {
    about: "Every required service is ready. Its access_token is minted for the session's own client when it is delivered.",
    body: z.object({ room_name: z.string(), livekit_url: z.string(), timings }),
  },
  SessionActive: { about: 'The user is in the room.', body: z.object({ participant }) },
  SessionDegraded: { about: 'A ready session misses services.', body: z.object({ missing: z.array(serviceId) }) },
  SessionRestored: { about: 'No service is missing any more.', body: z.object({ missing: z.array(serviceId) }) },
  ParticipantChanged: {
    about: 'Somebody came into the room or left it.',
    body: z.object({ participant, present: z.boolean() }),
  },
  SessionEnded: {
    about: 'The session is over, and its socket free for the next.',
    body: z.object({ reason: z.enum(endReasons), by: z.enum(['client', 'gateway']), duration_s: z.number().min(0) }),
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
      attempt: z.number().int(),
      session_id: sessionId,
      room_name: z.string(),
      service_identity: serviceId,
      livekit_url: z.string(),
      access_token: z.string().describe('Lets the service into the room'),
      metadata: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
      workspace_dir: z.string().optional(),
      deadline_ms: milliseconds.describe('Left until it must be ready'),
      resuming: z.boolean().describe('It takes over from a service that was lost'),
    }),
  },
  LeaveRoomRequest: {
    about: 'Asks a service to leave the room; answered by ServiceLeft.',
    body: z.object({ assignment_id: assignmentId, reason: z.string(), deadline_ms: milliseconds }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type CommandType = keyof typeof commands;
export type Command<T extends CommandType = CommandType> = { [K in T]: { type: K } & z.output<(typeof commands)[K]['body']> }[T];

/** What the gateway says of the connection itself, by its wire `type`. */
export const controls = {
  Hello: {
    about: 'The first frame on a socket that offered the subprotocol.',
    body: z.object({
      protocol: z.literal(1),
      server: z.string(),
      version: z.string(),
      node_id: z.string(),
      connection_id: z.string(),
      auth: z.enum(['none', 'required']),
      heartbeat: z.object({ interval_ms: milliseconds, timeout_ms: milliseconds }),
      limits: z.object({
        max_frame_bytes: z.number().int(),
        max_depth: z.number().int(),
        max_buffered_bytes: z.number().int(),
        slow_reader_ms: milliseconds,
        first_frame_ms: milliseconds,
        messages_per_second: z.number(),
        max_refused_in_a_row: z.number().int(),
      }),
    }),
  },
  GoAway: {
    about: 'The gateway is shutting down and closes this socket with 4452 at the deadline.',
    body: z.object({ reason: z.string(), deadline_ms: milliseconds }),
  },
  Error: {
    about: 'A request was refused; it changed nothing.',
    body: z.object({
      error: z.string(),
      code: z.string(),
      message: z.string(),
      timestamp: time,
      retryable: z.boolean(),
      retry_after_ms: milliseconds.optional(),
      session_id: sessionId.optional(),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type ControlType = keyof typeof controls;
