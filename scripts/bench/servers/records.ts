// What the yardsticks keep of sessions: plain Maps, and frames with the fields of the gateway's.
import { randomUUID } from 'node:crypto';
import { livekitUrl } from './key.ts';

/** A connected socket, of whatever library. */
export interface Peer {
  session: YardSession | undefined;
  send(frame: object): void;
  /** From now on it gets what is published of this session. */
  watch(sessionId: string): void;
  /** One frame to everybody who watches. */
  publish(sessionId: string, frame: object): void;
}

export interface YardSession {
  session_id: string;
  room_name: string;
  user_identity: string;
  owner: Peer | undefined;
  startedAt: number;
  expires_at: string;
  created_at: string;
  seq: number;
  version: number;
  waiting: number;
  parts: Part[];
  /** Of a session that outlives its socket: every event, and what its user comes back with. */
  log: object[] | undefined;
  resume_token: string | undefined;
}

export interface Part {
  assignment_id: string;
  service_id: string;
  session: YardSession;
  service: Peer | undefined;
}

export const sessions = new Map<string, YardSession>();
export const services = new Map<string, Peer>();
export const parts = new Map<string, Part>();
const dayMs = 86_400_000;

export function newSession(owner: Peer, user_identity: string, resumes: boolean): YardSession {
  const session_id = randomUUID();
  const startedAt = Date.now();
  const session: YardSession = {
    session_id,
    room_name: `room-${session_id}`,
    user_identity,
    owner,
    startedAt,
    created_at: new Date(startedAt).toISOString(),
    expires_at: new Date(startedAt + dayMs).toISOString(),
    seq: 0,
    version: 2,
    waiting: 0,
    parts: [],
    log: resumes ? [] : undefined,
    resume_token: resumes ? randomUUID() : undefined,
  };
  sessions.set(session_id, session);
  return session;
}

export const snapshotOf = ({ session_id, version, seq, user_identity, room_name, created_at, expires_at }: YardSession) => ({
  session_id,
  status: 'Ready',
  version,
  seq,
  owner_id: user_identity,
  user_identity,
  room_name,
  livekit_room: room_name,
  livekit_url: livekitUrl,
  metadata: {},
  context: {},
  visibility: 'private',
  messages: 0,
  health: 'ok',
  link: 'attached',
  ready_services: [],
  pending_services: [],
  services: [],
  participants: [],
  created_at,
  updated_at: created_at,
  expires_at,
  shares: {},
});

export function newPart(session: YardSession, service_id: string): Part {
  const part = { assignment_id: randomUUID(), service_id, session, service: services.get(service_id) };
  parts.set(part.assignment_id, part);
  return part;
}

/** Sends the session's own socket an event. */
export function tell<T extends object>(session: YardSession, type: string, fields: T) {
  const event = { type, seq: ++session.seq, ts: new Date().toISOString(), session_id: session.session_id, ...fields };
  session.log?.push(event);
  session.owner?.send(event);
  return event;
}

export const partChanged = ({ session, service_id, assignment_id }: Part, status: string) =>
  tell(session, 'ServiceStatusChanged', { service_id, assignment_id, status, attempt: 1, elapsed_ms: Date.now() - session.startedAt });

export const sessionChanged = (session: YardSession, from: string, to: string, reason?: string) =>
  tell(session, 'SessionStatusChanged', { from, to, version: ++session.version, reason });
