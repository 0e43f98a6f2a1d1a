import { z } from 'zod';
import { failureReasons } from './failures.ts';
import { assignmentId, milliseconds, serviceId, sessionId, text, time, titled, word } from './fields.ts';
import { endReasons, serviceStatuses, shareRoles, statuses, visibilities } from './states.ts';

const services = z.array(z.string());
const readyServices = services.describe('Services that serve it, by id');
const pendingServices = services.describe('Services asked for that do not serve yet: the id, or what was asked for, as type=ASR');
const status = z.enum(statuses).describe("The session's status");
const failure = z.object({
  service: z.string().describe('As in missing'),
  reason: word(failureReasons).describe('Why it did not serve'),
  message: z.string().optional().describe('What the service itself said, at most 200 characters'),
});
titled('Failure', failure);

/** The required services that did not serve when the session ended; absent: all did. */
export const unserved = {
  missing: z
    .array(z.string())
    .optional()
    .describe('Where it ended for that: the required services that did not serve, by id, or what was asked for'),
  failures: z.array(failure).optional().describe('Why each of missing did not serve, in the same order'),
};
const expires = time.describe('When the session ends by itself, ISO-8601, UTC');
export const livekitUrl = z.string().describe('Where the room is joined');
/** As it is sent; what may be asked for is in fields.ts. */
export const sentRoomName = z.string().describe('The room');
export const livekitRoom = z
  .string()
  .describe('What LiveKit calls the room: room_name, or for a room_name that was asked for that and a suffix, as kitchen~k3v7q2xa');
const success = z.literal(true).describe('Always true; a refusal is an Error');
const said = text(256).describe('The same in words');

/** How long each part of the start took, in ms since the request; a part that has not happened is absent. */
export const timings = z.object({
  room_ms: milliseconds.optional().describe('The room was there'),
  services_ms: milliseconds.optional().describe('Every required service was ready'),
  total_ms: milliseconds.optional().describe('The session was Ready'),
});
titled('Timings', timings);
export type Timings = z.output<typeof timings>;

export const participant = z.object({
  identity: z.string().describe('The identity in the room'),
  kind: z.string().describe('What LiveKit calls it: standard, agent, ...'),
  joined_at: time.describe('When it came, ISO-8601, UTC'),
});
titled('Participant', participant);

const sessionService = z.object({
  service_id: z.string().describe('The service, or while none holds it what was asked for, as type=ASR'),
  status: z.enum(serviceStatuses).describe('How far it is'),
  required: z.boolean().describe('Ready waits for it'),
  assignment_id: assignmentId.optional().describe('Its part in this session; absent: none holds it'),
  error: z.string().optional().describe('Why the last one did not serve, or none was asked'),
});
titled('SessionService', sessionService);

/** What a session is, to those who may read it. */
export const snapshot = z.object({
  session_id: sessionId,
  status,
  version: z.number().int().describe('Grows with each change'),
  seq: z.number().int().describe('The last event this reflects'),
  owner_id: z.string().optional().describe('Whose session it is; absent: nobody was named'),
  user_identity: z.string().optional().describe("The user's identity in the room"),
  room_name: z.string().optional().describe('The room; absent: it has none'),
  livekit_room: livekitRoom.optional(),
  livekit_url: z.string().optional().describe('Where the room is joined'),
  workspace_dir: z.string().optional().describe('The folder, with links and .. resolved'),
  metadata: z.record(z.string(), z.union([z.string(), z.array(z.string())])).describe('As it was asked for, values as strings'),
  context: z.record(z.string(), z.unknown()).describe('What its users keep with it'),
  context_omitted: z
    .literal(true)
    .optional()
    .describe('In a list whose page has no room for the context, which is then empty: read the session'),
  visibility: z.enum(visibilities).describe('Who besides the owner may read it'),
  shares: z
    .record(z.string(), z.enum(shareRoles))
    .optional()
    .describe('With whom it is shared and as what, by user; told to its owner and the operator'),
  messages: z.number().int().describe('How many messages were added to it'),
  health: z.enum(['ok', 'degraded']).describe('degraded: it is Ready or Active, and a required service is missing'),
  link: z.enum(['attached', 'away', 'none']).describe('Whether a client socket holds it; away: its socket broke, and it may come back'),
  resume_deadline: time.optional().describe('away: when the session ends without its client, ISO-8601, UTC'),
  ready_services: readyServices,
  pending_services: pendingServices,
  services: z.array(sessionService).describe('Every service asked for, required ones first'),
  participants: z.array(participant).describe('Who is in the room, as last seen'),
  created_at: time.describe('When it was asked for, ISO-8601, UTC'),
  updated_at: time.describe('When it last changed, ISO-8601, UTC'),
  expires_at: expires,
  end_reason: word(endReasons).optional().describe('Why it ended; absent: it has not'),
  ...unserved,
});
titled('Session', snapshot);
export type Snapshot = z.output<typeof snapshot>;

export const message = z.object({
  message_id: z.string().describe('Its id within the session'),
  seq: z.number().int().describe("Its place in the session's log"),
  role: z.string().describe('As what it was said: user, assistant, system, ...'),
  content: z.string().describe('What was said'),
  user_id: z.string().optional().describe('Who said it; absent: the operator, a service, or nobody was named'),
  created_at: time.describe('When it was kept, ISO-8601, UTC'),
});
titled('Message', message);

const sharing = z.object({
  session_id: sessionId,
  visibility: z.enum(visibilities).describe('Who besides the owner may read it'),
  shares: z.record(z.string(), z.enum(shareRoles)).describe('With whom it is shared and as what, by user'),
});

