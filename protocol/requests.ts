import { z } from 'zod';
import { type AccessName, kinds } from './access.ts';
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
  /** What it asks for, as access.ts has it; of several the one that its fields are about. */
  access: AccessName | readonly AccessName[];
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
    .describe('Services that must be ready; absent: every service available now, up to 32; []: none'),
  optional_services: wantedServices.default([]).describe('Services that are asked as well; Ready does not wait for them'),
  on_join_timeout: z
    .enum(['fail', 'degrade'])
    .default('fail')
    .describe('If not all are ready in time: end, or continue without the missing ones if at least one is ready'),
  on_service_loss: z
    .enum(['replace', 'degrade', 'terminate'])
    .default('replace')
    .describe('If a required service is lost after Ready: find another, continue without it, or end'),
  join_timeout_s: z.number().min(1).max(600).optional().describe('Time limit in seconds for all services to become ready; default 60'),
  client_join_timeout_s: z
    .number()
    .min(1)
    .max(3_600)
    .optional()
    .describe("Time limit in seconds for the user to join after Ready; default: as long as the room's empty timeout allows"),
  ttl_hours: z.number().min(0.001).max(720).optional().describe(`Session lifetime in hours; default ${defaultTtlHours}`),
  token_policy: z
    .enum(['on_ready', 'immediate'])
    .optional()
    .describe('When the access token is sent: with Ready, or immediately in the answer. Default on the socket: on_ready'),
  resume_window_s: z
    .number()
    .int()
    .min(0)
    .max(3_600)
    .default(0)
    .describe('Seconds the session waits for its client after the socket breaks; 0: it ends with its socket'),
  visibility: z
    .enum(visibilities)
    .default('private')
    .describe('Who may read it besides the owner: nobody, those it is shared with, everybody'),
  idempotency_key: text(128, 1).optional().describe('The same key and body return the same session while it is live'),
});

const named = (services: readonly (string | object)[] | undefined, id: string) => services?.includes(id) ?? false;

