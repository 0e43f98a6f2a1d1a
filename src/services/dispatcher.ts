import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import type { Request } from '../../protocol/requests.ts';
import type { Sessions } from '../sessions/manager.ts';
import type { Clock, Offers, Rooms } from '../sessions/ports.ts';
import type { Assignment, Leaving, Session } from '../sessions/record.ts';
import { type Instance, Registry, type ServicePeer } from './registry.ts';

const sweepMs = 10_000;
const leaveMs = 3_000;

interface DispatcherParts {
  sessions: Sessions;
  rooms: Rooms;
  clock: Clock;
  log: Logger;
}

/**
 * Brings sessions and services together: keeps the waiting list, takes slots, sends offers over the services' sockets,
 * and tells sessions what became of their services. `close` stops its sweep.
 */
export class Dispatcher implements Offers {
  readonly registry: Registry;
  readonly #parts: DispatcherParts;
  /** Sessions with a pending requirement, by the service id they wait for. */
  readonly #waiting = new Map<string, Set<string>>();
  readonly #stop: () => void;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.registry = new Registry(parts.clock.now());
    this.#stop = parts.clock.every(sweepMs, () => this.registry.sweep(parts.clock.now()));
    parts.sessions.onCommit((session) => this.#list(session));
  }

  close(): void {
    this.#stop();
  }

