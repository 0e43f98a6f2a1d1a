import { z } from 'zod';
import { livekitRoom, livekitUrl, sentRoomName } from './answers.ts';
import { assignmentId, milliseconds, serviceId, sessionId, time } from './fields.ts';

/** What the gateway sends to services, by its wire `type`. */
export const commands = {
  JoinRoomRequest: {
    about: 'Asks a service to join a session; accept it within 10 s with JoinRoomResponse, then send ServiceReady.',
    body: z.object({
      assignment_id: assignmentId,
      attempt: z.number().int().describe('1 for the first service asked for this place, then counting up'),
      session_id: sessionId,
      room_name: sentRoomName,
      livekit_room: livekitRoom.optional(),
      service_identity: serviceId,
      user_identity: z.string().optional().describe("The user's identity in the room: the participant to serve"),
      user_name: z.string().optional().describe("The user's display name in the room"),
      livekit_url: livekitUrl,
      access_token: z.string().describe('Admits the service to the room'),
      context: z.record(z.string(), z.unknown()).describe("Content that the session's users keep with it"),
      metadata: z.record(z.string(), z.union([z.string(), z.array(z.string())])).describe("The session's metadata"),
      place_metadata: z
        .record(z.string(), z.string())
        .optional()
        .describe("Requested for this service: agent_metadata and deployment of LiveKit's TokenSource"),
      workspace_dir: z.string().optional().describe("The session's directory"),
      deadline_ms: milliseconds.describe('Time left until it must be ready'),
      resuming: z.boolean().describe('true: it replaces a service that was lost'),
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
    about: "The client's socket broke, or the client is back. The room and its media continue meanwhile.",
    body: z.object({
      session_id: sessionId,
      status: z.enum(['connected', 'away']).describe('Whether a socket of the client holds the session'),
      resume_deadline: time.optional().describe('away: when the session ends without its client, ISO-8601, UTC'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type CommandType = keyof typeof commands;
export type Command<T extends CommandType = CommandType> = { [K in T]: { type: K } & z.output<(typeof commands)[K]['body']> }[T];