/** Adds the rules that hold between the fields. */
const coherent = <T extends typeof newSessionFields>(fields: T) =>
  fields
    .refine((body) => body.user_identity !== undefined || body.workspace_dir !== undefined, {
      message: 'at least one of user_identity and workspace_dir is required',
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
      {
        message: 'must differ from the services requested: LiveKit would disconnect one of them',
        path: ['user_identity'],
      },
    );

/** Over REST a user is always named, and the key travels in a header. */
export const createSessionBody = coherent(newSessionFields).safeExtend({
  user_identity: identity.describe("The user's identity in the room; owns the session"),
});
titled('SessionRequest', createSessionBody);

export const registerServiceFields = z.object({
  service_id: serviceId,
  instance_id: identity.optional().describe('The same value after a reconnect takes over the old registration'),
  endpoint: httpUrl.optional().describe('Its HTTP address; not needed on a socket'),
  metadata: labels
    .refine((map) => isLight(map, maxServiceMetadataBytes), `must have at most ${maxServiceMetadataBytes} bytes as JSON`)
    .default({})
    .describe('type, version, capabilities, language, ...; at most 16 KiB as JSON'),
  max_sessions: z.number().int().min(1).max(1_000_000).optional().describe('Concurrent sessions it can serve; absent: no limit'),
});

const ownSession = z.object({ session_id: sessionId.optional().describe("The session; absent: this socket's") });

/** Which sessions to list. */
export const listFields = z.object({
  status: z.enum(statuses).optional().describe('Only sessions in this status'),
  tags: z.array(text(64, 1)).max(32).optional().describe('Only sessions that have all of these in metadata.tags'),
  cursor: text(256, 1).optional().describe('next_cursor of the previous page: continues there'),
});

export const updateFields = z.object({
  context_updates: z
    .record(text(128, 1), json)
    .refine((updates) => Object.keys(updates).length <= 64, 'must have at most 64 keys')
    .optional()
    .describe('Merged into the context; null removes a key'),
  metadata_updates: z
    .object({ tags: z.array(text(64, 1)).max(32).nullable().optional().describe('The new tags; null: none') })
    .catchall(z.union([text(1_024), z.number().transform(String), z.boolean().transform(String), z.null()]))
    .refine(storableKeys, keyRule)
    .refine((updates) => !Object.hasOwn(updates, 'duration_limit'), 'duration_limit: fixed with the session; extend it instead')
    .optional()
    .describe('Merged into the metadata; null removes a key'),
  visibility: z.enum(visibilities).optional().describe('Who may read it from then on, besides the owner'),
  if_version: z.number().int().min(1).optional().describe('Refused if the session has another version by now'),
});

export const extendFields = z.object({ ttl_hours: z.number().min(0.001).max(720).describe('Hours from now') });

export const messageFields = z.object({
  role: text(64, 1).describe('Role of the speaker: user, assistant, system, ...'),
  content: text(32_768).describe('The text'),
  message_id: text(128, 1).optional().describe('Its id within the session; sending the same id again changes nothing; default: generated'),
});

export const shareFields = z.object({
  target_user_id: identity.describe('The user who gets access'),
  role: z.enum(shareRoles).default('participant').describe('viewer: may read; participant: may also add messages'),
});

/** Everything a peer may send, by its wire `type`. */
export const requests = {
  Ping: {
    from: ['client', 'service'],
    access: 'anything',
    givesRole: false,
    about: 'A heartbeat; for browsers, which do not see WebSocket pings.',
    body: z.object({ t: z.number().optional().describe('Echoed in Pong') }),
    reply: 'Pong',
  },
  IdentifyRequest: {
    from: ['client', 'service'],
    access: 'anything',
    givesRole: false,
    about: 'Says who is at this socket; again at any time, with a new token for the same one, to extend it.',
    body: z.object({
      token: text(8_192, 1).optional().describe('The credential; absent: one sent with the upgrade counts, or none is required'),
      kind: z.enum(kinds).optional().describe("Must be the token's; without authentication it is believed"),
      identity: identity.optional().describe("Must be the token's; without authentication it is believed"),
      heartbeat_s: z
        .number()
        .int()
        .min(10)
        .max(600)
        .optional()
        .describe('It sends something at least this often: it is pinged after that much silence'),
      attributes: z
        .record(text(128, 1), text(1_024))
        .refine((map) => Object.keys(map).length <= 16, 'must have at most 16 keys')
        .optional()
        .describe('What the operator may know it by: model, version, ...'),
    }),
    reply: 'IdentifyResponse',
  },
  NewSessionRequest: {
    from: ['client'],
    access: 'open',
    about: 'Creates a session and binds it to this socket. With a user_identity the session has a LiveKit room, unless room is false.',
    body: coherent(newSessionFields),
    reply: 'NewSessionResponse',
  },
  ResumeRequest: {
    from: ['client'],
    access: 'resume',
    about: 'Resumes a session on this socket and requests the events since the last one received. If refused, it changes nothing.',
    body: z.object({
      session_id: sessionId,
      resume_token: text(128, 1).describe('From NewSessionResponse'),
      last_seq: z.number().int().min(0).describe('The seq of the last event received; 0: none was'),
    }),
    reply: 'ResumeResponse',
  },
  GetSessionRequest: {
    from: ['client', 'service'],
    access: 'read',
    givesRole: false,
    about: 'Returns the current state of a session.',
    body: z.object({ session_id: sessionId.optional().describe("The session; absent: this socket's") }),
    reply: 'GetSessionResponse',
  },
  ListSessionsRequest: {
    from: ['client'],
    access: 'list',
    givesRole: false,
    about: "The user's sessions, the newest first; on a socket that holds none, everybody's.",
    body: listFields.extend({
      limit: z.number().int().min(1).max(100).default(10).describe('Sessions on a page'),
      offset: z.number().int().min(0).max(1_000_000).default(0).describe('Sessions to skip'),
    }),
    reply: 'ListSessionsResponse',
  },
  UpdateSessionRequest: {
    from: ['client', 'service'],
    access: ['update_context', 'update_session'],
    givesRole: false,
    about: 'Changes the content of a session. Allowed to its owner; a service that serves it may change the context.',
    body: ownSession.extend(updateFields.shape),
    reply: 'UpdateSessionResponse',
  },
  ExtendSessionRequest: {
    from: ['client'],
    access: 'update_session',
    about: 'Sets a new lifetime of a session, counted from now.',
    body: ownSession.extend(extendFields.shape),
    reply: 'ExtendSessionResponse',
  },
  AddMessageRequest: {
    from: ['client', 'service'],
    access: 'add_message',
    givesRole: false,
    about: 'Adds a message to a session.',
    body: ownSession.extend(messageFields.shape),
    reply: 'AddMessageResponse',
  },
  GetMessagesRequest: {
    from: ['client', 'service'],
    access: 'read',
    givesRole: false,
    about: 'Returns the messages of a session, oldest first.',
    body: ownSession.extend({
      limit: z.number().int().min(1).max(200).default(50).describe('Messages on a page'),
      after: z.number().int().min(0).default(0).describe('The seq of the last message already known'),
    }),
    reply: 'GetMessagesResponse',
  },
  ShareSessionRequest: {
    from: ['client'],
    access: 'share',
    about: 'Grants another user access. A private session becomes shared.',
    body: ownSession.extend(shareFields.shape),
    reply: 'ShareSessionResponse',
  },
  UnshareSessionRequest: {
    from: ['client'],
    access: 'share',
    about: "Revokes a user's access.",
    body: ownSession.extend({ target_user_id: identity.describe('The user whose access is revoked') }),
    reply: 'UnshareSessionResponse',
  },
  WatchRequest: {
    from: ['client'],
    access: 'watch',
    givesRole: false,
    about: 'Watches another session: its events are sent on this socket, without tokens.',
    body: z.object({ session_id: sessionId }),
    reply: 'WatchResponse',
  },
  UnwatchRequest: {
    from: ['client'],
    access: 'watch',
    givesRole: false,
    about: 'Stops watching a session. Succeeds if it was not watched.',
    body: z.object({ session_id: sessionId }),
    reply: 'UnwatchResponse',
  },
  DeleteSessionRequest: {
    from: ['client'],
    access: 'share',
    about: 'Ends a session and deletes its messages. Idempotent.',
    body: ownSession,
    reply: 'DeleteSessionResponse',
  },
  EndSessionRequest: {
    from: ['client'],
    access: 'end',
    about: 'Ends a session. Idempotent.',
    body: z.object({
      session_id: sessionId.optional().describe("The session; absent: this socket's"),
    }),
    reply: 'EndSessionResponse',
  },
  RegisterServiceRequest: {
    from: ['service'],
    access: 'register',
    about: 'Registers a service on this socket. The same instance may return on a new socket and name the sessions it still serves.',
    body: registerServiceFields.extend({
      held: z
        .array(z.object({ session_id: sessionId, assignment_id: assignmentId }))
        .max(1_000)
        .refine((held) => new Set(held.map(({ assignment_id }) => assignment_id)).size === held.length, 'must name each assignment once')
        .default([])
        .describe('Sessions it still serves from before its socket broke'),
    }),
    reply: 'RegisterServiceResponse',
  },
  JoinRoomResponse: {
    from: ['service'],
    access: 'report',
    concurrent: true,
    about: 'Accepts or declines a JoinRoomRequest.',
    body: z.object({
      assignment_id: assignmentId,
      accepted: z.boolean().describe('Whether it joins'),
      reason: text(512).optional().describe('Why not'),
      retry_after_ms: z.number().int().min(0).max(600_000).optional().describe('Do not offer it again earlier'),
    }),
  },
  ServiceReady: {
    from: ['service', 'client'],
    access: 'report',
    givesRole: false,
    concurrent: true,
    about:
      'A service can serve the session now. Named by session_id and service_id, or by assignment_id. A socket that registered a service can report for that service only.',
    body: z
      .object({ session_id: sessionId.optional(), service_id: serviceId.optional(), assignment_id: assignmentId.optional() })
      .refine((body) => body.assignment_id !== undefined || (body.session_id !== undefined && body.service_id !== undefined), {
        message: 'either assignment_id, or session_id and service_id are required',
        path: ['assignment_id'],
      }),
    reply: 'ServiceReadyResponse',
  },
  RefreshTokenRequest: {
    from: ['client'],
    access: 'join_token',
    about: "Requests a new token for the session's user.",
    body: z.object({ session_id: sessionId.optional().describe("The session; absent: this socket's") }),
    reply: 'RefreshTokenResponse',
  },
  ServiceProgress: {
    from: ['service'],
    access: 'report',
    about: "Progress of a service; forwarded to the session's client, and dropped if it cannot be delivered.",
    body: z.object({
      assignment_id: assignmentId,
      phase: text(64, 1).describe('What it is doing, in its own words'),
      percent: z.number().min(0).max(100).optional().describe('Percentage done'),
      message: text(512).optional().describe('Human-readable'),
    }),
  },
  ServiceStatus: {
    from: ['service'],
    access: 'register',
    about: 'Sets whether the service accepts further sessions; those it serves continue.',
    body: z.object({
      status: z
        .enum(availabilities)
        .describe('available: it is offered sessions. full: it is not. draining: like DeregisterServiceRequest with drain'),
    }),
  },
  DeregisterServiceRequest: {
    from: ['service'],
    access: 'register',
    about: 'Deregisters the service: with drain once it serves no session, without drain immediately.',
    body: z.object({
      drain: z
        .boolean()
        .default(true)
        .describe('true: once it serves no session. false: immediately, and its sessions are offered to other services'),
    }),
    reply: 'DeregisterServiceResponse',
  },
  ServiceFailed: {
    from: ['service'],
    access: 'report',
    concurrent: true,
    about: 'The service cannot serve the session.',
    body: z.object({ assignment_id: assignmentId, error: text(512).optional().describe('The reason; shown to the client') }),
  },
  ServiceLeft: {
    from: ['service'],
    access: 'report',
    concurrent: true,
    about: "The service has left the session's room: in answer to LeaveRoomRequest, or by itself.",
    body: z.object({ assignment_id: assignmentId, clean: z.boolean().default(true).describe('false: leaving failed') }),
  },
} satisfies Record<string, RequestRow>;

export type RequestType = keyof typeof requests;
/** One parsed frame. `id` is declared with undefined, not `id?`: exactOptionalPropertyTypes would refuse an undefined one. */
export type Request<T extends RequestType = RequestType> = {
  [K in T]: { type: K; id: string | undefined } & z.output<(typeof requests)[K]['body']>;
}[T];

/** One answer without its envelope. The call catches a misspelt optional field, which a bare literal would not. */
export const answer = <A extends AnswerType>(type: A, body: z.input<(typeof answers)[A]['body']>) => ({ type, body });
export type Answer<A extends AnswerType = AnswerType> = { [K in A]: ReturnType<typeof answer<K>> }[A];
export type Reply<T extends RequestType> = (typeof requests)[T] extends { reply: infer A extends AnswerType } ? Answer<A> : void;
