import type { Logger } from 'pino';
import type { Availability } from '../../protocol/states.ts';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import { faults } from '../sessions/readiness.ts';
import type { Session } from '../sessions/record.ts';
import { askToLeave } from './commands.ts';
import type { Dispatcher } from './dispatcher.ts';
import { isSameEndpoint, type Link } from './links.ts';
import type { Instance, RegistrationRequest } from './registry.ts';

const idIsHeld =
  'service id is held by another process: give each its own id and ask for services by metadata, or keep one instance_id over restarts';

interface RegistrationsParts {
  dispatcher: Dispatcher;
  sessions: Sessions;
  clock: Clock;
  log: Logger;
  nodeId: string;
}

/** A registration, what it may go on with of what it held, and what of that is over. */
export interface Registered {
  instance: Instance;
  keep: string[];
  release: string[];
}

interface RegisterOptions {
  /** What the service says it holds. */
  held?: readonly { session_id: string; assignment_id: string }[] | undefined;
  /** The registration that its connection had before. */
  own?: Instance | undefined;
  /** Sends the answer. @returns false: the service has gone meanwhile */
  answer?(registered: Registered): boolean;
}

/** How services come and go: each registers, is gone and is back, and what that means to the sessions it serves. */
export class Registrations {
  readonly #parts: RegistrationsParts;

  constructor(parts: RegistrationsParts) {
    this.#parts = parts;
  }

  /**
   * Registers a service, settles what it held before its connection broke, and answers. After the answer it is sent how the clients of what it
   * kept stand, and offers: what comes before, it could not expect.
   * @throws GatewayError SERVICE_ID_EXISTS, TOO_MANY_SERVICES
   */
  async register(request: RegistrationRequest, link: Link, { held = [], own, answer }: RegisterOptions = {}): Promise<Registered> {
    const { dispatcher, log } = this.#parts;
    const { instance, old } = this.#put(request, link, own);
    // until it is answered nothing is offered to it: it could not expect that
    instance.availability = 'full';
    const before = [...(old?.slots ?? [])];
    // what the old registration held is decided here: its socket has no assignments now
    if (old) dispatcher.registry.free(old);
    if (old !== own) old?.link?.replaced();
    log.info(
      { service_id: instance.service_id, endpoint: instance.endpoint?.url, incarnation: instance.incarnation, again: old !== undefined },
      'service registered',
    );
    // where it is called nothing broke: an instance that says again where it is goes on
    const again = isSameEndpoint(instance.endpoint, old?.endpoint) && request.instance_id === old?.instance_id;
    if (again && old) instance.lapsed = old.lapsed;
    const holds = again ? before.map(([assignment_id, session_id]) => ({ session_id, assignment_id })) : held;
    const { keep, release, kept } = await this.#settle(instance, holds, again);
    const over = before.filter(([assignment_id]) => !keep.includes(assignment_id));
    await this.#notKept(over, old);
    const registered = { instance, keep, release };
    if (answer?.(registered) === false) this.disconnected(instance);
    else {
      // it may have been drained meanwhile
      if (instance.availability === 'full') instance.availability = 'available';
      dispatcher.commands.resend(instance, kept);
      void dispatcher.offerWaiting(instance);
    }
    return registered;
  }

