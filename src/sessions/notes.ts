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
};

/** Writes what a commit did to its session into the log: its making or its move in one line, however many steps it took, and what went wrong. */
export function note(log: Logger, session: Session, events: readonly LogEvent[]): void {
  const { session_id, ended } = session;
  let first: LogEvent<'SessionStatusChanged'> | undefined;
  let last: LogEvent<'SessionStatusChanged'> | undefined;
  for (const event of events) {
    if (event.type === 'SessionStatusChanged') {
      first ??= event;
      last = event;
      const hint = event.to === 'Terminating' && ended ? hints[ended.reason] : undefined;
      if (hint) log.warn({ session_id, reason: ended?.reason, missing: ended?.missing }, hint);
    } else if (event.type === 'ServiceStatusChanged') {
      const { service_id, status, error } = event;
      // those that go well are told by the session's own lines
      if (error !== undefined) log.warn({ session_id, service_id, status, error }, 'service status changed');
      else if (log.isLevelEnabled('debug')) log.debug({ session_id, service_id, status }, 'service status changed');
    }
  }
  if (!first) return;
  const { status, room, user_identity, requirements } = session;
  if (first.from === undefined) {
    const services = requirements.map(({ key }) => key);
    log.info({ session_id, status, room: room && livekitName(room), services, user_identity }, 'session created');
  } else {
    // an end is told once, when it is complete
    const level = status === 'Terminating' ? 'debug' : 'info';
    log[level]({ session_id, from: first.from, to: status, reason: last?.reason }, 'session status changed');
  }
}
