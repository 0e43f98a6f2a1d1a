import type { EventBody, EventType, LogEvent } from '../../protocol/events.ts';
import type { ServiceStatus, Status } from '../../protocol/states.ts';
import { iso } from '../time.ts';
import { copyRequirement, copyRoom, copySession, copyTimings, deadlines } from './copy.ts';
import type { NotificationType } from './notifications.ts';
import { type Assignment, type Leaving, labelOf, type Room, type Session } from './record.ts';

/** What is to be done after a commit. The record already says so: an effect that is lost is found again by its deadline. */
export type Effect =
  | { do: 'createRoom' }
  | { do: 'deleteRoom' }
  /** Find services for the pending requirements. */
  | { do: 'dispatch' }
  | { do: 'offer'; assignment: Assignment }
  /** Ask the service to leave, where it can still be reached. */
  | { do: 'leave'; assignment: Leaving; reason: string }
  /** Report to the services how this stands now. */
  | { do: 'notify'; what: NotificationType }
  /** The assignment is over: its slot is free. */
  | { do: 'release'; assignment: Leaving; isLapsed?: boolean }
  /** Drop the record. */
  | { do: 'forget' };

/** A copy of a session to change, with the events and effects of the change. Lives for one decision. */
export class Draft {
  readonly s: Session;
  readonly now: number;
  readonly events: LogEvent[] = [];
  readonly effects: Effect[] = [];

  constructor(session: Session, now: number) {
    this.now = now;
    const s = copySession(session);
    s.version = session.version + 1;
    s.updated_at = now;
    if (session.requirements.length > 0) s.requirements = session.requirements.map(copyRequirement);
    s.deadlines = deadlines(session.deadlines);
    s.timings = copyTimings(session.timings);
    if (session.room) s.room = copyRoom(session.room);
    this.s = s;
  }

  emit<T extends EventType>(type: T, body: EventBody<T>): void {
    this.s.seq += 1;
    const event = { type, seq: this.s.seq, ts: iso(this.now), session_id: this.s.session_id, ...body };
    this.events.push(event as unknown as LogEvent);
  }

  moveTo(to: Status, reason?: string): void {
    const from = this.s.status;
    this.s.status = to;
    this.emitStatus(from, reason);
  }

  /** Emits the session's new status, and the one it had. Spelt out here instead of by `emit`, as most events are of this type or the next two: an object that grows is larger for good. */
  emitStatus(from: Status | undefined, reason?: string): void {
    const { s } = this;
    s.seq += 1;
    this.events.push({
      type: 'SessionStatusChanged',
      seq: s.seq,
      ts: iso(this.now),
      session_id: s.session_id,
      from,
      to: s.status,
      version: s.version,
      reason,
    });
  }

  /** Emits the status of a service. */
  emitService(service_id: string, assignment_id: string | undefined, status: ServiceStatus, attempt: number, error?: string): void {
    const { s } = this;
    s.seq += 1;
    this.events.push({
      type: 'ServiceStatusChanged',
      seq: s.seq,
      ts: iso(this.now),
      session_id: s.session_id,
      service_id,
      assignment_id,
      status,
      attempt,
      error,
      elapsed_ms: this.elapsed(),
    });
  }

  emitReady(room: Room): void {
    const { s } = this;
    s.seq += 1;
    this.events.push({
      type: 'SessionReady',
      seq: s.seq,
      ts: iso(this.now),
      session_id: s.session_id,
      room_name: labelOf(room),
      livekit_room: room.name,
      livekit_url: room.livekit_url,
      timings: s.timings,
    });
  }

  /** Milliseconds since the session was asked for. */
  elapsed(): number {
    return Math.max(0, this.now - this.s.created_at);
  }
}
