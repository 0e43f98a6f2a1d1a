import { z } from 'zod';
import { assignmentId, serviceId, sessionId } from './fields.ts';

/** What is sent beside a session's log, without a place in it, by its wire `type`; may be dropped. */
export const notices = {
  ServiceProgress: {
    about: 'Progress of a service in the session.',
    body: z.object({
      session_id: sessionId,
      service_id: serviceId,
      assignment_id: assignmentId,
      phase: z.string().describe('What it is doing, in its own words'),
      percent: z.number().optional().describe('Percentage done, 0 to 100'),
      message: z.string().optional().describe('Human-readable'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type NoticeType = keyof typeof notices;
export type Notice<T extends NoticeType = NoticeType> = { [K in T]: { type: K } & z.output<(typeof notices)[K]['body']> }[T];
