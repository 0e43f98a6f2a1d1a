import type { Logger } from 'pino';
import { changed } from '../sessions/notifications.ts';
import type { Commit, Offers } from '../sessions/ports.ts';
import { assignments, isEnded, isPending, type Session } from '../sessions/record.ts';

interface RemoteParts {
  offers: Offers;
  nodeId: string;
  log: Logger;
}

/** Another node changed a session: what that means to the services reached from here, and to those that wait here for work. */
export function onRemoteCommit({ before, session }: Commit, parts: RemoteParts): void {
  const { offers, nodeId } = parts;
  const id = session.session_id;
  if (before && !isEnded(session)) for (const what of changed(before, session)) offers.commands.notify(session, what);
  const reason = session.ended?.reason ?? 'the session goes on without it';
  const active = new Map(assignments(session).map((a) => [a.assignment_id, a.node_id]));
  const leaving = new Set(session.leaving.map((a) => a.assignment_id));
  const known = before ? [...assignments(before), ...before.leaving] : [];
  for (const assignment of known) {
    const { assignment_id, node_id } = assignment;
    if (node_id !== nodeId) continue;
    // it moved to another node together with its service: the slot here is free
    if (active.get(assignment_id) !== undefined && active.get(assignment_id) !== node_id) offers.release(id, assignment);
    if (active.has(assignment_id)) continue;
    const wasLeaving = before?.leaving.some((a) => a.assignment_id === assignment_id) === true;
    if (!wasLeaving) offers.commands.leave(id, assignment, reason);
    if (!leaving.has(assignment_id)) offers.release(id, assignment);
  }
  if (session.requirements.some(isPending)) void dispatch(session, parts);
}

/** Cannot reject. */
async function dispatch(session: Session, { offers, log }: RemoteParts): Promise<void> {
  try {
    if (session.status !== 'Creating') await offers.dispatch(session);
  } catch (err) {
    log.debug({ err, session_id: session.session_id }, 'another node was faster');
  }
}
