import { z } from 'zod';
import { kinds } from './access.ts';
import { failureReasons } from './failures.ts';
import { assignmentId, milliseconds, serviceId, sessionId, text, time, titled, word } from './fields.ts';
import { endReasons, serviceStatuses, shareRoles, statuses, visibilities } from './states.ts';

const services = z.array(z.string());
const readyServices = services.describe('Services that are ready, by id');
const pendingServices = services.describe('Requested services that are not ready yet: the id, or the selector, as in type=ASR');
const status = z.enum(statuses).describe("The session's status");
const failure = z.object({
  service: z.string().describe('As listed in missing'),
  reason: word(failureReasons).describe('Why it was not ready'),
  message: z.string().optional().describe('Reported by the service itself, at most 200 characters'),
});
titled('Failure', failure);

/** The required services that were not ready when the session ended; absent: all were. */
export const unserved = {
  missing: z
    .array(z.string())
    .optional()
    .describe('If it ended for that reason: the required services that were not ready, by id or selector'),
  failures: z.array(failure).optional().describe('Why each service in missing was not ready, in the same order'),
};
const expires = time.describe('When the session expires, ISO-8601, UTC');
export const livekitUrl = z.string().describe('Address of LiveKit for joining the room');
/** As it is sent; what may be asked for is in fields.ts. */
export const sentRoomName = z.string().describe('The room');
export const livekitRoom = z
  .string()
  .describe('The name of the room in LiveKit: room_name, or for a chosen room_name with a suffix, as in kitchen~k3v7q2xa');
const success = z.literal(true).describe('Always true; a refusal is an Error');
const said = text(256).describe('Human-readable summary');

/** How long each part of the start took, in ms since the request; a part that has not happened is absent. */
export const timings = z.object({
  room_ms: milliseconds.optional().describe('The room existed'),
  services_ms: milliseconds.optional().describe('Every required service was ready'),
  total_ms: milliseconds.optional().describe('The session was Ready'),
});
titled('Timings', timings);
export type Timings = z.output<typeof timings>;

export const participant = z.object({
  identity: z.string().describe('The identity in the room'),
  kind: z.string().describe('Its kind in LiveKit: standard, agent, ...'),
  joined_at: time.describe('When it joined, ISO-8601, UTC'),
});
titled('Participant', participant);

const sessionService = z.object({
  service_id: z.string().describe('The service; while none is assigned, the selector, as in type=ASR'),
  status: z.enum(serviceStatuses).describe('Its status'),
  required: z.boolean().describe('Ready waits for it'),
  assignment_id: assignmentId.optional().describe('Its assignment in this session; absent: none is assigned'),
  error: z.string().optional().describe('Why the last service failed, or why none was asked'),
});
titled('SessionService', sessionService);

/** A session as shown to those who may read it. */
export const snapshot = z.object({
  session_id: sessionId,
  status,
  version: z.number().int().describe('Increases with each change'),
  seq: z.number().int().describe('The last event this reflects'),
  owner_id: z.string().optional().describe('The owner; absent: no user was named'),
  user_identity: z.string().optional().describe("The user's identity in the room"),
  room_name: z.string().optional().describe('The room; absent: it has none'),
  livekit_room: livekitRoom.optional(),
  livekit_url: z.string().optional().describe('Address of LiveKit for joining the room'),
  workspace_dir: z.string().optional().describe('The folder, with links and .. resolved'),
  metadata: z.record(z.string(), z.union([z.string(), z.array(z.string())])).describe('As requested, values as strings'),
  context: z.record(z.string(), z.unknown()).describe('Content that its users keep with it'),
  context_omitted: z
    .literal(true)
    .optional()
    .describe('true in a list: the page had no room for the context, which is empty here; read the session itself'),
  visibility: z.enum(visibilities).describe('Who may read it besides the owner'),
  shares: z
    .record(z.string(), z.enum(shareRoles))
    .optional()
    .describe('Role of each user it is shared with; shown to its owner and the operator only'),
  messages: z.number().int().describe('How many messages were added to it'),
  health: z.enum(['ok', 'degraded']).describe('degraded: Ready or Active, but a required service is missing'),
  link: z
    .enum(['attached', 'away', 'none'])
    .describe('Whether a client socket holds it; away: the socket broke, and the client may resume'),
  resume_deadline: time.optional().describe('away: when the session ends without its client, ISO-8601, UTC'),
  ready_services: readyServices,
  pending_services: pendingServices,
  services: z.array(sessionService).describe('Every requested service, required ones first'),
  participants: z.array(participant).describe('Who is in the room, as last seen'),
  created_at: time.describe('When it was requested, ISO-8601, UTC'),
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
  role: z.string().describe('Role of the speaker: user, assistant, system, ...'),
  content: z.string().describe('The text'),
  user_id: z.string().optional().describe('The user who wrote it; absent: the operator, a service, or no user was named'),
  created_at: time.describe('When it was stored, ISO-8601, UTC'),
});
titled('Message', message);

