import { z } from 'zod';
import type { AnswerType, answers } from './answers.ts';
import {
  assignmentId,
  httpUrl,
  identity,
  isLight,
  json,
  keyRule,
  labels,
  maxServiceMetadataBytes,
  metadata,
  roomName,
  serviceId,
  sessionId,
  storableKeys,
  text,
  titled,
  wanted,
} from './fields.ts';
import type { Role } from './roles.ts';
import { availabilities, shareRoles, statuses, visibilities } from './states.ts';
import { defaultTtlHours } from './times.ts';

export interface RequestRow {
  /** Who may send it; its sender takes the first of these roles where it has none yet. */
  from: readonly Role[];
  /** False where sending it says nothing about who the peer is. */
  givesRole?: false;
  /** Consecutive requests that are marked so run concurrently, and so share commits. */
  concurrent?: true;
  about: string;
  body: z.ZodObject;
  /** Its one answer; absent: none. */
  reply?: AnswerType;
}

/** As many services are required of a session at most, and as many optional. */
export const maxServices = 32;
const wantedServices = z.array(wanted).max(maxServices);

/** What a session is asked for with, over the socket and over REST. */
export const newSessionFields = z.object({
  user_identity: identity.optional().describe("The user's identity in the room; owns the session"),
  user_name: text(256).optional().describe("The user's display name in the room"),
  workspace_dir: text(4_096, 1)
    .regex(/^(\/|[A-Za-z]:[\\/])/, 'must be an absolute path')
    .meta({ pattern: '^(/|[A-Za-z]:[\\\\/])[^\\x00]*$' })
    .optional()
    .describe('An existing folder inside the allowed roots'),
  room: z.boolean().default(true).describe('false: no LiveKit room'),
  room_name: roomName.optional().describe('Default: room-{session_id}'),
  metadata: metadata.default({}),
  required_services: wantedServices
    .optional()
    .describe('What must be ready; absent: every service available now, of which there may be 32; []: nothing'),
  optional_services: wantedServices.default([]).describe('What is asked as well; Ready does not wait for it'),
  on_join_timeout: z
    .enum(['fail', 'degrade'])
    .default('fail')
    .describe('When not all are ready in time: end, or go on without the missing ones if at least one is ready'),
  on_service_loss: z
    .enum(['replace', 'degrade', 'terminate'])
    .default('replace')
    .describe('When a required service is lost after Ready: find another, go on without it, or end'),
  join_timeout_s: z.number().min(1).max(600).optional().describe('Seconds the services have until all are ready; default 60'),
  client_join_timeout_s: z
    .number()
    .min(1)
    .max(3_600)
    .optional()
    .describe("Seconds the user has to join after Ready; default: as long as the room's empty timeout allows"),
  ttl_hours: z.number().min(0.001).max(720).optional().describe(`Hours the session may last; default ${defaultTtlHours}`),
  token_policy: z
    .enum(['on_ready', 'immediate'])
    .optional()
    .describe('When the access token is given: with Ready, or in the answer at once. Default on the socket: on_ready'),
  resume_window_s: z
    .number()
    .int()
    .min(0)
    .max(3_600)
    .default(0)
    .describe('Seconds the session waits for its client after a broken socket; 0: it ends with its socket'),
  visibility: z
    .enum(visibilities)
    .default('private')
    .describe('Who besides the owner may read it: nobody, those it is shared with, everybody'),
  idempotency_key: text(128, 1).optional().describe('The same key and body again give the same session while it lives'),
});

const named = (services: readonly (string | object)[] | undefined, id: string) => services?.includes(id) ?? false;

