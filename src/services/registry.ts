import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import type { Wanted } from '../../protocol/fields.ts';
import type { Availability } from '../../protocol/states.ts';
import { GatewayError } from '../errors.ts';
import { type Endpoint, isSameEndpoint, type Link } from './links.ts';
import { MetadataIndex } from './metadata-index.ts';

/** One registration of a service. */
export interface Instance {
  /** Larger than those of all registrations before it. */
  readonly id: string;
  readonly service_id: string;
  /** Where it stands in a list: the id of the first registration that those of its service id have followed without a break. */
  readonly listKey: string;
  instance_id: string | undefined;
  /** Whose credential registered it; absent where nothing authenticates. */
  readonly subject: string | undefined;
  /** Grows with each registration, over all services. */
  incarnation: number;
  /** Where it is called; absent: it has connected. */
  endpoint: Endpoint | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  maxSessions: number;
  registeredAt: number;
  availability: Availability;
  /** How it is reached; absent: disconnected. */
  link: Link | undefined;
  /** Slots taken: assignment id to session id. Changed by the registry alone. */
  readonly slots: ReadonlyMap<string, string>;
  /** The last offers that it did not answer in time: assignment id to session id. */
  lapsed: Map<string, string>;
  /** When it was last offered something: among equals the longest idle is asked first. */
  offeredAt: number;
  /** Probes in a row that found nobody. */
  failedProbes: number;
  /** Disconnected: when it is forgotten, epoch ms. */
  forgetAt: number;
}

/** What a service says of itself when it registers. */
export interface RegistrationRequest {
  service_id: string;
  instance_id?: string | undefined;
  subject?: string | undefined;
  metadata: Record<string, string>;
  max_sessions?: number | undefined;
}

/**
 * How long a disconnected service stays known. It keeps its id and its place in lists, and at its endpoint it is asked whether it is back: an HTTP
 * service registers once. 5 min is what a restart takes, also of its machine.
 */
const forgetMs = 300_000;

const isLighter = (one: Instance, other: Instance) =>
  one.slots.size < other.slots.size || (one.slots.size === other.slots.size && one.offeredAt < other.offeredAt);

/** Whether it would take one more session. */
export const hasFreeSlot = (instance: Instance) =>
  instance.link !== undefined && instance.availability === 'available' && instance.slots.size < instance.maxSessions;

export function matches(instance: Pick<Instance, 'service_id' | 'metadata'>, want: Wanted): boolean {
  if (typeof want === 'string') return instance.service_id === want;
  // a list of entries would cost more than the look at them
  for (const key in want) if (instance.metadata[key] !== want[key]) return false;
  return true;
}

interface RegistryParts {
  /** Service ids that are registered at once, those that cannot be reached included. */
  max: number;
  /** Larger than any that an earlier run of the gateway gave. */
  firstIncarnation: number;
  log: Logger;
}

/** The registrations this node knows, each by its own id. A service id has one at a time. */
export class Registry {
  readonly #byId = new Map<string, Instance>();
  /** In the order of their list keys: one that replaces another keeps its key. */
  readonly #byServiceId = new Map<string, Instance>();
  readonly #byMetadata = new MetadataIndex<Instance>();
  /** The slots of registrations, also of those that were replaced or removed: their sockets may still report. */
  readonly #slots = new WeakMap<Instance, Map<string, string>>();
  readonly #max: number;
  readonly #log: Logger;
  #incarnations: number;

  constructor({ max, firstIncarnation, log }: RegistryParts) {
    this.#max = max;
    this.#incarnations = firstIncarnation;
    this.#log = log;
  }

  get(service_id: string): Instance | undefined {
    return this.#byServiceId.get(service_id);
  }

  /** The registration that a record binds an assignment to, while it is there. */
  boundTo({ service_id, incarnation }: Pick<Instance, 'service_id' | 'incarnation'>): Instance | undefined {
    const instance = this.get(service_id);
    return instance?.incarnation === incarnation ? instance : undefined;
  }

  /** The registration of a service in which it holds an assignment. A record may not know yet that this is a new one. */
  holding({ service_id, assignment_id }: { service_id: string; assignment_id: string }): Instance | undefined {
    const instance = this.get(service_id);
    return instance?.slots.has(assignment_id) ? instance : undefined;
  }

  all(): Iterable<Instance> {
    return this.#byServiceId.values();
  }

  /** Takes a slot of a registration for an assignment, whether there is a free one or not. */
  take(instance: Instance, assignment_id: string, session_id: string): void {
    this.#slots.get(instance)?.set(assignment_id, session_id);
  }

  /** Frees the slot of an assignment; without one, all. @returns whether it was taken */
  free(instance: Instance, assignment_id?: string): boolean {
    const slots = this.#slots.get(instance);
    if (!slots) return false;
    if (assignment_id !== undefined) return slots.delete(assignment_id);
    const wasTaken = slots.size > 0;
    slots.clear();
    return wasTaken;
  }

