import type { Snapshot } from '../../protocol/answers.ts';
import type { ServiceStatus } from '../../protocol/states.ts';
import { iso } from '../time.ts';
import { unserved } from './ending.ts';
import { isGone, isServing, labelOf, nameOf, type Requirement, type Session } from './record.ts';

export const readyServices = (session: Session) => session.requirements.filter(isServing).map(nameOf);
export const pendingServices = (session: Session) => session.requirements.filter((r) => !isServing(r)).map(nameOf);

/** What a session is to those who may read it: without tokens, and without what only the gateway needs. */
export function snapshot(session: Session): Snapshot {
  return {
    session_id: session.session_id,
    status: session.status,
    version: session.version,
    seq: session.seq,
    ...(session.owner_id !== undefined && { owner_id: session.owner_id }),
    ...(session.user_identity !== undefined && { user_identity: session.user_identity }),
    ...(session.room && {
      room_name: labelOf(session.room),
      livekit_room: session.room.name,
      livekit_url: session.room.livekit_url,
    }),
    ...(session.workspace_dir !== undefined && { workspace_dir: session.workspace_dir }),
    metadata: session.metadata as Snapshot['metadata'],
    context: session.context,
    visibility: session.visibility,
    messages: session.messages,
    health: session.health,
    link: session.link,
    ...(session.deadlines.resume !== undefined && { resume_deadline: iso(session.deadlines.resume) }),
    ready_services: readyServices(session),
    pending_services: pendingServices(session),
    services: session.requirements.map((r) => ({
      service_id: nameOf(r),
      status: shownStatus(r),
      required: r.required,
      ...(r.assignment && { assignment_id: r.assignment.assignment_id }),
      ...(r.error !== undefined && { error: r.error }),
    })),
    participants: session.participants.map(({ identity, kind, joined_at }) => ({ identity, kind, joined_at: iso(joined_at) })),
    created_at: iso(session.created_at),
    updated_at: iso(session.updated_at),
    expires_at: iso(session.expires_at),
    ...(session.ended && { end_reason: session.ended.reason, ...unserved(session) }),
  };
}

function shownStatus({ assignment, attempt, failure, error }: Requirement): ServiceStatus {
  if (assignment) return assignment.status === 'Ready' ? 'Ready' : 'Joining';
  if (failure) return isGone(failure) ? 'Disconnected' : 'Registered';
  return attempt === 0 && error === undefined ? 'Registered' : 'Disconnected';
}