  #put(request: RegistrationRequest, link: Link, own: Instance | undefined): { instance: Instance; old: Instance | undefined } {
    const { dispatcher, clock, log } = this.#parts;
    try {
      return dispatcher.registry.register(request, link, (old) => old === own, clock.now());
    } catch (error) {
      const code = error instanceof GatewayError ? error.code : undefined;
      const why = code === 'TOO_MANY_SERVICES' ? 'service refused: limits.services reached' : idIsHeld;
      log.warn(
        { service_id: request.service_id },
        code === 'FORBIDDEN' ? 'service refused: its id was registered with another credential' : why,
      );
      throw error;
    }
  }

  /** Takes the slots of what a service says it holds, and asks the sessions whether it does. */
  async #settle(instance: Instance, holds: readonly { session_id: string; assignment_id: string }[], again: boolean) {
    const { sessions, nodeId: node_id } = this.#parts;
    const { registry } = this.#parts.dispatcher;
    const keep: string[] = [];
    const kept: Session[] = [];
    const release: string[] = [];
    // the slots first: what the service says it holds, it holds, and nobody else may take
    for (const { session_id, assignment_id } of holds) registry.take(instance, assignment_id, session_id);
    const { service_id, incarnation, subject } = instance;
    const backs = holds.map(({ session_id, assignment_id }) =>
      sessions.apply(session_id, {
        type: 'ServiceBack',
        assignment_id,
        service_id,
        incarnation,
        node_id,
        subject,
        ...(again && { again }),
      }),
    );
    for (const [i, back] of (await Promise.allSettled(backs)).entries()) {
      const { assignment_id = '' } = holds[i] ?? {};
      // a storage that does not answer says nothing of what is held
      if (back.status === 'rejected' && back.reason instanceof GatewayError) {
        registry.free(instance, assignment_id);
        release.push(assignment_id);
        continue;
      }
      keep.push(assignment_id);
      if (back.status === 'fulfilled') kept.push(back.value);
    }
    return { keep, release, kept };
  }

  async #notKept(over: readonly (readonly [assignment_id: string, session_id: string])[], old: Instance | undefined): Promise<void> {
    const { sessions, nodeId: node_id } = this.#parts;
    const was = { ...faults.notKept, incarnation: old?.incarnation ?? 0, node_id };
    await Promise.all(over.map(([assignment_id, id]) => sessions.report(id, { type: 'ServiceFailed', assignment_id, ...was })));
  }

  setAvailability(instance: Instance, availability: Availability): void {
    instance.availability = availability;
    if (availability === 'available') void this.#parts.dispatcher.offerWaiting(instance);
    else this.#parts.dispatcher.registry.removeDrained(instance);
  }

  /** Deregisters a service: immediately, or once it serves no session. */
  deregister(instance: Instance, drain: boolean): void {
    if (drain) return this.setAvailability(instance, 'draining');
    this.#parts.dispatcher.registry.deregister(instance);
    // another takes its place
    for (const assignment_id of instance.slots.keys()) askToLeave(instance.link, assignment_id, faults.deregistered.error);
    this.#reportToSessions(instance, (assignment_id) => ({ type: 'ServiceFailed', assignment_id, ...faults.deregistered }));
  }

  /** Deregisters those whose credential nobody can have any more. */
  deregisterStrangers(knows: (subject: string) => boolean): void {
    for (const instance of [...this.#parts.dispatcher.registry.all()])
      if (instance.subject !== undefined && !knows(instance.subject)) this.deregister(instance, false);
  }

  /** The service is out of reach: that is reported to each session it served. `atStop`: it was this gateway that closed its socket. */
  disconnected(instance: Instance, atStop = false): void {
    const { dispatcher, clock, log } = this.#parts;
    // a newer registration has taken its place, and what it held with it
    if (!dispatcher.registry.isCurrent(instance)) return;
    dispatcher.registry.disconnect(instance, clock.now());
    const sessions = instance.slots.size;
    // one that served nobody harms nobody
    log[sessions > 0 && !atStop ? 'warn' : 'info']({ service_id: instance.service_id, sessions }, 'service disconnected');
    const { incarnation } = instance;
    this.#reportToSessions(instance, (assignment_id) => ({ type: 'ServiceGone', assignment_id, incarnation }));
  }

  /** The service answers again, as it was. */
  reconnected(instance: Instance, link: Link): void {
    const { dispatcher, log, nodeId: node_id } = this.#parts;
    instance.link = link;
    instance.forgetAt = Number.POSITIVE_INFINITY;
    log.info({ service_id: instance.service_id }, 'service answers again');
    const { service_id, incarnation, subject } = instance;
    this.#reportToSessions(instance, (assignment_id) => ({
      type: 'ServiceBack',
      assignment_id,
      service_id,
      incarnation,
      node_id,
      subject,
    }));
    void dispatcher.offerWaiting(instance);
  }

  #reportToSessions(instance: Instance, input: (assignment_id: string) => Parameters<Sessions['report']>[1]): void {
    for (const [assignment_id, session_id] of instance.slots) void this.#parts.sessions.report(session_id, input(assignment_id));
  }
}
