import { z } from 'zod';
import type { AccessName } from './access.ts';
import { answers, livekitRoom, snapshot } from './answers.ts';
import type { ErrorCode } from './errors.ts';
import { endpointUrl, identity, roomName, serviceId, sessionId, text, time, titled } from './fields.ts';
import { createSessionBody, extendFields, messageFields, registerServiceFields, shareFields, updateFields } from './requests.ts';
import { availabilities, serviceStatuses, statuses } from './states.ts';

/** One REST endpoint: what it takes, what it answers, and which errors it may answer beside those that every endpoint may. */
export interface RouteRow {
  method: 'get' | 'post' | 'patch' | 'delete';
  /** With parameters in braces. */
  path: string;
  /** What it asks for, as access.ts has it; of several the one that its body is about. */
  access: AccessName | readonly AccessName[];
  about: string;
  params?: z.ZodObject;
  query?: z.ZodObject;
  /** JSON; absent: none is read. */
  body?: z.ZodType;
  /** True where a missing body is an empty one. */
  bodyOptional?: true;
  headers?: z.ZodObject;
  /** True where `user_identity` is a field of the body itself. */
  bodyHasUser?: true;
  /** True where the answer has a `version`, which is its ETag. */
  hasVersion?: true;
  status: 200 | 201;
  /** Where the answer itself decides the status. */
  statusOf?: (reply: { ready?: boolean }) => 200 | 503;
  reply: z.ZodObject;
  errors: readonly ErrorCode[];
}

const sessionParams = z.object({ id: sessionId });
const caller = z.object({
  user_identity: identity.optional().describe('The user who asks; absent: the operator. Also accepted in the body'),
});
const creator = z.object({ user_identity: identity.optional().describe('As in the body') });

/** A number in decimal digits only: what JavaScript takes besides, as 0x5, 1e1 or blanks, was not meant. */
const decimal = (schema: z.ZodDefault<z.ZodNumber>) =>
  z.preprocess((value) => (typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value), schema);
const count = z.number({ error: 'must be a number in decimal digits' }).int();
const idempotencyKey = z.object({
  'idempotency-key': text(128, 1).optional().describe('The same key and body return the same session while it is live'),
});

export const service = z.object({
  service_id: serviceId,
  endpoint: z.string().optional().describe('Absent: it is connected by a socket'),
  metadata: z.record(z.string(), z.string()).describe('As registered; values as strings'),
  status: z.enum(serviceStatuses).describe('Registered or Disconnected'),
  availability: z.enum(availabilities).describe('Whether it accepts sessions'),
  sessions: z.number().int().describe('Sessions it serves'),
  max_sessions: z.number().int().optional().describe('Absent: no limit'),
  registered_at: time.describe('When, ISO-8601, UTC'),
});
titled('Service', service);

const ended = z.object({
  session_id: sessionId,
  status: z.enum(statuses).describe('Terminating or Terminated'),
  end_reason: z.string().optional().describe('Why it ended; the first reason is kept'),
});
titled('EndedSession', ended);
const created = answers.NewSessionResponse.body;
titled('CreatedSession', created);
const token = answers.RefreshTokenResponse.body;
titled('Token', token);
const createErrors = [
  'WORKSPACE_NOT_FOUND',
  'WORKSPACE_FORBIDDEN',
  'ROOM_NAME_IN_USE',
  'IDEMPOTENCY_CONFLICT',
  'MICROSERVICE_JOIN_TIMEOUT',
  'REGISTRATION_TIMEOUT',
  'ILLEGAL_STATE',
  'LIVEKIT_ERROR',
  'DRAINING',
] as const satisfies readonly ErrorCode[];

/** LiveKit's TokenSource request. Its SDKs write some fields in either case; of the room configuration only the agents are read. */
// an empty text is how protobuf writes a missing one
const given = <S extends z.ZodType>(schema: S) => z.union([z.literal('').transform(() => undefined), schema]).optional();
const tokenSource = z.object({
  room_name: given(roomName).describe(
    'The room; absent: a new one. One that a live session has: a token for that one, where this user may join it',
  ),
  participant_identity: given(identity).describe('The user; absent: a new one'),
  participant_name: text(256).optional().describe("The user's display name"),
  participant_metadata: text(4_096).optional().describe("The user's metadata in the room"),
  participant_attributes: z.record(text(128, 1), text(1_024)).optional().describe("The user's attributes in the room"),
  room_config: z
    .object({
      agents: z
        .array(
          z.object({
            agent_name: given(serviceId).describe('A service by its id'),
            agentName: given(serviceId).describe('The same'),
            metadata: given(text(16_384)).describe('Forwarded to it as JoinRoomRequest.place_metadata.agent_metadata'),
            deployment: given(text(256)).describe('Forwarded to it as JoinRoomRequest.place_metadata.deployment'),
          }),
        )
        .max(32)
        .optional()
        .describe('One each'),
    })
    .optional()
    .describe('agents[].agent_name: the services the session requires'),
});

