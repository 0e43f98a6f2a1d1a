import type { Logger } from 'pino';
import type { LogEvent } from '../../protocol/events.ts';
import type { EndReason } from '../../protocol/states.ts';
import { livekitName, type Session } from './record.ts';

/** What to do about an end that nobody wanted. */
const hints: Partial<Record<EndReason, string>> = {
  registration_timeout: 'a required service never registered: check its id, that it runs, and that it reaches the gateway',
  join_timeout: 'the services were not all ready in time: check the log lines of those missing, or raise microservices.join_timeout',
  client_never_joined: 'the user never joined: check that the client reaches livekit_url (LIVEKIT_PUBLIC_URL) and uses its token',
  service_lost: 'a service was lost and nobody took its place: run a second instance, or set on_service_loss',
  storage_lost: 'the storage dropped a running session: Redis needs maxmemory-policy noeviction, and nobody may flush it',
};

const short = (session_id: string) => session_id.slice(0, 8);

/**
 * Writes what a commit did to its session into the log: that it was created, is ready or has ended in one line each, and what went wrong.
 * @param sessionLog takes those; `log`: takes what may be many
 */
export function note(log: Logger, sessionLog: Logger, session: Session, events: readonly LogEvent[]): void {
  const { session_id, ended } = session;
  let first: LogEvent<'SessionStatusChanged'> | undefined;
  let last: LogEvent<'SessionStatusChanged'> | undefined;
  let isReady = false;
  for (const event of events) {
    if (event.type === 'SessionStatusChanged') {
      first ??= event;
      last = event;
      isReady ||= event.to === 'Ready' && event.from !== 'Active';
      const hint = event.to === 'Terminating' && ended ? hints[ended.reason] : undefined;
      if (hint) log.warn({ session_id, reason: ended?.reason, missing: ended?.missing }, hint);
    } else if (event.type === 'ServiceStatusChanged') {
      const { service_id, status, error } = event;
      // those that go well are told by the session's own lines
      if (error !== undefined) log.warn({ session_id, service_id, status, error }, 'service status changed');
      else if (log.isLevelEnabled('debug')) log.debug({ session_id, service_id, status }, 'service status changed');
    }
  }
  if (!first || !sessionLog.isLevelEnabled('info')) return;
  const { status, room, user_identity, requirements } = session;
  if (first.from === undefined) {
    const services = requirements.map(({ key }) => key);
    sessionLog.info({ session_id, status, room: room && livekitName(room), services, user_identity }, 'session created');
  }
  if (isReady) noteReady(sessionLog, session);
  if (status === 'Terminated') {
    const lived_ms = session.updated_at - session.created_at;
    sessionLog.info({ session_id, reason: ended?.reason, by: ended?.by, lived_ms }, `session ${short(session_id)} ended: ${ended?.reason}`);
  } else if (first.from !== undefined && !isReady) {
    sessionLog.debug({ session_id, from: first.from, to: status, reason: last?.reason }, 'session status changed');
  }
}

/** As in: session fdc58ef0 ready in 595 ms (room 55, asr 540). */
function noteReady(log: Logger, { session_id, timings, requirements }: Session): void {
  const services: Record<string, number> = {};
  for (const { assignment } of requirements) if (assignment?.ready_ms !== undefined) services[assignment.service_id] = assignment.ready_ms;
  const parts = [['room', timings.room_ms], ...Object.entries(services)].map(([name, ms]) => `${name} ${ms}`);
  log.info(
    { session_id, total_ms: timings.total_ms, room_ms: timings.room_ms, services },
    `session ${short(session_id)} ready in ${timings.total_ms} ms (${parts.join(', ')})`,
  );
}