const sharing = z.object({
  session_id: sessionId,
  visibility: z.enum(visibilities).describe('Who may read it besides the owner'),
  shares: z.record(z.string(), z.enum(shareRoles)).describe('Role of each user it is shared with'),
});

/** Every answer the gateway gives, by its wire `type`. */
export const answers = {
  Pong: {
    about: 'The answer to a heartbeat.',
    body: z.object({
      t: z.number().optional().describe('The value from Ping'),
      server_time: time.describe("The gateway's clock, ISO-8601, UTC"),
    }),
  },
  IdentifyResponse: {
    about: 'The socket belongs to this peer from now on.',
    body: z.object({
      kind: z.enum(kinds).optional().describe('Who it is; absent: nobody in particular, who may do everything'),
      identity: z.string().optional().describe('Its own identity'),
      user_identity: z.string().optional().describe('The user it speaks for'),
      scopes: z.array(z.string()).optional().describe('What it may do as an operator'),
      expires_at: time.optional().describe('When its credential expires, ISO-8601, UTC; absent: never'),
      heartbeat_s: z.number().describe('Seconds of silence after which it is pinged'),
    }),
  },
  NewSessionResponse: {
    about: 'The session has left Creating; the events after seq follow.',
    body: z.object({
      session_id: sessionId,
      status,
      room_name: z.string().optional().describe('The room; absent: it has none'),
      livekit_room: livekitRoom.optional(),
      livekit_url: z.string().optional().describe('Where the client joins the room'),
      access_token: z
        .string()
        .optional()
        .describe('Admits the user to the room; present if the session is Ready or token_policy is immediate'),
      workspace_dir: z.string().optional().describe('With links and .. resolved'),
      ready_services: readyServices,
      pending_services: pendingServices,
      created_at: time.describe('When it was requested, ISO-8601, UTC'),
      expires_at: expires,
      seq: z.number().int().describe('The position this reflects; the next event has seq + 1'),
      timings: timings.describe('How long each part of the start took; a part that has not happened is absent'),
      replayed: z.boolean().describe('true: the session already existed for this idempotency key'),
      resume_window_s: z.number().int().describe('Seconds the session waits for its client after the socket breaks'),
      resume_token: z
        .string()
        .optional()
        .describe('Lets the client resume on a new socket; present if resume_window_s is not 0. It replaces earlier ones'),
    }),
  },
  ResumeResponse: {
    about: 'This socket holds the session. The missed events follow, then ResumeComplete.',
    body: z.object({
      session_id: sessionId,
      recovered: z.boolean().describe('false: some of the missed events were dropped, so none is sent; start over from the snapshot'),
      snapshot: snapshot.describe('As GetSessionResponse'),
      from_seq: z.number().int().describe('The first event that follows'),
      to_seq: z.number().int().describe('The last event before ResumeComplete; one less than from_seq: none follows'),
      access_token: z
        .string()
        .optional()
        .describe('Admits the user to the room; present if recovered is false and the session is Ready or Active'),
    }),
  },
  RefreshTokenResponse: {
    about: 'A new token; earlier ones stay valid.',
    body: z.object({
      session_id: sessionId,
      access_token: z.string().describe('Admits its bearer to the room'),
      livekit_url: z.string().describe('Address of LiveKit for joining the room'),
      expires_at: time.describe('When the token expires, ISO-8601, UTC'),
    }),
  },
  DeregisterServiceResponse: {
    about: 'The service is offered no further sessions.',
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
      next_cursor: z.string().optional().describe('Pass it as cursor for the next page; absent: this was the last page'),
    }),
  },
  UpdateSessionResponse: {
    about: 'The change is stored.',
    body: z.object({ session_id: sessionId, version: z.number().int().describe('Its new version') }),
  },
  ExtendSessionResponse: {
    about: 'The session has its new end time.',
    body: z.object({ session_id: sessionId, expires_at: time.describe('When it now expires, ISO-8601, UTC') }),
  },
  AddMessageResponse: {
    about: 'The message is stored.',
    body: message.extend({ session_id: sessionId, duplicate: z.boolean().describe('true: it was already stored, and nothing changed') }),
  },
  GetMessagesResponse: {
    about: 'One page of messages, the oldest first.',
    body: z.object({
      session_id: sessionId,
      items: z.array(message).describe('The messages, by seq'),
      next_after: z.number().int().optional().describe('Pass it as after for the next page; absent: this was the last page'),
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
  UnwatchResponse: { about: 'No further event of this session is sent here.', body: z.object({ session_id: sessionId }) },
  DeleteSessionResponse: {
    about: 'The session is ending, or has ended, and its messages are deleted.',
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
      keep: z.array(assignmentId).describe('Of those it named in held: continue'),
      release: z.array(assignmentId).describe('Of those it named in held: over, leave the room'),
    }),
  },
  ServiceReadyResponse: {
    about: 'The service counts as ready.',
    body: z.object({
      success,
      session_id: sessionId,
      service_id: serviceId,
      all_ready: z.boolean().describe('Every required service is ready'),
    }),
  },
} satisfies Record<string, { about: string; body: z.ZodObject }>;
export type AnswerType = keyof typeof answers;
