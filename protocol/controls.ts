import { z } from 'zod';
import { milliseconds, sessionId, time } from './fields.ts';

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
