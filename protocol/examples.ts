import type { z } from 'zod';
import type { Operation, routes } from './rest.ts';

type Rows = typeof routes;
/** A body is checked by the tests: the type of metadata excludes its own tags. */
type Example<T extends Operation> = { reply: z.input<Rows[T]['reply']> } & (Rows[T] extends { body: z.ZodType }
  ? { body: object }
  : { body?: never });

const session_id = '0654758b-2d83-46ee-abbd-3abb557471df';
const now = '2026-01-02T03:04:05.678Z';
const tomorrow = '2026-01-03T03:04:05.678Z';
const room = `room-${session_id}`;
const livekit_url = 'ws://127.0.0.1:7880';
const access_token = 'eyJhbGciOiJIUzI1NiJ9.e30.x';

const wish = {
  user_identity: 'ada',
  metadata: { tags: ['demo'], robot: 'r2' },
  required_services: ['asr-1', { type: 'TTS' }],
};
const created = {
  session_id,
  status: 'Ready' as const,
  room_name: room,
  livekit_room: room,
  livekit_url,
  access_token,
  ready_services: ['asr-1', 'tts-1'],
  pending_services: [],
  created_at: now,
  expires_at: tomorrow,
  seq: 9,
  timings: { room_ms: 22, services_ms: 250, total_ms: 250 },
  replayed: false,
  resume_window_s: 0,
};
const session = {
  session_id,
  status: 'Active' as const,
  version: 12,
  seq: 12,
  owner_id: 'ada',
  user_identity: 'ada',
  room_name: room,
  livekit_room: room,
  livekit_url,
  metadata: { tags: ['demo'], robot: 'r2' },
  context: { step: 3 },
  visibility: 'private' as const,
  shares: {},
  messages: 1,
  health: 'ok' as const,
  link: 'none' as const,
  ready_services: ['asr-1'],
  pending_services: [],
  services: [{ service_id: 'asr-1', status: 'Ready' as const, required: true, assignment_id: '01a1fec0-927d-7151-932c-e0e5155a5852' }],
  participants: [{ identity: 'ada', kind: 'standard', joined_at: now }],
  created_at: now,
  updated_at: now,
  expires_at: tomorrow,
};
const message = { message_id: 'm-17', seq: 17, role: 'user', content: 'Bring me the red cup.', user_id: 'ada', created_at: now };
const sharing = { session_id, visibility: 'shared' as const, shares: { grace: 'viewer' as const } };
const token = { session_id, access_token, livekit_url, expires_at: now };
const registration = {
  service_id: 'asr-1',
  instance_id: 'asr-1-7f3a',
  endpoint: 'http://127.0.0.1:9001',
  metadata: { type: 'ASR', language: 'zh-CN' },
  max_sessions: 4,
};

/** What each endpoint is sent and answers, for openapi.json. */
export const examples: { [T in Operation]: Example<T> } = {
  health: { reply: { status: 'healthy', timestamp: now, version: '0.1.0' } },
  ready: {
    reply: {
      ready: true,
      draining: false,
      livekit: { mode: 'create', url: livekit_url, reachable: true, webhooks: 'none seen yet' },
      storage: { type: 'memory', reachable: true, writable: true, warnings: [] },
      sockets: 2,
      live_sessions: 1,
    },
  },
  registerService: { body: registration, reply: { success: true, service_id: 'asr-1', message: 'Microservice registered successfully' } },
  listServices: {
    reply: {
      items: [{ ...registration, status: 'Registered', availability: 'available', sessions: 1, registered_at: now }],
      next_cursor: 'MDE5YjhmM2EtMWMyZC03ZTRmLThhNmItOWMwZDFlMmYzYTRi',
    },
  },
  deregisterService: { reply: { success: true, service_id: 'asr-1', message: 'Microservice deregistered', sessions: 1 } },
  drainService: { reply: { success: true, service_id: 'asr-1', message: 'Microservice is draining', sessions: 1 } },
  createSession: { body: wish, reply: created },
  createSessionAtOnce: {
    body: wish,
    reply: {
      ...created,
      status: 'WaitingForServices',
      ready_services: [],
      pending_services: ['asr-1', 'type=TTS'],
      timings: { room_ms: 22 },
    },
  },
  listSessions: { reply: { items: [session], next_cursor: 'MTc2NzMyMzA0NTY3OCAwNjU0NzU4Yg' } },
  getSession: { reply: session },
  updateSession: {
    body: { context_updates: { step: 4 }, metadata_updates: { robot: null, floor: 3 }, visibility: 'shared', if_version: 12 },
    reply: { session_id, version: 13 },
  },
  extendSession: { body: { ttl_hours: 2 }, reply: { session_id, expires_at: tomorrow } },
  shareSession: { body: { target_user_id: 'grace', role: 'viewer' }, reply: sharing },
  unshareSession: { reply: { ...sharing, shares: {} } },
  addMessage: {
    body: { role: 'user', content: 'Bring me the red cup.', message_id: 'm-17' },
    reply: { ...message, session_id, duplicate: false },
  },
  getMessages: { reply: { session_id, items: [message], next_after: 17 } },
  statistics: {
    reply: {
      sessions: 3,
      by_status: { Active: 1, Terminated: 2 },
      messages: 4,
      services: 1,
      sockets: 2,
      live_sessions: 1,
      running_sessions: 1,
    },
  },
  reloadKeys: { reply: { closed_sockets: 2 } },
  deleteSession: { reply: { session_id, status: 'Terminating', end_reason: 'owner_deleted' } },
  terminateSession: { reply: { session_id, status: 'Terminating', end_reason: 'client_ended' } },
  serviceReady: { body: { service_id: 'asr-1' }, reply: { success: true, session_id, service_id: 'asr-1', all_ready: false } },
  sessionToken: { body: { role: 'client' }, reply: token },
  tokenSource: {
    body: { room_name: 'kitchen', participant_identity: 'ada', room_config: { agents: [{ agent_name: 'asr-1' }] } },
    reply: { server_url: livekit_url, participant_token: access_token, room_name: 'kitchen' },
  },
};

/** What a refusal looks like. */
export const refusal = {
  error: 'InvalidRequest',
  code: 'VALIDATION_FAILED',
  message: 'body: user_identity: is required',
  timestamp: now,
  retryable: false,
  details: { issues: [{ path: 'user_identity', message: 'is required' }] },
};
