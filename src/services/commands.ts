import type { Logger } from 'pino';
import type { Command } from '../../protocol/commands.ts';
import { leaveMs } from '../../protocol/times.ts';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import { changeable, type NotificationType, news, notification } from '../sessions/notifications.ts';
import type { Rooms, ServiceCommands } from '../sessions/ports.ts';
import { faults } from '../sessions/readiness.ts';
import { type Assignment, assignments, identityOf, isEnded, type Leaving, labelOf, type Session } from '../sessions/record.ts';
import type { Link } from './links.ts';
import type { Instance, Registry } from './registry.ts';

interface CommandsParts {
  registry: Registry;
  sessions: Sessions;
  rooms: Rooms;
  clock: Clock;
  log: Logger;
  nodeId: string;
}

/** Sends services what sessions want of them, over their links, and reports to the sessions what became of it. */
export class Commands implements ServiceCommands {
  readonly #parts: CommandsParts;
  /** Aborts the calls that offer something, by assignment; over a socket there are none. */
  readonly #calls = new Map<string, AbortController>();

  constructor(parts: CommandsParts) {
    this.#parts = parts;
  }

  async offer(session: Session, assignment: Assignment): Promise<void> {
    const { registry, rooms, clock, sessions, log } = this.#parts;
    if (!session.room) return;
    const { assignment_id, service_id } = assignment;
    const access_token = await rooms.serviceToken(session, identityOf(assignment));
    const requirement = session.requirements.find((r) => r.assignment?.assignment_id === assignment_id);
    const mustBeReadyBy = requirement?.replace_by ?? session.deadlines.join ?? clock.now() + session.join_timeout_ms;
    const link = registry.boundTo(assignment)?.link;
    const call = link && !link.saysLeft ? new AbortController() : undefined;
    if (call) this.#calls.set(assignment_id, call);
    const command: Command<'JoinRoomRequest'> = {
      type: 'JoinRoomRequest',
      assignment_id,
      attempt: assignment.attempt,
      session_id: session.session_id,
      room_name: labelOf(session.room),
      livekit_room: session.room.name,
      service_identity: identityOf(assignment),
      user_identity: session.user_identity,
      user_name: session.user_name,
      livekit_url: session.room.livekit_url,
      access_token,
      context: session.context,
      metadata: session.metadata as Record<string, string | string[]>,
      place_metadata: requirement?.metadata,
      workspace_dir: session.workspace_dir,
      deadline_ms: Math.max(0, mustBeReadyBy - clock.now()),
      resuming: assignment.resuming,
    };
    const delivery = await link?.offer(command, call?.signal);
    this.#calls.delete(assignment_id);
    if (delivery?.outcome === 'aborted') return;
    if (delivery?.outcome === 'accepted')
      await sessions.apply(session.session_id, { type: 'Accepted', assignment_id }).catch((error) => {
        // a storage that does not answer may have taken it
        if (!(error instanceof GatewayError)) throw error;
        askToLeave(link, assignment_id);
      });
    if (delivery?.outcome === 'accepted' || delivery?.outcome === 'sent') {
      // what it was sent before the offer it could not know what to do with; how the session stands may have changed since
      const now = changeable(session).length > 0 && (await sessions.get(session.session_id));
      if (now && !isEnded(now)) for (const what of news(now)) link?.send(notification(what, now));
      return;
    }
    const { outcome: _, detail, ...refusal } = delivery ?? { outcome: '', detail: undefined, ...faults.disconnected };
    log.warn(
      { session_id: session.session_id, service_id, detail: detail ?? refusal.error },
      'service refused or did not answer the offer',
    );
    await sessions.report(session.session_id, { type: 'Declined', assignment_id, ...refusal });
  }

  /** The offer is over: nobody waits for its answer. */
  abort(assignment_id: string): void {
    this.#calls.get(assignment_id)?.abort();
  }

  leave(sessionId: string, assignment: Leaving, reason: string): void {
    const { registry, sessions } = this.#parts;
    // the node that reaches the service sees the same record and asks it
    if (!this.#isHere(assignment)) return;
    const { assignment_id } = assignment;
    this.abort(assignment_id);
    const link = registry.boundTo(assignment)?.link;
    link?.send({ type: 'LeaveRoomRequest', assignment_id, reason, deadline_ms: leaveMs });
    // nobody will say ServiceLeft
    if (!link?.saysLeft) void sessions.report(sessionId, { type: 'ServiceLeft', assignment_id, clean: true });
  }

  notify(session: Session, what: NotificationType): void {
    for (const assignment of assignments(session)) {
      // the node that reaches the service sees the same record and sends it; a service that has not been offered it yet is notified with its offer
      if (this.#isHere(assignment)) this.#parts.registry.boundTo(assignment)?.link?.send(notification(what, session));
    }
  }

  /** Reports to a service that is back how the sessions stand that it kept: that may have changed while it was away. */
  resend({ link }: Instance, kept: readonly Session[]): void {
    for (const session of kept) if (!isEnded(session)) for (const what of changeable(session)) link?.send(notification(what, session));
  }

  #isHere({ node_id }: Pick<Leaving, 'node_id'>): boolean {
    return node_id === undefined || node_id === this.#parts.nodeId;
  }
}

/** Asks a service to leave a session that does not wait for its answer. */
export function askToLeave(link: Pick<Link, 'send'> | undefined, assignment_id: string, reason = 'the offer is over'): void {
  link?.send({ type: 'LeaveRoomRequest', assignment_id, reason, deadline_ms: 0 });
}
