import { GatewayError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Fault } from '../sessions/readiness.ts';
import type { Session } from '../sessions/record.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Instance } from './registry.ts';

interface ReportsParts {
  sessions: Sessions;
  dispatcher: Dispatcher;
  nodeId: string;
}

interface ReadyReport {
  session_id?: string | undefined;
  service_id?: string | undefined;
  assignment_id?: string | undefined;
}

const notHeld = () => new GatewayError('ASSIGNMENT_NOT_FOUND', 'this service has no such assignment');

/** In the service's own words, where it said any. */
const fault = (reason: Fault['reason'], said: string | undefined, otherwise: string): Fault => ({
  reason,
  error: said || otherwise,
  isSaid: Boolean(said),
});

/** What services report of their parts in sessions, over whichever link. */
export class Reports {
  readonly #parts: ReportsParts;

  constructor(parts: ReportsParts) {
    this.#parts = parts;
  }

  /** The session in which this service holds the assignment. @throws GatewayError ASSIGNMENT_NOT_FOUND */
  holding(service: Instance | undefined, assignment_id: string): string {
    const id = service?.slots.get(assignment_id);
    if (id === undefined) throw notHeld();
    return id;
  }

  /** @returns false: the offer is over, and the service has to leave */
  async accepted(service: Instance, assignment_id: string): Promise<boolean> {
    const { sessions } = this.#parts;
    try {
      const id = service.slots.get(assignment_id);
      if (id !== undefined) await sessions.apply(id, { type: 'Accepted', assignment_id });
      else await this.#late(service, { assignment_id }, (late) => ({ type: 'Accepted', ...late }));
      return true;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return false;
    }
  }

  /** For an offer that is over it says nothing new. */
  async declined(service: Instance, assignment_id: string, reason?: string, retry_after_ms?: number): Promise<void> {
    const { sessions } = this.#parts;
    const id = service.slots.get(assignment_id);
    if (id === undefined) return;
    const retry = retry_after_ms === undefined ? {} : { retry_after_ms };
    await sessions.report(id, { type: 'Declined', assignment_id, ...fault('declined', reason, 'the service declined'), ...retry });
  }

  /**
   * A service can serve a session.
   * @param subject whose credential says it; undefined: nothing authenticates
   * @param speaker the service on whose socket it is said; absent: somebody says it in its name
   * @throws GatewayError SESSION_NOT_FOUND, ASSIGNMENT_NOT_FOUND, ILLEGAL_STATE; FORBIDDEN the speaker names another service
   */
  async ready(said: ReadyReport, subject: string | undefined, speaker?: Instance): Promise<{ service_id: string; session: Session }> {
    const { session_id, assignment_id } = said;
    // a peer that is no service and names none speaks for nobody
    const { service_id = speaker?.service_id ?? '' } = said;
    if (speaker && speaker.service_id !== service_id) {
      throw new GatewayError('FORBIDDEN', `this socket is registered as ${speaker.service_id} and can report for that service only`);
    }
    return { service_id, session: await this.#ready({ session_id, service_id, assignment_id }, subject, speaker) };
  }

  async #ready(
    { session_id, service_id, assignment_id }: ReadyReport & { service_id: string },
    subject: string | undefined,
    speaker?: Instance,
  ): Promise<Session> {
    const { sessions, dispatcher, nodeId } = this.#parts;
    const said = {
      type: 'ServiceReady',
      service_id,
      subject,
      ...(assignment_id !== undefined && { assignment_id }),
      ...(speaker && { incarnation: speaker.incarnation, node_id: nodeId }),
    } as const;
    const id = assignment_id === undefined ? session_id : speaker?.slots.get(assignment_id);
    try {
      if (id === undefined) throw notHeld();
      return await sessions.apply(id, said);
    } catch (error) {
      const service = speaker ?? dispatcher.registry.get(service_id);
      if (!service || service.subject !== subject || !(error instanceof GatewayError) || error.code !== 'ASSIGNMENT_NOT_FOUND') throw error;
      return this.#late(service, { session_id: id, assignment_id }, (late) => ({ ...said, ...late }));
    }
  }

  /** @throws GatewayError ASSIGNMENT_NOT_FOUND */
  async failed(service: Instance | undefined, assignment_id: string, error?: string): Promise<void> {
    const id = this.holding(service, assignment_id);
    await this.#parts.sessions.apply(id, { type: 'ServiceFailed', assignment_id, ...fault('failed', error, 'the service failed') });
  }

  /** For an assignment that is over it says nothing new. */
  async left(service: Instance, assignment_id: string, clean: boolean): Promise<void> {
    const id = service.slots.get(assignment_id);
    if (id !== undefined) await this.#parts.sessions.apply(id, { type: 'ServiceLeft', assignment_id, clean });
  }

  /**
   * An offer that timed out is answered after all: it is taken while its place still waits, and nobody else was asked. Of a session that has
   * offered the service several it is the last one whose place does.
   */
  async #late(
    service: Instance,
    which: { session_id?: string | undefined; assignment_id?: string | undefined },
    input: (late: { assignment_id: string; late: number }) => Parameters<Sessions['apply']>[1],
  ): Promise<Session> {
    const { sessions, dispatcher } = this.#parts;
    for (let lapsed = dispatcher.reclaim(service, which); lapsed; lapsed = dispatcher.reclaim(service, which)) {
      const { session_id, assignment_id } = lapsed;
      try {
        return await sessions.apply(session_id, input({ assignment_id, late: service.incarnation }));
      } catch (error) {
        const isOver = error instanceof GatewayError;
        // what the storage could not take may be said again
        dispatcher.release(session_id, { ...service, assignment_id }, !isOver);
        if (!isOver || error.code !== 'ASSIGNMENT_NOT_FOUND') throw error;
      }
    }
    throw notHeld();
  }
}