/** Every answer the gateway gives, by its wire `type`. */
export const answers = {
  Pong: {
    about: 'The answer to a heartbeat.',
    body: z.object({
      t: z.number().optional().describe('As it came in Ping'),
      server_time: time.describe("The gateway's clock, ISO-8601, UTC"),
    }),
  },
  NewSessionResponse: {
    about: 'The session left Creating; the events after seq follow.',
    body: z.object({
      session_id: sessionId,
      status,
      room_name: z.string().optional().describe('The room; absent: it has none'),
      livekit_room: livekitRoom.optional(),
      livekit_url: z.string().optional().describe('Where the client joins the room'),
      access_token: z
        .string()
        .optional()
        .describe('Lets the user into the room; here when the session is Ready or token_policy is immediate'),
      workspace_dir: z.string().optional().describe('With links and .. resolved'),
      ready_services: readyServices,
      pending_services: pendingServices,
      created_at: time.describe('When it was asked for, ISO-8601, UTC'),
      expires_at: expires,
      seq: z.number().int().describe('The position this reflects; the next event has seq + 1'),
      timings: timings.describe('How long each part of the start took; a part that has not happened is absent'),
      replayed: z.boolean().describe('The session was there before: the same idempotency key was used'),
      resume_window_s: z.number().int().describe('Seconds the session waits for its client after a broken socket'),
      resume_token: z
        .string()
        .optional()
        .describe('Lets the client come back on a new socket; here when resume_window_s is not 0. An earlier one ends with it'),
    }),
  },
  ResumeResponse: {
    about: 'This socket holds the session. The missed events follow, then ResumeComplete.',
    body: z.object({
      session_id: sessionId,
      recovered: z.boolean().describe('false: some of the missed events are no longer kept, so none is sent; start over from the snapshot'),
      snapshot: snapshot.describe('As GetSessionResponse'),
      from_seq: z.number().int().describe('The first event that follows'),
      to_seq: z.number().int().describe('The last event before ResumeComplete; one less than from_seq: none follows'),
      access_token: z
        .string()
        .optional()
        .describe('Lets the user into the room; here when recovered is false and the session is Ready or Active'),
    }),
  },
  RefreshTokenResponse: {
    about: 'A new token; earlier ones stay valid.',
    body: z.object({
      session_id: sessionId,
      access_token: z.string().describe('Lets its bearer into the room'),
      livekit_url: z.string().describe('Where the room is joined'),
      expires_at: time.describe('When the token ends, ISO-8601, UTC'),
    }),
  },
  DeregisterServiceResponse: {
    about: 'The service gets no further sessions.',
    body: z.object({
      success,
      service_id: serviceId,
      message: said,
      sessions: z.number().int().describe('Sessions it still serves'),
    }),
  },
  GetSessionResponse: { about: 'The session as it is now.', body: snapshot },
  ListSessionsResponse: {
    about: 'One page of sessions.',
    body: z.object({
      items: z.array(snapshot).describe('The sessions, the newest first'),
      next_cursor: z.string().optional().describe('Ask with it as cursor for the next page; absent: this was the end'),
    }),
  },
  UpdateSessionResponse: {
    about: 'The session holds it now.',
    body: z.object({ session_id: sessionId, version: z.number().int().describe('The version it has now') }),
  },
  ExtendSessionResponse: {
    about: 'The session has its new end.',
    body: z.object({ session_id: sessionId, expires_at: time.describe('When it ends by itself now, ISO-8601, UTC') }),
  },
  AddMessageResponse: {
    about: 'The message is kept.',
    body: message.extend({ session_id: sessionId, duplicate: z.boolean().describe('It was there before: nothing changed') }),
  },
  GetMessagesResponse: {
    about: 'One page of messages, the oldest first.',
    body: z.object({
      session_id: sessionId,
      items: z.array(message).describe('The messages, by seq'),
      next_after: z.number().int().optional().describe('Ask with it as after for the next page; absent: this was the end'),
    }),
  },
  ShareSessionResponse: { about: 'With whom the session is shared.', body: sharing },
  UnshareSessionResponse: { about: 'With whom the session is shared.', body: sharing },
  WatchResponse: {
    about: 'The session as it is now; the events after its seq follow.',
    body: z.object({
      session_id: sessionId,
      seq: z.number().int().describe('The position this reflects; the next event has seq + 1'),
      session: snapshot.describe('As GetSessionResponse'),
    }),
  },
  UnwatchResponse: { about: 'No further event of this session comes here.', body: z.object({ session_id: sessionId }) },
  DeleteSessionResponse: {
    about: 'The session is ending, or has ended, and its messages are forgotten.',
    body: z.object({ session_id: sessionId, status }),
  },
  EndSessionResponse: {
    about: 'The session is ending, or has ended.',
    body: z.object({ session_id: sessionId, status }),
  },
  RegisterServiceResponse: {
    about: 'The service is registered.',
    body: z.object({
      success,
      service_id: serviceId,
      message: said,
      keep: z.array(assignmentId).describe('Of what it held: go on'),
      release: z.array(assignmentId).describe('Of what it held: over, leave the room'),
    }),
  },
  ServiceReadyResponse: {
    about: 'The ready event was taken.',
    body: z.object({
      success,
      session_id: sessionId,
      service_id: serviceId,
      all_ready: z.boolean().describe('Every required service is ready'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type AnswerType = keyof typeof answers;