/** Adds the rules that hold between the fields. */
const coherent = <T extends typeof newSessionFields>(fields: T) =>
  fields
    .refine((body) => body.user_identity !== undefined || body.workspace_dir !== undefined, {
      message: 'at least one of user_identity and workspace_dir is needed',
      path: ['user_identity'],
    })
    .refine(
      (body) => (body.room && body.user_identity !== undefined) || !(body.required_services?.length || body.optional_services.length),
      {
        message: 'a session without a room has no services',
        path: ['required_services'],
      },
    )
    .refine(
      ({ user_identity: user, required_services, optional_services }) =>
        user === undefined || !(named(required_services, user) || named(optional_services, user)),
      { message: 'a user may not be named like a service of the session: LiveKit would throw one of them out', path: ['user_identity'] },
    );

/** Over REST a user is always named, and the key travels in a header. */
export const createSessionBody = coherent(newSessionFields).safeExtend({
  user_identity: identity.describe("The user's identity in the room; owns the session"),
});
titled('SessionRequest', createSessionBody);

export const registerServiceFields = z.object({
  service_id: serviceId,
  instance_id: identity.optional().describe('The same value after a reconnect takes the old registration over'),
  endpoint: httpUrl.optional().describe('Where it is reached over HTTP; not needed on a socket'),
  metadata: labels
    .refine((map) => isLight(map, maxServiceMetadataBytes), `must have at most ${maxServiceMetadataBytes} bytes as JSON`)
    .default({})
    .describe('type, version, capabilities, language, ...; at most 16 KiB as JSON'),
  max_sessions: z.number().int().min(1).max(1_000_000).optional().describe('Sessions it serves at once; absent: no limit'),
});

const ownSession = z.object({ session_id: sessionId.optional().describe("The session; absent: this socket's") });

/** Which sessions to list. */
export const listFields = z.object({
  status: z.enum(statuses).optional().describe('Only sessions in this status'),
  tags: z.array(text(64, 1)).max(32).optional().describe('Only sessions that have all of these in metadata.tags'),
  cursor: text(256, 1).optional().describe("A list's next_cursor: goes on where it ended"),
});

export const updateFields = z.object({
  context_updates: z
    .record(text(128, 1), json)
    .refine((updates) => Object.keys(updates).length <= 64, 'must have at most 64 keys')
    .optional()
    .describe('Merged into the context; null removes a key'),
  metadata_updates: z
    .object({ tags: z.array(text(64, 1)).max(32).nullable().optional().describe('The labels it has then; null: none') })
    .catchall(z.union([text(1_024), z.number().transform(String), z.boolean().transform(String), z.null()]))
    .refine(storableKeys, keyRule)
    .refine((updates) => !Object.hasOwn(updates, 'duration_limit'), 'duration_limit: fixed with the session; extend it instead')
    .optional()
    .describe('Merged into the metadata; null removes a key'),
  visibility: z.enum(visibilities).optional().describe('Who besides the owner may read it then'),
  if_version: z.number().int().min(1).optional().describe('Refused where the session has another version by now'),
});

export const extendFields = z.object({ ttl_hours: z.number().min(0.001).max(720).describe('Hours from now') });

export const messageFields = z.object({
  role: text(64, 1).describe('As what it is said: user, assistant, system, ...'),
  content: text(32_768).describe('What is said'),
  message_id: text(128, 1).optional().describe('Its id within the session; the same again changes nothing; default: made here'),
});

export const shareFields = z.object({
  target_user_id: identity.describe('The user who is let in'),
  role: z.enum(shareRoles).default('participant').describe('viewer: reads; participant: adds messages as well'),
});

