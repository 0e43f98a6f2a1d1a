import type { Command } from '../../protocol/events.ts';
import type { Request } from '../../protocol/requests.ts';
import { GatewayError } from '../sessions/errors.ts';

/** Where a service is reached; a socket, as the registry sees it. */
export interface ServicePeer {
  /** Queues a command; false: it cannot be sent any more. */
  send(command: Command): boolean;
}

/** One registration of a service. */
export interface Instance {
  service_id: string;
  instance_id: string | undefined;
  /** Grows with each registration, over all services. */
  incarnation: number;
  metadata: Record<string, string>;
  maxSessions: number;
  /** Absent: disconnected. */
  peer: ServicePeer | undefined;
  /** Slots taken: assignment id to session id. */
  slots: Map<string, string>;
  /** Disconnected: when it is forgotten, epoch ms. */
  forgetAt: number;
}

const forgetMs = 300_000;

/** The services this node knows, by id: one registration each. */
export class Registry {
  readonly #byId = new Map<string, Instance>();
  #incarnations: number;

  /** `firstIncarnation`: larger than any an earlier run of the gateway gave. */
  constructor(firstIncarnation: number) {
    this.#incarnations = firstIncarnation;
  }

  get(service_id: string): Instance | undefined {
    return this.#byId.get(service_id);
  }

  all(): Iterable<Instance> {
    return this.#byId.values();
  }

  /**
   * Puts a service on a peer. The same instance, or any after the old one's socket has gone, takes the old registration's place.
   * @returns the registration, and the one it replaced
   * @throws GatewayError SERVICE_ID_EXISTS
   */
  register(
    wish: Pick<Request<'RegisterServiceRequest'>, 'service_id' | 'instance_id' | 'metadata' | 'max_sessions'>,
    peer: ServicePeer,
  ): { instance: Instance; old: Instance | undefined } {
    const old = this.#byId.get(wish.service_id);
    const sameInstance = wish.instance_id !== undefined && wish.instance_id === old?.instance_id;
    if (old?.peer && old.peer !== peer && !sameInstance) throw new GatewayError('SERVICE_ID_EXISTS', 'Service ID already exists');
    const instance: Instance = {
      service_id: wish.service_id,
      instance_id: wish.instance_id,
      incarnation: ++this.#incarnations,
      metadata: wish.metadata,
      maxSessions: wish.max_sessions ?? Number.POSITIVE_INFINITY,
      peer,
      slots: new Map(),
      forgetAt: Number.POSITIVE_INFINITY,
    };
    this.#byId.set(wish.service_id, instance);
    return { instance, old };
  }

  /** The service's socket has gone. It stays known for five minutes. */
  disconnect(instance: Instance, now: number): void {
    instance.peer = undefined;
    instance.forgetAt = now + forgetMs;
  }

  /** Drops registrations whose time is over. */
  sweep(now: number): void {
    for (const [id, instance] of this.#byId) if (now >= instance.forgetAt) this.#byId.delete(id);
  }

  /** Takes a slot if one is free. */
  take(instance: Instance, assignment_id: string, session_id: string): boolean {
    if (!instance.peer || instance.slots.size >= instance.maxSessions) return false;
    instance.slots.set(assignment_id, session_id);
    return true;
  }
}