/** Every endpoint, by its operation. */
export const routes = {
  health: {
    method: 'get',
    path: '/health',
    access: 'anything',
    about: 'Liveness: constant while the process runs.',
    status: 200,
    reply: z.object({
      status: z.literal('healthy').describe('Always this'),
      timestamp: time.describe("The gateway's clock, ISO-8601, UTC"),
      version: z.string().describe("The gateway's version"),
    }),
    errors: [],
  },
  ready: {
    method: 'get',
    path: '/ready',
    access: 'anything',
    about: 'Readiness: whether it can serve sessions now; 503 if it cannot. Callers of the API also see the state of its parts.',
    status: 200,
    statusOf: ({ ready }) => (ready ? 200 : 503),
    reply: z.object({
      ready: z.boolean().describe('Whether it can serve sessions now'),
      draining: z.boolean().describe('It is shutting down'),
      livekit: z
        .object({
          mode: z
            .enum(['create', 'on_join'])
            .describe('create: the gateway creates rooms. on_join: LiveKit creates a room when somebody joins'),
          url: z.string().describe('Where clients join'),
          reachable: z.boolean().describe('It answered just now'),
          webhooks: z.string().describe('When the last one came, or "none seen yet"'),
        })
        .optional()
        .describe('State of LiveKit'),
      storage: z
        .object({
          type: z.string().describe('storage.storage_type'),
          reachable: z.boolean().describe('It answers'),
          writable: z.boolean().describe('The last heartbeat of this node was written; while writes are refused the gateway is not ready'),
          warnings: z.array(z.string()).describe('What should be changed about it'),
        })
        .optional()
        .describe('State of the storage'),
      sockets: z.number().int().optional().describe('WebSockets open on this node'),
      live_sessions: z.number().int().optional().describe('Sessions held by sockets of this node; one created over REST has none'),
    }),
    errors: [],
  },
  registerService: {
    method: 'post',
    path: '/api/v1/microservices/register',
    access: 'register',
    about: 'Registers a service that is called over HTTP.',
    body: registerServiceFields.extend({
      endpoint: endpointUrl.describe('Called at {endpoint}/join, /leave, /presence and /health; without query and fragment'),
    }),
    status: 201,
    reply: z.object({
      success: z.literal(true).describe('Always true; a refusal is an Error'),
      service_id: serviceId,
      message: z.string().describe('Human-readable summary'),
    }),
    errors: ['SERVICE_ID_EXISTS', 'TOO_MANY_SERVICES', 'DRAINING'],
  },
  listServices: {
    method: 'get',
    path: '/api/v1/microservices',
    access: 'list_services',
    about: 'The registered services.',
    query: z.object({
      type: text(1_024).optional().describe('Only services whose metadata has this type'),
      limit: decimal(count.min(1).max(1_024).default(1_024)).describe('Services on a page; it may end before, at 512 KiB'),
      cursor: text(256, 1).optional().describe('next_cursor of the previous page: continues there'),
    }),
    status: 200,
    reply: z.object({
      items: z.array(service).describe('One each, in the order of their first registration'),
      next_cursor: z.string().optional().describe('Absent: this was the end'),
    }),
    errors: [],
  },
  deregisterService: {
    method: 'delete',
    path: '/api/v1/microservices/{id}',
    access: 'remove_service',
    about: 'Deregisters a service immediately; its sessions are offered to others.',
    params: z.object({ id: serviceId }),
    status: 200,
    reply: answers.DeregisterServiceResponse.body,
    errors: ['SERVICE_NOT_FOUND'],
  },
  drainService: {
    method: 'post',
    path: '/api/v1/microservices/{id}/drain',
    access: 'remove_service',
    about: 'Offers a service no further sessions, and deregisters it once it serves none.',
    params: z.object({ id: serviceId }),
    status: 200,
    reply: answers.DeregisterServiceResponse.body,
    errors: ['SERVICE_NOT_FOUND'],
  },
  createSession: {
    method: 'post',
    path: '/api/v1/sessions',
    access: 'open',
    about: 'Creates a session and answers when it is ready, with its token.',
    query: creator.extend({ wait: z.enum(['ready', 'none']).default('ready').describe('none: answer once the room exists') }),
    headers: idempotencyKey,
    body: createSessionBody,
    bodyHasUser: true,
    status: 201,
    reply: created,
    errors: createErrors,
  },
  createSessionAtOnce: {
    method: 'post',
    path: '/api/v1/create-session',
    access: 'open',
    about: 'Creates a session and answers once the room exists, with the token.',
    query: creator.extend({ wait: z.enum(['ready', 'none']).default('none').describe('ready: answer when every service is ready') }),
    headers: idempotencyKey,
    body: createSessionBody,
    bodyHasUser: true,
    status: 201,
    reply: created,
    errors: createErrors,
  },
  listSessions: {
    method: 'get',
    path: '/api/v1/sessions',
    access: 'list',
    about: "Sessions, the newest first: the user's, or for the operator all.",
    query: caller.extend({
      status: z.enum(statuses).optional().describe('Only sessions in this status'),
      tags: text(2_048).optional().describe('Only sessions that have all of these tags; comma-separated'),
      limit: decimal(count.min(1).max(100).default(10)).describe('Sessions on a page'),
      offset: decimal(count.min(0).max(1_000_000).default(0)).describe('Sessions to skip'),
      cursor: text(256, 1).optional().describe('next_cursor of the previous page: continues there'),
    }),
    status: 200,
    reply: z.object({
      items: z.array(snapshot).describe('One each'),
      next_cursor: z.string().optional().describe('Absent: this was the end'),
    }),
    errors: [],
  },
  getSession: {
    method: 'get',
    path: '/api/v1/sessions/{id}',
    access: 'read',
    about: 'Returns the current state of a session, or how it ended.',
    params: sessionParams,
    query: caller,
    hasVersion: true,
    status: 200,
    reply: snapshot,
    errors: ['SESSION_NOT_FOUND'],
  },
  updateSession: {
    method: 'patch',
    path: '/api/v1/sessions/{id}',
    access: ['update_context', 'update_session'],
    about: 'Changes the content of a session.',
    params: sessionParams,
    query: caller,
    headers: z.object({
      'if-match': z
        .string()
        .max(1_024)
        .regex(/^(\*|(W\/)?"?[A-Za-z0-9_.:-]*"?( *, *(W\/)?"?[A-Za-z0-9_.:-]*"?)*)$/, 'must be entity tags')
        .optional()
        .describe('The ETag it was read with: refused if the session has another version by now. *: any'),
    }),
    hasVersion: true,
    body: updateFields,
    status: 200,
    reply: answers.UpdateSessionResponse.body,
    errors: ['SESSION_NOT_FOUND', 'ILLEGAL_STATE', 'PRECONDITION_FAILED'],
  },
  extendSession: {
    method: 'post',
    path: '/api/v1/sessions/{id}/extend',
    access: 'update_session',
    about: 'Sets a new lifetime of a session, counted from now.',
    params: sessionParams,
    query: caller,
    body: extendFields,
    status: 200,
    reply: answers.ExtendSessionResponse.body,
    errors: ['SESSION_NOT_FOUND', 'ILLEGAL_STATE'],
  },
  shareSession: {
    method: 'post',
    path: '/api/v1/sessions/{id}/share',
    access: 'share',
    about: 'Grants another user access. A private session becomes shared.',
    params: sessionParams,
    query: caller,
    body: shareFields,
    status: 200,
    reply: answers.ShareSessionResponse.body,
    errors: ['SESSION_NOT_FOUND', 'ILLEGAL_STATE'],
  },
  unshareSession: {
    method: 'delete',
    path: '/api/v1/sessions/{id}/share/{target_user_id}',
    access: 'share',
    about: "Revokes a user's access.",
    params: sessionParams.extend({ target_user_id: identity.describe('The user whose access is revoked') }),
    query: caller,
    status: 200,
    reply: answers.UnshareSessionResponse.body,
    errors: ['SESSION_NOT_FOUND', 'ILLEGAL_STATE'],
  },
  addMessage: {
    method: 'post',
    path: '/api/v1/sessions/{id}/messages',
    access: 'add_message',
    about: 'Adds a message to a session.',
    params: sessionParams,
    query: caller,
    body: messageFields,
    status: 201,
    reply: answers.AddMessageResponse.body,
    errors: ['SESSION_NOT_FOUND', 'ILLEGAL_STATE'],
  },
  getMessages: {
    method: 'get',
    path: '/api/v1/sessions/{id}/messages',
    access: 'read',
    about: 'Returns the messages of a session, oldest first.',
    params: sessionParams,
    query: caller.extend({
      limit: decimal(count.min(1).max(200).default(50)).describe('Messages on a page'),
      after: decimal(count.min(0).default(0)).describe('The seq of the last message already known'),
    }),
    status: 200,
    reply: answers.GetMessagesResponse.body,
    errors: ['SESSION_NOT_FOUND'],
  },
  statistics: {
    method: 'get',
    path: '/api/v1/stats',
    access: 'statistics',
    about: 'Counts of sessions and messages, and what this node holds.',
    status: 200,
    reply: z.object({
      sessions: z.number().int().describe('Session records, including those that ended within the last hour'),
      by_status: z.partialRecord(z.enum(statuses), z.number().int()).describe('Session records by status; a status without any is absent'),
      messages: z.number().int().describe('Messages stored in them'),
      services: z.number().int().describe('Reachable services registered at this node'),
      sockets: z.number().int().describe('Open sockets of this node'),
      live_sessions: z.number().int().describe('Sessions held by sockets of this node; one created over REST has none'),
      running_sessions: z
        .number()
        .int()
        .describe('Sessions that have not ended, with or without a socket; on shared storage those of all nodes'),
    }),
    errors: [],
  },
  reloadKeys: {
    method: 'post',
    path: '/api/v1/auth/reload',
    access: 'reload_keys',
    about:
      'Reads the keys and identity providers of the configuration again. What was opened by one that is gone, or may do less now, ends: sockets with 4401.',
    status: 200,
    reply: z.object({ closed_sockets: z.number().int().min(0).describe('Sockets of this node that were closed') }),
    errors: ['ILLEGAL_STATE'],
  },
  deleteSession: {
    method: 'delete',
    path: '/api/v1/sessions/{id}',
    access: 'share',
    about: 'Ends a session as its owner. Idempotent.',
    params: sessionParams,
    query: caller,
    status: 200,
    reply: ended,
    errors: ['SESSION_NOT_FOUND'],
  },
  terminateSession: {
    method: 'post',
    path: '/api/v1/sessions/{id}/terminate',
    access: 'end',
    about: 'Ends a session. Idempotent.',
    params: sessionParams,
    query: caller,
    status: 200,
    reply: ended,
    errors: ['SESSION_NOT_FOUND'],
  },
  serviceReady: {
    method: 'post',
    path: '/api/v1/sessions/{id}/ready',
    access: 'report',
    about: 'A service can serve the session now.',
    params: sessionParams,
    body: z.object({ service_id: serviceId }),
    status: 200,
    reply: answers.ServiceReadyResponse.body,
    errors: ['SESSION_NOT_FOUND', 'ASSIGNMENT_NOT_FOUND', 'ILLEGAL_STATE'],
  },
  sessionToken: {
    method: 'post',
    path: '/api/v1/sessions/{id}/token',
    access: ['join_token', 'manager_token'],
    about: "A new token for the session's user, or a hidden admin token for the operator.",
    params: sessionParams,
    query: caller,
    body: z.object({
      role: z
        .enum(['client', 'manager'])
        .default('client')
        .describe("client: the session's user. manager: the operator, hidden in the room"),
    }),
    bodyOptional: true,
    status: 201,
    reply: token,
    errors: ['SESSION_NOT_FOUND', 'FORBIDDEN', 'ILLEGAL_STATE'],
  },
  tokenSource: {
    method: 'post',
    path: '/livekit/token',
    access: 'open',
    about: "LiveKit's TokenSource endpoint: its client SDKs start a session with it unchanged.",
    body: tokenSource,
    bodyOptional: true,
    status: 201,
    reply: z.object({
      server_url: z.string().describe('Address of LiveKit for joining the room'),
      participant_token: z.string().describe('Admits the user to the room'),
      room_name: z.string().describe('The room'),
      livekit_room: livekitRoom.optional(),
      participant_name: z.string().optional().describe('As it was asked for'),
    }),
    errors: createErrors,
  },
} satisfies Record<string, RouteRow>;
export type Operation = keyof typeof routes;

/** What any endpoint may answer. */
export const commonErrors = [
  'INVALID_JSON',
  'INVALID_REQUEST',
  'VALIDATION_FAILED',
  'FORBIDDEN',
  'NOT_FOUND',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'RATE_LIMITED',
  'INTERNAL',
  'VERSION_CONFLICT',
  'STORAGE_ERROR',
] as const satisfies readonly ErrorCode[];
