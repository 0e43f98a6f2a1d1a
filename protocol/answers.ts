import { z } from 'zod';
import { assignmentId, milliseconds, serviceId, sessionId, text, time } from './fields.ts';
import { endReasons, serviceStatuses, statuses } from './states.ts';

const services = z.array(z.string());

/** How long each part of the start took, in ms since the request; a part that has not happened is absent. */
export const timings = z.object({
  room_ms: milliseconds.optional().describe('The room was there'),
  services_ms: milliseconds.optional().describe('Every required service was ready'),
  total_ms: milliseconds.optional().describe('The session was Ready'),
});
export type Timings = z.output<typeof timings>;

/** What a session is, to those who may read it. */
export const snapshot = z.object({
  session_id: sessionId,
  status: z.enum(statuses),
  version: z.number().int().describe('Grows with each change'),
  seq: z.number().int().describe('The last event this reflects'),
  owner_id: z.string().optional(),
  user_identity: z.string().optional(),
  room_name: z.string().optional(),
  livekit_url: z.string().optional(),
  workspace_dir: z.string().optional(),
  metadata: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
  health: z.enum(['ok', 'degraded']),
  link: z.enum(['attached', 'none']).describe('Whether a client socket holds it'),
  ready_services: services,
  pending_services: services,
  services: z.array(z.object({ service_id: serviceId, status: z.enum(serviceStatuses), assignment_id: assignmentId.optional() })),
  participants: z.array(z.object({ identity: z.string(), kind: z.string(), joined_at: time })),
  created_at: time,
  updated_at: time,
  expires_at: time,
  end_reason: z.enum(endReasons).optional(),
});
export type Snapshot = z.output<typeof snapshot>;

/** Every answer the gateway gives, by its wire `type`. */
export const answers = {
  Pong: { about: 'A sign of life.', body: z.object({ t: z.number().optional(), server_time: time }) },
  NewSessionResponse: {
    about: 'The session left Creating; the events after seq follow.',
    body: z.object({
      session_id: sessionId,
      status: z.enum(statuses),
      room_name: z.string().optional(),
      livekit_url: z.string().optional().describe('Where the client joins the room'),
      access_token: z
        .string()
        .optional()
        .describe('Lets the user into the room; here when the session is Ready or token_policy is immediate'),
      workspace_dir: z.string().optional().describe('With links and .. resolved'),
      ready_services: services,
      pending_services: services,
      created_at: time,
      expires_at: time,
      seq: z.number().int().describe('The position this reflects; the next event has seq + 1'),
      timings,
    }),
  },
  GetSessionResponse: { about: 'The session as it is now.', body: snapshot },
  EndSessionResponse: {
    about: 'The session is ending, or has ended.',
    body: z.object({ session_id: sessionId, status: z.enum(statuses) }),
  },
  RegisterServiceResponse: {
    about: 'The service is registered.',
    body: z.object({
      success: z.literal(true),
      service_id: serviceId,
      message: text(256),
      keep: z.array(assignmentId).describe('Of what it held: go on'),
      release: z.array(assignmentId).describe('Of what it held: over, leave the room'),
    }),
  },
  ServiceReadyResponse: {
    about: 'The ready event was taken.',
    body: z.object({
      success: z.literal(true),
      session_id: sessionId,
      service_id: serviceId,
      all_ready: z.boolean().describe('Every required service is ready'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type AnswerType = keyof typeof answers;
