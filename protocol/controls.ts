import { z } from 'zod';
import { milliseconds, sessionId, time } from './fields.ts';

/** What the gateway sends about the connection itself, by its wire `type`. */
export const controls = {
  Hello: {
    about: 'The first frame on a socket that offered the subprotocol.',
    body: z.object({
      protocol: z.literal(1).describe('The major version of this contract'),
      server: z.string().describe('Always session-gateway'),
      version: z.string().describe("The gateway's own version"),
      node_id: z.string().describe('The process; new after each restart'),
      connection_id: z.string().describe('This socket, as named in the log'),
      auth: z.enum(['none', 'required']).describe('Whether peers must authenticate'),
      auth_methods: z.array(z.string()).optional().describe('Which credentials are taken: key, jwt; others may come'),
      heartbeat: z
        .object({
          interval_ms: milliseconds.describe('Silence after which a client is pinged'),
          timeout_ms: milliseconds.describe('How long the client then has to answer'),
        })
        .describe('How the gateway detects a dead peer'),
      limits: z
        .object({
          max_frame_bytes: z.number().int().describe('Largest frame accepted'),
          max_depth: z.number().int().describe('Nesting depth of objects and lists'),
          max_buffered_bytes: z.number().int().describe('Outgoing buffer for this peer, in bytes'),
          slow_reader_ms: milliseconds.describe('How long it may read nothing from a full buffer'),
          first_frame_ms: milliseconds.describe(
            'Time limit for the first valid message; where a peer must authenticate, for that, and none after it',
          ),
          messages_per_second: z.number().describe('Messages per second, beyond a burst'),
          frames_per_second: z
            .number()
            .optional()
            .describe('Frames per second: messages, fragments, pings, pongs; also the size of a burst'),
          bytes_per_second: z.number().optional().describe('Bytes of frames per second; also the size of a burst'),
          max_fragments: z.number().int().optional().describe('Fragments of one message'),
          max_refused_in_a_row: z.number().int().describe('Consecutive refused frames before the socket is closed'),
        })
        .describe('Limits of this gateway'),
    }),
  },
  GoAway: {
    about: 'The gateway is shutting down and closes this socket with 4452 at the deadline.',
    body: z.object({
      reason: z.string().describe('Always shutdown'),
      deadline_ms: milliseconds.describe('Until the socket is closed'),
    }),
  },
  CredentialExpiring: {
    about: 'The credential of this socket expires; then it is closed with 4460. IdentifyRequest with a new one extends it.',
    body: z.object({ expires_at: time.describe('When, ISO-8601, UTC') }),
  },
  ResumeComplete: {
    about: 'All missed events have been sent; what follows is new.',
    body: z.object({
      session_id: sessionId,
      seq: z.number().int().describe('The last of them; as to_seq in ResumeResponse'),
    }),
  },
  Error: {
    about: 'A request was refused; it changed nothing.',
    body: z.object({
      error: z.string().describe('The kind of error, one word'),
      code: z.string().describe('The error code; for programs'),
      message: z.string().describe('What is wrong; human-readable'),
      timestamp: time.describe('When, ISO-8601, UTC'),
      retryable: z.boolean().describe('Whether sending the same again later can help'),
      retry_after_ms: milliseconds.optional().describe('Do not retry earlier'),
      session_id: sessionId.optional().describe('The session this socket holds'),
      details: z.record(z.string(), z.unknown()).optional().describe('Depends on the code: issues, session_id, reason, missing, error_id'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type ControlType = keyof typeof controls;