/** Everything a peer may send, by its wire `type`. */
export const requests = {
  Ping: {
    from: ['client', 'service'],
    givesRole: false,
    about: 'A heartbeat; for browsers, which do not see WebSocket pings.',
    body: z.object({ t: z.number().optional().describe('Comes back in Pong') }),
    reply: 'Pong',
  },
  NewSessionRequest: {
    from: ['client'],
    about: 'Opens a session and binds it to this socket. With a user_identity the session has a LiveKit room, unless room is false.',
    body: coherent(newSessionFields),
    reply: 'NewSessionResponse',
  },
  ResumeRequest: {
    from: ['client'],
    about: 'Takes a session over on this socket and asks for the events since the last one that came. Refused, it changes nothing.',
    body: z.object({
      session_id: sessionId,
      resume_token: text(128, 1).describe('As NewSessionResponse gave it'),
      last_seq: z.number().int().min(0).describe('The seq of the last event that came; 0: none did'),
    }),
    reply: 'ResumeResponse',
  },
  GetSessionRequest: {
    from: ['client', 'service'],
    givesRole: false,
    about: 'Asks for what a session is now.',
    body: z.object({ session_id: sessionId.optional().describe("The session; absent: this socket's") }),
    reply: 'GetSessionResponse',
  },
  ListSessionsRequest: {
    from: ['client'],
    givesRole: false,
    about: "The user's sessions, the newest first; on a socket that holds none, everybody's.",
    body: listFields.extend({
      limit: z.number().int().min(1).max(100).default(10).describe('Sessions on a page'),
      offset: z.number().int().min(0).max(1_000_000).default(0).describe('Sessions left out first'),
    }),
    reply: 'ListSessionsResponse',
  },
  UpdateSessionRequest: {
    from: ['client', 'service'],
    givesRole: false,
    about: 'Changes what a session holds. Its owner may, and a service that serves it may change the context.',
    body: ownSession.extend(updateFields.shape),
    reply: 'UpdateSessionResponse',
  },
  ExtendSessionRequest: {
    from: ['client'],
    about: 'Gives a session more time, counted from now.',
    body: ownSession.extend(extendFields.shape),
    reply: 'ExtendSessionResponse',
  },
  AddMessageRequest: {
    from: ['client', 'service'],
    givesRole: false,
    about: 'Says something in a session.',
    body: ownSession.extend(messageFields.shape),
    reply: 'AddMessageResponse',
  },
  GetMessagesRequest: {
    from: ['client', 'service'],
    givesRole: false,
    about: 'What was said in a session, from its beginning.',
    body: ownSession.extend({
      limit: z.number().int().min(1).max(200).default(50).describe('Messages on a page'),
      after: z.number().int().min(0).default(0).describe('The seq of the last one already known'),
    }),
    reply: 'GetMessagesResponse',
  },
  ShareSessionRequest: {
    from: ['client'],
    about: 'Lets another user in. A private session becomes a shared one.',
    body: ownSession.extend(shareFields.shape),
    reply: 'ShareSessionResponse',
  },
  UnshareSessionRequest: {
    from: ['client'],
    about: 'Lets a user in no longer.',
    body: ownSession.extend({ target_user_id: identity.describe('The user who is let in no longer') }),
    reply: 'UnshareSessionResponse',
  },
  WatchRequest: {
    from: ['client'],
    givesRole: false,
    about: "Follows another session's events on this socket, without tokens.",
    body: z.object({ session_id: sessionId }),
    reply: 'WatchResponse',
  },
  UnwatchRequest: {
    from: ['client'],
    givesRole: false,
    about: 'Follows a session no longer. Succeeds where it was not followed.',
    body: z.object({ session_id: sessionId }),
    reply: 'UnwatchResponse',
  },
  DeleteSessionRequest: {
    from: ['client'],
    about: 'Ends a session and forgets its messages. Idempotent.',
    body: ownSession,
    reply: 'DeleteSessionResponse',
  },
  EndSessionRequest: {
    from: ['client'],
    about: 'Ends a session. Idempotent.',
    body: z.object({
      session_id: sessionId.optional().describe("The session; absent: this socket's"),
    }),
    reply: 'EndSessionResponse',
  },
  RegisterServiceRequest: {
    from: ['service'],
    about: 'Offers a service on this socket. The same instance may come back on a new socket and name what it still holds.',
    body: registerServiceFields.extend({
      held: z
        .array(z.object({ session_id: sessionId, assignment_id: assignmentId }))
        .max(1_000)
        .default([])
        .describe('What it still serves from before its socket broke'),
    }),
    reply: 'RegisterServiceResponse',
  },
  JoinRoomResponse: {
    from: ['service'],
    concurrent: true,
    about: 'Accepts or declines a JoinRoomRequest.',
    body: z.object({
      assignment_id: assignmentId,
      accepted: z.boolean().describe('Whether it joins'),
      reason: text(512).optional().describe('Why not'),
      retry_after_ms: z.number().int().min(0).max(600_000).optional().describe('Do not ask again before'),
    }),
  },
  ServiceReady: {
    from: ['service', 'client'],
    givesRole: false,
    concurrent: true,
    about:
      'A service can serve the session now. Named by session_id and service_id, or by assignment_id. A socket that registered a service speaks for that one only.',
    body: z
      .object({ session_id: sessionId.optional(), service_id: serviceId.optional(), assignment_id: assignmentId.optional() })
      .refine((body) => body.assignment_id !== undefined || (body.session_id !== undefined && body.service_id !== undefined), {
        message: 'either assignment_id, or session_id and service_id are needed',
        path: ['assignment_id'],
      }),
    reply: 'ServiceReadyResponse',
  },
  RefreshTokenRequest: {
    from: ['client'],
    about: "Asks for a new token for the session's user.",
    body: z.object({ session_id: sessionId.optional().describe("The session; absent: this socket's") }),
    reply: 'RefreshTokenResponse',
  },
  ServiceProgress: {
    from: ['service'],
    about: "How far a service has come; passed on to the session's client, and dropped where it cannot be.",
    body: z.object({
      assignment_id: assignmentId,
      phase: text(64, 1).describe('What it does, in its own words'),
      percent: z.number().min(0).max(100).optional().describe('How much of it is done'),
      message: text(512).optional().describe('For a person to read'),
    }),
  },
  ServiceStatus: {
    from: ['service'],
    about: 'Whether the service takes sessions; what it serves goes on.',
    body: z.object({
      status: z
        .enum(availabilities)
        .describe('available: it is offered sessions. full: it is not. draining: as DeregisterServiceRequest with drain'),
    }),
  },
  DeregisterServiceRequest: {
    from: ['service'],
    about: 'Takes the registration back: with drain once it serves nothing any more, without at once.',
    body: z.object({
      drain: z.boolean().default(true).describe('true: once it serves nothing. false: at once, and what it serves goes to others'),
    }),
    reply: 'DeregisterServiceResponse',
  },
  ServiceFailed: {
    from: ['service'],
    concurrent: true,
    about: 'The service cannot serve the session.',
    body: z.object({ assignment_id: assignmentId, error: text(512).optional().describe('Why; told to the client') }),
  },
  ServiceLeft: {
    from: ['service'],
    concurrent: true,
    about: "The service has left the session's room: the answer to LeaveRoomRequest, or news.",
    body: z.object({ assignment_id: assignmentId, clean: z.boolean().default(true).describe('false: it left in disorder') }),
  },
} satisfies Record<string, RequestRow>;

export type RequestType = keyof typeof requests;
/** One parsed frame. `id` is written out, not `id?`: exactOptionalPropertyTypes would refuse an undefined one. */
export type Request<T extends RequestType = RequestType> = {
  [K in T]: { type: K; id: string | undefined } & z.output<(typeof requests)[K]['body']>;
}[T];

/** One answer without its envelope. The call catches a misspelt optional field, which a bare literal would not. */
export const answer = <A extends AnswerType>(type: A, body: z.input<(typeof answers)[A]['body']>) => ({ type, body });
export type Answer<A extends AnswerType = AnswerType> = { [K in A]: ReturnType<typeof answer<K>> }[A];
export type Reply<T extends RequestType> = (typeof requests)[T] extends { reply: infer A extends AnswerType } ? Answer<A> : void;
