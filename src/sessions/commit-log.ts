import type { Logger } from 'pino';
import type { LogEvent } from '../../protocol/events.ts';
import { inWords, shortName, some } from '../../protocol/failures.ts';
import type { EndReason } from '../../protocol/states.ts';
import { unaskedTexts } from './readiness.ts';
import type { Session } from './record.ts';

/** What to do about an end that nobody wanted. */
const hints: Partial<Record<EndReason, string>> = {
  client_never_joined: 'the user never joined: check that the client reaches livekit_url (LIVEKIT_PUBLIC_URL) and uses its token',
};

/** Says why a session ends that nobody wanted to end. Texts are constants: lines of one kind are counted by them. */
function logEnding(log: Logger, { session_id, ended, created_at, timings }: Session, deletedBy: string | undefined): void {
  if (!ended) return;
  const { reason, at, failures = [] } = ended;
  if (reason === 'storage_lost') {
    const by = deletedBy === undefined ? '' : `: something deletes records, as ${deletedBy}`;
    return log.warn({ session_id, reason }, `the record of a running session is gone from the storage${by}`);
  }
  const hint = hints[reason];
  if (hint !== undefined) return log.warn({ session_id, reason }, hint);
  const services = inWords(failures);
  if (reason === 'service_lost') return log.warn({ session_id, reason }, 'a required service was lost and not replaced: %s', services);
  if (reason !== 'join_timeout' && reason !== 'registration_timeout') return;
  const seconds = Math.round((at - created_at - (timings.room_ms ?? 0)) / 1_000);
  log.warn({ session_id, reason }, 'not ready within %d s: %s', seconds, services || 'its room');
}

/** Says which services a session waits for in vain. */
function logUnasked(log: Logger, session_id: string, events: readonly LogEvent[], registered: readonly string[]): void {
  const unasked = events.filter((event) => event.type === 'ServiceStatusChanged').filter(({ attempt }) => attempt === 0);
  const named = (text: string) => some(unasked.filter(({ error }) => error === text).map(({ service_id }) => shortName(service_id)));
  const unfit = named(unaskedTexts.never_registered);
  const unknown = named(unaskedTexts.unknown);
  const busy = named(unaskedTexts.not_ready);
  if (unfit !== '')
    log.warn({ session_id }, 'no registered service fits %s (registered: %s)', unfit, some(registered.map(shortName)) || 'none');
  if (unknown !== '') log.info({ session_id }, 'no service registered at this node fits %s: other nodes are asked', unknown);
  if (busy !== '') log.info({ session_id }, 'no service that fits is free: %s', busy);
}

const short = (session_id: string) => session_id.slice(0, 8);

/**
 * Writes what a commit did to its session into the log: that it was created, is ready or has ended in one line each, and what went wrong.
 * @param sessionLog takes those; `log`: takes what may be many
 * @param deletedBy as the storage says it
 */
export function logCommit(
  log: Logger,
  sessionLog: Logger,
  session: Session,
  events: readonly LogEvent[],
  registered: () => readonly string[],
  deletedBy?: string,
): void {
  const { session_id, ended } = session;
  let unasked = false;
  let first: LogEvent<'SessionStatusChanged'> | undefined;
  let last: LogEvent<'SessionStatusChanged'> | undefined;
  let isReady = false;
  for (const event of events) {
    if (event.type === 'SessionStatusChanged') {
      first ??= event;
      last = event;
      isReady ||= event.to === 'Ready' && event.from !== 'Active';
      if (event.to === 'Terminating') logEnding(log, session, deletedBy);
    } else if (event.type === 'ServiceStatusChanged') {
      const { service_id, status, error, attempt } = event;
      // those that go well are in the lines of the session itself
      if (attempt === 0) unasked = true;
      else if (error !== undefined) log.warn({ session_id, service_id, status, error }, 'service status changed');
      else if (log.isLevelEnabled('debug')) log.debug({ session_id, service_id, status }, 'service status changed');
    }
  }
  if (unasked) logUnasked(log, session_id, events, registered());
  if (!first || !sessionLog.isLevelEnabled('info')) return;
  const { status, room, user_identity, requirements } = session;
  if (first.from === undefined) {
    const services = requirements.map(({ key }) => key);
    sessionLog.info({ session_id, status, room: room?.name, services, user_identity }, 'session created');
  }
  if (isReady) logReady(sessionLog, session);
  if (status === 'Terminated') {
    const lived_ms = session.updated_at - session.created_at;
    sessionLog.info({ session_id, reason: ended?.reason, by: ended?.by, lived_ms }, `session ${short(session_id)} ended: ${ended?.reason}`);
  } else if (first.from !== undefined && !isReady) {
    sessionLog.debug({ session_id, from: first.from, to: status, reason: last?.reason }, 'session status changed');
  }
}

/** As in: session fdc58ef0 ready in 595 ms (room 55, asr 540). */
function logReady(log: Logger, { session_id, timings, requirements }: Session): void {
  const services: Record<string, number> = {};
  for (const { assignment } of requirements) if (assignment?.ready_ms !== undefined) services[assignment.service_id] = assignment.ready_ms;
  const parts = [['room', timings.room_ms], ...Object.entries(services)].map(([name, ms]) => `${name} ${ms}`);
  log.info(
    { session_id, total_ms: timings.total_ms, room_ms: timings.room_ms, services },
    `session ${short(session_id)} ready in ${timings.total_ms} ms (${parts.join(', ')})`,
  );
}
