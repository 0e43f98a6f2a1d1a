import { z } from 'zod';
import { participant as anyParticipant, livekitRoom, livekitUrl, sentRoomName, timings, unserved } from './answers.ts';
import { assignmentId, milliseconds, text, time, word } from './fields.ts';
import { endReasons, serviceStatuses, statuses } from './states.ts';

const participant = anyParticipant.describe('Who it is');

/** Everything that is written into a session's log, by its wire `type`; on the wire each carries seq, ts and session_id. */
export const events = {
  SessionStatusChanged: {
    about: 'The status of the session has changed.',
    body: z.object({
      from: z.enum(statuses).optional().describe('Absent when the session was created'),
      to: z.enum(statuses).describe('The new status'),
      reason: z.string().optional().describe('Why: the end reason if it ends, else a sentence'),
      version: z.number().int().describe("The session's version with this change"),
    }),
  },
  ServiceStatusChanged: {
    about: 'The status of a service in the session has changed.',
    body: z.object({
      service_id: z.string().describe('The service; while none is assigned, the selector, as in type=ASR'),
      assignment_id: assignmentId.optional(),
      status: z.enum(serviceStatuses).describe('Its new status'),
      attempt: z.number().int().describe('1 for the first service asked; 0: none was asked'),
      error: text(1_024).optional().describe('Why it is not ready, or what the session waits for'),
      elapsed_ms: milliseconds.describe('Since the session was requested'),
    }),
  },
  SessionReady: {
    about: "Every required service is ready. Its access_token is minted for the session's own client when it is delivered.",
    body: z.object({
      room_name: sentRoomName,
      livekit_room: livekitRoom.optional(),
      livekit_url: livekitUrl,
      timings: timings.describe('How long each part of the start took'),
      access_token: z.string().optional().describe("On the wire only, and only for the session's own client"),
    }),
  },
  SessionActive: { about: 'The user is in the room.', body: z.object({ participant }) },
  SessionDegraded: {
    about: 'Required services of a ready session are missing.',
    body: z.object({ missing: z.array(z.string()).describe('The required services that are not ready now, by id or selector') }),
  },
  SessionRestored: {
    about: 'All required services are ready again.',
    body: z.object({ missing: z.array(z.string()).describe('Always empty') }),
  },
  ParticipantChanged: {
    about: 'A participant joined the room or left it.',
    body: z.object({ participant, present: z.boolean().describe('true: it joined. false: it left') }),
  },
  MessageAdded: {
    about: 'A message was added to the session. After deletion its content is empty.',
    body: z.object({
      message_id: text(128, 1).describe('Its id within the session'),
      role: text(64, 1).describe('Role of the speaker: user, assistant, system, ...'),
      content: text(32_768).describe('The text; empty if it was deleted since'),
      user_id: z.string().optional().describe('The user who wrote it; absent: the operator, a service, or no user was named'),
    }),
  },
  SessionUpdated: {
    about: 'The content of the session was changed.',
    body: z.object({
      version: z.number().int().describe("The session's version with this change"),
      changed: z.array(z.string()).describe('What changed: context, metadata, visibility, shares or expires_at'),
    }),
  },
  SessionExpiring: {
    about: 'The session ends soon: sent 60 s and 10 s before.',
    body: z.object({
      expires_at: time.describe('When it ends, ISO-8601, UTC'),
      reason: z.enum(['ttl', 'duration_limit']).describe('Which of its limits is reached first'),
    }),
  },
  SessionEnded: {
    about: 'The session is over, and its socket is free for the next one.',
    body: z.object({
      reason: word(endReasons).describe('Why it ended'),
      by: z.enum(['client', 'gateway']).describe('Who ended it'),
      duration_s: z.number().min(0).describe('Seconds since it was requested'),
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