  /** How many sessions wait for some service. */
  get waiting(): number {
    let count = 0;
    for (const ids of this.#waiting.values()) count += ids.size;
    return count;
  }

  available(): string[] {
    return [...this.registry.all()].filter((i) => i.peer && i.slots.size < i.maxSessions).map((i) => i.service_id);
  }

  async dispatch(session: Session): Promise<void> {
    const now = this.#parts.clock.now();
    const offers: Pick<Assignment, 'assignment_id' | 'service_id' | 'incarnation'>[] = [];
    const busy: string[] = [];
    for (const requirement of session.requirements) {
      if (requirement.assignment || (requirement.retry_at ?? 0) > now) continue;
      const instance = this.registry.get(requirement.service_id);
      if (!instance?.peer) continue;
      const assignment_id = uuid();
      if (this.registry.take(instance, assignment_id, session.session_id)) {
        offers.push({ assignment_id, service_id: instance.service_id, incarnation: instance.incarnation });
      } else busy.push(instance.service_id);
    }
    if (offers.length > 0 || busy.some((id) => session.requirements.some((r) => r.service_id === id && !r.known))) {
      try {
        await this.#parts.sessions.apply(session.session_id, { type: 'Dispatched', offers, busy });
      } catch (error) {
        for (const offer of offers) this.release(session.session_id, offer);
        throw error;
      }
    }
  }

  async offer(session: Session, assignment: Assignment): Promise<void> {
    const { rooms, clock, sessions } = this.#parts;
    if (!session.room) return;
    const access_token = await rooms.serviceToken(session, assignment.service_id);
    const requirement = session.requirements.find((r) => r.service_id === assignment.service_id);
    const mustBeReadyBy = requirement?.replace_by ?? session.deadlines.join ?? clock.now();
    const sent = this.#peerOf(assignment)?.send({
      type: 'JoinRoomRequest',
      assignment_id: assignment.assignment_id,
      attempt: assignment.attempt,
      session_id: session.session_id,
      room_name: session.room.name,
      service_identity: assignment.service_id,
      livekit_url: session.room.livekit_url,
      access_token,
      metadata: session.metadata as Record<string, string | string[]>,
      ...(session.workspace_dir !== undefined && { workspace_dir: session.workspace_dir }),
      deadline_ms: Math.max(0, mustBeReadyBy - clock.now()),
      resuming: assignment.resuming,
    });
    if (!sent) {
      const { assignment_id } = assignment;
      await sessions.tell(session.session_id, { type: 'Declined', assignment_id, error: 'the offer could not be sent' });
    }
  }

  leave(_sessionId: string, assignment: Leaving, reason: string): void {
    this.#peerOf(assignment)?.send({ type: 'LeaveRoomRequest', assignment_id: assignment.assignment_id, reason, deadline_ms: leaveMs });
  }

  release(_sessionId: string, assignment: Leaving): void {
    const instance = this.registry.get(assignment.service_id);
    if (instance?.slots.delete(assignment.assignment_id)) this.#offerWaiting(instance.service_id);
  }

  /**
   * Registers a service and settles what it held before its socket broke.
   * @returns the registration, what it may go on with, and what is over
   * @throws GatewayError SERVICE_ID_EXISTS
   */
  async register(wish: Request<'RegisterServiceRequest'>, peer: ServicePeer) {
    const { sessions, log } = this.#parts;
    const { instance, old } = this.registry.register(wish, peer);
    log.info({ serviceId: instance.service_id, incarnation: instance.incarnation, again: old !== undefined }, 'service registered');
    const keep: string[] = [];
    const release: string[] = [];
    for (const { session_id, assignment_id } of wish.held) {
      try {
        // the slot first: what the service says it holds, it holds
        instance.slots.set(assignment_id, session_id);
        await sessions.apply(session_id, {
          type: 'ServiceBack',
          assignment_id,
          service_id: instance.service_id,
          incarnation: instance.incarnation,
        });
        keep.push(assignment_id);
      } catch {
        instance.slots.delete(assignment_id);
        release.push(assignment_id);
      }
    }
    for (const [assignment_id, session_id] of old?.slots ?? []) {
      if (!keep.includes(assignment_id))
        await sessions.tell(session_id, { type: 'ServiceFailed', assignment_id, error: 'the service registered again without it' });
    }
    return { instance, keep, release };
  }

  /** Offers a service that has a free slot to those who wait for its id. */
  #offerWaiting(serviceId: string): void {
    for (const id of this.#waiting.get(serviceId) ?? []) void this.#dispatchAgain(id);
  }

  /** Called once a service's RegisterServiceResponse is on its way, so that no offer comes before it. */
  registered(instance: Instance): void {
    this.#offerWaiting(instance.service_id);
  }

  /** The service's socket has gone: each session it served is told. */
  disconnected(instance: Instance): void {
    // a newer registration has taken its place, and what it held with it
    if (this.registry.get(instance.service_id) !== instance) return;
    this.registry.disconnect(instance, this.#parts.clock.now());
    this.#parts.log.info({ serviceId: instance.service_id, sessions: instance.slots.size }, 'service disconnected');
    for (const [assignment_id, session_id] of instance.slots) {
      void this.#parts.sessions.tell(session_id, { type: 'ServiceGone', assignment_id, incarnation: instance.incarnation });
    }
  }

  /** The session in which this registration holds the assignment. */
  sessionOf(instance: Instance, assignment_id: string): string | undefined {
    return instance.slots.get(assignment_id);
  }

  async #dispatchAgain(sessionId: string): Promise<void> {
    try {
      await this.dispatch(await this.#parts.sessions.get(sessionId));
    } catch (err) {
      this.#parts.log.warn({ err, sessionId }, 'waiting session could not be offered');
    }
  }

  #peerOf({ service_id, incarnation }: Pick<Leaving, 'service_id' | 'incarnation'>): ServicePeer | undefined {
    const instance = this.registry.get(service_id);
    return instance?.incarnation === incarnation ? instance.peer : undefined;
  }

  /** Keeps the waiting list as the records say. */
  #list(session: Session): void {
    const open = session.status === 'WaitingForServices' || session.status === 'Ready' || session.status === 'Active';
    for (const { service_id, assignment } of session.requirements) {
      const ids = this.#waiting.get(service_id);
      if (open && !assignment) {
        if (ids) ids.add(session.session_id);
        else this.#waiting.set(service_id, new Set([session.session_id]));
      } else if (ids?.delete(session.session_id) && ids.size === 0) this.#waiting.delete(service_id);
    }
  }
}