  /** At most `limit` of those that fit and come after a list key, in their order. */
  after(listKey: string | undefined, limit: number, fits: (instance: Instance) => boolean): Instance[] {
    const found: Instance[] = [];
    for (const instance of this.#byServiceId.values()) {
      if (found.length === limit) break;
      if ((listKey === undefined || instance.listKey > listKey) && fits(instance)) found.push(instance);
    }
    return found;
  }

  /**
   * Puts a service on a link. The same instance, one at the same endpoint, or any after the old one was disconnected, takes the old
   * registration's place.
   * @returns the registration, and the one it replaced
   * @throws GatewayError FORBIDDEN it is another's, SERVICE_ID_EXISTS, TOO_MANY_SERVICES
   */
  register(
    request: RegistrationRequest,
    link: Link,
    mayReplace: (old: Instance) => boolean,
    now: number,
  ): { instance: Instance; old: Instance | undefined } {
    const old = this.get(request.service_id);
    if (old && old.subject !== request.subject) throw new GatewayError('FORBIDDEN', 'service_id: was registered with another credential');
    const sameInstance = request.instance_id !== undefined && request.instance_id === old?.instance_id;
    if (old?.link && !sameInstance && !isSameEndpoint(link.endpoint, old.endpoint) && !mayReplace(old))
      throw new GatewayError(
        'SERVICE_ID_EXISTS',
        'Service ID already exists: another process holds this service_id; give each process its own id and ask for services by metadata, or send its instance_id if it is the same service',
      );
    if (!old && this.#byId.size >= this.#max)
      throw new GatewayError('TOO_MANY_SERVICES', `This node has reached its limit of ${this.#max} services`);
    const id = uuid();
    const slots = new Map<string, string>();
    const instance: Instance = {
      id,
      listKey: old?.listKey ?? id,
      service_id: request.service_id,
      instance_id: request.instance_id,
      subject: request.subject,
      incarnation: ++this.#incarnations,
      endpoint: link.endpoint,
      metadata: request.metadata,
      maxSessions: request.max_sessions ?? Number.POSITIVE_INFINITY,
      registeredAt: now,
      availability: 'available',
      link,
      slots,
      lapsed: new Map(),
      offeredAt: 0,
      failedProbes: 0,
      forgetAt: Number.POSITIVE_INFINITY,
    };
    if (old) this.#forget(old);
    this.#byId.set(id, instance);
    this.#slots.set(instance, slots);
    this.#byServiceId.set(instance.service_id, instance);
    this.#byMetadata.add(instance);
    return { instance, old };
  }

  /** The service cannot be reached. It stays known for five minutes. */
  disconnect(instance: Instance, now: number): void {
    instance.link = undefined;
    instance.forgetAt = now + forgetMs;
  }

  /** Whether no newer registration has taken its place. */
  isCurrent(instance: Instance): boolean {
    return this.#byId.has(instance.id);
  }

  deregister(instance: Instance): void {
    this.#remove(instance);
    this.#log.info({ service_id: instance.service_id }, 'service deregistered');
  }

  /** Deregisters a service that takes nothing new and serves nothing. @returns whether it is one */
  removeDrained(instance: Instance): boolean {
    const isDrained = instance.availability === 'draining' && instance.slots.size === 0;
    if (isDrained) this.deregister(instance);
    return isDrained;
  }

  #remove(instance: Instance): void {
    if (!this.isCurrent(instance)) return;
    this.#forget(instance);
    this.#byServiceId.delete(instance.service_id);
  }

  #forget(instance: Instance): void {
    this.#byId.delete(instance.id);
    this.#byMetadata.remove(instance);
  }

  /** Drops registrations whose time is over. */
  sweep(now: number): void {
    for (const instance of this.#byId.values()) if (now >= instance.forgetAt) this.#remove(instance);
  }

  /** Whether a service that can be reached is what is wanted, busy or not. */
  has(want: Wanted, fits: (instance: Instance) => boolean): boolean {
    for (const instance of this.#candidates(want)) if (instance.link && matches(instance, want) && fits(instance)) return true;
    return false;
  }

  #candidates(want: Wanted): Iterable<Instance> {
    if (typeof want !== 'string') return this.#byMetadata.candidates(want);
    const known = this.get(want);
    return known ? [known] : [];
  }

  /** The least loaded service that fits and has a free slot; among equals the longest idle. */
  find(want: Wanted, fits: (instance: Instance) => boolean): Instance | undefined {
    let best: Instance | undefined;
    for (const instance of this.#candidates(want)) {
      // what costs least first: most of many candidates are no lighter than the best so far
      if (best && !isLighter(instance, best)) continue;
      if (hasFreeSlot(instance) && matches(instance, want) && fits(instance)) best = instance;
    }
    return best;
  }
}
