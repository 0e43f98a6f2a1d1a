// What the yardsticks do: the gateway's frames with the gateway's fields, from plain Maps, without one check.
import { randomUUID } from 'node:crypto';
import { key, livekitUrl, secret } from './key.ts';
import { newPart, newSession, type Peer, partChanged, parts, services, sessionChanged, sessions, snapshotOf, tell } from './records.ts';
import { joinToken } from './token.ts';

// biome-ignore lint/suspicious/noExplicitAny: nothing is checked, that is the point
export type Frame = any;

type Reply = (frame: object) => void;

/** Handles a frame; `reply` sends the answer to its request. */
export function handle(peer: Peer, frame: Frame, reply: Reply): void {
  answers[frame.type]?.(peer, frame, reply);
}

/** The socket has ended. */
export function closed(peer: Peer): void {
  const { session } = peer;
  if (!session || session.owner !== peer) return;
  session.owner = undefined;
  if (!session.log) sessions.delete(session.session_id);
}

const answers: Record<string, (peer: Peer, frame: Frame, reply: Reply) => void> = {
  Ping(_, { id, t }, reply) {
    reply({ type: 'Pong', id, t, server_time: new Date().toISOString() });
  },

  NewSessionRequest(peer, { id, user_identity, required_services = [], resume_window_s = 0 }, reply) {
    const session = newSession(peer, user_identity, resume_window_s > 0);
    peer.session = session;
    session.parts = required_services.map((service_id: string) => newPart(session, service_id));
    session.waiting = session.parts.length;
    const isReady = session.waiting === 0;
    // as the gateway, it answers when its services are asked: their Joining is reflected, and not sent
    session.seq = isReady ? 3 : 2 + session.parts.length;
    reply({
      type: 'NewSessionResponse',
      id,
      session_id: session.session_id,
      status: isReady ? 'Ready' : 'WaitingForServices',
      room_name: session.room_name,
      livekit_room: session.room_name,
      livekit_url: livekitUrl,
      access_token: isReady ? joinToken(key, secret, session.room_name, user_identity) : undefined,
      ready_services: [],
      pending_services: required_services,
      created_at: session.created_at,
      expires_at: session.expires_at,
      seq: session.seq,
      timings: { room_ms: 0, services_ms: 0, total_ms: 0 },
      replayed: false,
      resume_window_s,
      resume_token: session.resume_token,
    });
    for (const { service, assignment_id, service_id } of session.parts) {
      service?.send({
        type: 'JoinRoomRequest',
        assignment_id,
        attempt: 1,
        session_id: session.session_id,
        room_name: session.room_name,
        livekit_room: session.room_name,
        service_identity: service_id,
        user_identity,
        livekit_url: livekitUrl,
        access_token: joinToken(key, secret, session.room_name, service_id, 'agent'),
        context: {},
        metadata: {},
        deadline_ms: 60_000,
        resuming: false,
      });
    }
  },

  RegisterServiceRequest(peer, { id, service_id }, reply) {
    services.set(service_id, peer);
    reply({
      type: 'RegisterServiceResponse',
      id,
      success: true,
      service_id,
      message: 'Microservice registered successfully',
      keep: [],
      release: [],
    });
  },

  JoinRoomResponse() {},

  ServiceReady(peer, { assignment_id }) {
    const part = parts.get(assignment_id);
    if (!part) return;
    const { session } = part;
    partChanged(part, 'Ready');
    const isReady = --session.waiting === 0;
    if (isReady) {
      sessionChanged(session, 'WaitingForServices', 'Ready');
      const { room_name, user_identity } = session;
      tell(session, 'SessionReady', {
        room_name,
        livekit_room: room_name,
        livekit_url: livekitUrl,
        timings: { room_ms: 0, services_ms: Date.now() - session.startedAt, total_ms: Date.now() - session.startedAt },
        access_token: joinToken(key, secret, room_name, user_identity),
      });
    }
    const { session_id } = session;
    peer.send({ type: 'ServiceReadyResponse', success: true, session_id, service_id: part.service_id, all_ready: isReady });
  },

  EndSessionRequest({ session }, { id }, reply) {
    if (!session) return;
    sessionChanged(session, 'Ready', 'Terminating', 'client_ended');
    for (const part of session.parts) partChanged(part, 'Disconnected');
    session.waiting = session.parts.length;
    reply({ type: 'EndSessionResponse', id, session_id: session.session_id, status: 'Terminating' });
    for (const { service, assignment_id } of session.parts) {
      service?.send({ type: 'LeaveRoomRequest', assignment_id, reason: 'client_ended', deadline_ms: 3_000 });
    }
  },

  ServiceLeft(_, { assignment_id }) {
    const part = parts.get(assignment_id);
    if (!part) return;
    parts.delete(assignment_id);
    const { session } = part;
    if (--session.waiting > 0) return;
    sessionChanged(session, 'Terminating', 'Terminated', 'client_ended');
    tell(session, 'SessionEnded', { reason: 'client_ended', by: 'client', duration_s: (Date.now() - session.startedAt) / 1_000 });
    sessions.delete(session.session_id);
    if (session.owner) session.owner.session = undefined;
  },

  WatchRequest(peer, { id, session_id }, reply) {
    const session = sessions.get(session_id);
    if (!session) return;
    reply({ type: 'WatchResponse', id, session_id, seq: session.seq, session: snapshotOf(session) });
    peer.watch(session_id);
  },

  AddMessageRequest(peer, { id, session_id, role, content }, reply) {
    const session = session_id === undefined ? peer.session : sessions.get(session_id);
    if (!session) return;
    const message = { message_id: randomUUID(), role, content, user_id: session.user_identity };
    const event = tell(session, 'MessageAdded', message);
    peer.publish(session.session_id, event);
    const { seq, ts } = event;
    reply({ type: 'AddMessageResponse', id, session_id: session.session_id, seq, ...message, created_at: ts, duplicate: false });
  },

  ResumeRequest(peer, { id, session_id, resume_token, last_seq }, reply) {
    const session = sessions.get(session_id);
    if (!session?.log || session.resume_token !== resume_token) return;
    peer.session = session;
    session.owner = peer;
    const { seq } = session;
    reply({ type: 'ResumeResponse', id, session_id, recovered: true, snapshot: snapshotOf(session), from_seq: last_seq + 1, to_seq: seq });
    // the events before the first of the log are in the answer that made the session
    if (last_seq < seq) for (const event of session.log.slice(last_seq - seq)) peer.send(event);
    peer.send({ type: 'ResumeComplete', session_id, seq });
  },
};
