import type { Logger } from 'pino';
import { v4 as uuid } from 'uuid';
import type { Wanted } from '../../protocol/fields.ts';
import type { Clock } from '../clock.ts';
import { GatewayError, StorageError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Offer } from '../sessions/inputs.ts';
import type { Found, Offers, Rooms } from '../sessions/ports.ts';
import { isUnreported } from '../sessions/readiness.ts';
import { assignments, identityOf, isEnded, isPending, type Leaving, type Session } from '../sessions/record.ts';
import { inOneTurn } from '../time.ts';
import { Commands } from './commands.ts';
import { hasFreeSlot, type Instance, Registry } from './registry.ts';
import { onRemoteCommit } from './remote.ts';
import { WaitingList } from './waiting.ts';

/** How often services are forgotten that were disconnected for too long: 10 s are little beside those five minutes. */
const sweepMs = 10_000;
/** Sessions that wait for a service and are offered it at the same time. */
const offeredAtOnce = 64;
/** Offers to one service that timed out and may still be answered. */
const maxLapsed = 64;

interface DispatcherParts {
  sessions: Sessions;
  rooms: Rooms;
  clock: Clock;
  log: Logger;
  nodeId: string;
  /** Services that may be registered at once. */
  maxServices: number;
  /** How long other nodes have to offer a service before it is reported that none fits; absent or undefined: there are none. */
  lookMs?: (() => number | undefined) | undefined;
}

/** Who a registered service will be in a room: it has one part in each session. */
const identityFor = ({ service_id }: Instance) => service_id;

const specificity = (want: Wanted) => (typeof want === 'string' ? Number.MAX_SAFE_INTEGER : Object.keys(want).length);

/**
 * Brings sessions and services together: finds services for what waits, takes their slots and frees them. `close` stops its sweep.
 */
export class Dispatcher implements Offers {
  readonly registry: Registry;
  readonly commands: Commands;
  readonly #parts: DispatcherParts;
  readonly #waiting = new WaitingList();
  /** Services that are being offered to those who wait, and whether to look once more after that. */
  readonly #looks = new Map<Instance, boolean>();
  /** Services that somebody who waits could not be offered: the storage did not answer. */
  readonly #missed = new WeakSet<Instance>();
  readonly #stop: () => void;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.registry = new Registry({ max: parts.maxServices, firstIncarnation: parts.clock.now(), log: parts.log });
    this.commands = new Commands({ ...parts, registry: this.registry });
    this.#stop = parts.clock.every(sweepMs, () => this.registry.sweep(parts.clock.now()));
    parts.sessions.onCommit((commit) => {
      this.#waiting.update(commit.session);
      if (commit.remote) onRemoteCommit(commit, { offers: this, nodeId: parts.nodeId, log: parts.log });
    });
  }

  close(): void {
    this.#stop();
  }

  /** Every registered service that can be reached. */
  registered(): string[] {
    return [...this.registry.all()].filter((i) => i.link).map((i) => i.service_id);
  }

  /** How many sessions wait for some service. */
  get waiting(): number {
    return this.#waiting.size;
  }

  available(): string[] {
    return [...this.registry.all()].filter(hasFreeSlot).map((i) => i.service_id);
  }

  reserve(session: Session): Found | undefined {
    if (isEnded(session) || !session.requirements.some(isPending)) return undefined;
    const offers: Offer[] = [];
    const busy: number[] = [];
    const unfit: number[] = [];
    // LiveKit disconnects the first holder of an identity: neither the user's nor one already there
    const taken = new Set([session.user_identity, ...[...assignments(session), ...session.leaving].map(identityOf)]);
    // the most specific first, so that nobody takes the one service another can have
    const pending = [...session.requirements.entries()].filter(([, requirement]) => isPending(requirement));
    for (const [index, requirement] of pending.sort(([, a], [, b]) => specificity(b.want) - specificity(a.want))) {
      const isFree = (instance: Instance) => !taken.has(identityFor(instance));
      const fits = (instance: Instance) => isFree(instance) && requirement.rests[instance.service_id]?.until === undefined;
      const instance = this.registry.find(requirement.want, fits);
      if (!instance?.link) {
        if (this.registry.has(requirement.want, isFree)) {
          if (!requirement.known || isUnreported(requirement, 'not_ready')) busy.push(index);
        } else if (isUnreported(requirement, 'never_registered')) unfit.push(index);
        continue;
      }
      const assignment_id = uuid();
      this.registry.take(instance, assignment_id, session.session_id);
      instance.offeredAt = this.#parts.clock.now();
      const identity = identityFor(instance);
      taken.add(identity);
      const { service_id, subject, incarnation, link } = instance;
      offers.push({ requirement: index, assignment_id, service_id, identity, subject, incarnation, offerMs: link.offerMs });
    }
    const { nodeId: node_id } = this.#parts;
    const lookMs = this.#parts.lookMs?.();
    const isWaited = unfit.length > 0 && (lookMs === undefined || session.deadlines.look === undefined);
    if (offers.length === 0 && busy.length === 0 && !isWaited) return undefined;
    return { type: 'Dispatched', offers, busy, unfit, node_id, ...(lookMs !== undefined && { lookMs }) };
  }

  async dispatch(session: Session): Promise<void> {
    const found = this.reserve(session);
    if (!found) return;
    try {
      await this.#parts.sessions.apply(session.session_id, found);
    } catch (error) {
      for (const offer of found.offers) this.release(session.session_id, offer);
      throw error;
    }
  }

  release(sessionId: string, assignment: Leaving, isLapsed = false): void {
    this.commands.abort(assignment.assignment_id);
    const instance = this.registry.holding(assignment);
    if (!instance) return;
    const wasFull = instance.slots.size >= instance.maxSessions;
    this.registry.free(instance, assignment.assignment_id);
    if (isLapsed) remember(instance.lapsed, assignment.assignment_id, sessionId);
    if (this.registry.removeDrained(instance)) return;
    if (wasFull || this.#missed.delete(instance)) void this.offerWaiting(instance);
    // a free slot was there for the others all the time; what has the service, or leaves it, is not offered it again
    else if (this.#waiting.has(sessionId)) void this.#dispatchWaiting(sessionId);
  }

  /**
   * Takes the slot of the last such offer again that timed out.
   * @returns the offer; undefined: there is none, or its slot is taken
   */
  reclaim(
    instance: Instance,
    which: { session_id?: string | undefined; assignment_id?: string | undefined },
  ): { session_id: string; assignment_id: string } | undefined {
    const { link, slots, lapsed, maxSessions } = instance;
    if (!link || slots.size >= maxSessions) return undefined;
    for (const [assignment_id, session_id] of [...lapsed].reverse()) {
      if ((which.assignment_id ?? assignment_id) !== assignment_id || (which.session_id ?? session_id) !== session_id) continue;
      lapsed.delete(assignment_id);
      this.registry.take(instance, assignment_id, session_id);
      return { session_id, assignment_id };
    }
    return undefined;
  }

  /**
   * Offers a service to those who wait for what it is, the longest waiting first. One look at a time: whatever asks for it meanwhile
   * is one more look. Cannot reject.
   */
  async offerWaiting(instance: Instance): Promise<void> {
    if (this.#looks.has(instance)) return void this.#looks.set(instance, true);
    do {
      this.#looks.set(instance, false);
      await this.#look(instance);
    } while (this.#looks.get(instance));
    this.#looks.delete(instance);
  }

  async #look(instance: Instance): Promise<void> {
    const waiting = this.#waiting.for(instance);
    let inThisTurn = 0;
    while (hasFreeSlot(instance)) {
      // some at once: each waits for a commit
      const next: string[] = [];
      for (const free = instance.maxSessions - instance.slots.size; next.length < Math.min(free, offeredAtOnce); ) {
        const { value } = waiting.next();
        if (value === undefined) break;
        next.push(value);
      }
      if (next.length === 0) return;
      const isDone = await Promise.all(next.map((sessionId) => this.#dispatchWaiting(sessionId)));
      if (isDone.includes(false)) this.#missed.add(instance);
      inThisTurn += next.length;
      if (inThisTurn < inOneTurn) continue;
      // a storage in memory answers within the turn: what comes meanwhile is heard
      await new Promise((turn) => setImmediate(turn));
      inThisTurn = 0;
    }
  }

  async #dispatchWaiting(sessionId: string): Promise<boolean> {
    try {
      await this.dispatch(await this.#parts.sessions.get(sessionId));
      return true;
    } catch (err) {
      const level = err instanceof StorageError ? 'debug' : 'warn';
      this.#parts.log[level]({ err, session_id: sessionId }, 'waiting session could not be offered');
      return false;
    }
  }

  /** @throws GatewayError SERVICE_NOT_FOUND */
  get(service_id: string): Instance {
    const instance = this.registry.get(service_id);
    if (!instance) throw new GatewayError('SERVICE_NOT_FOUND', `No service is registered as ${service_id}`);
    return instance;
  }
}

/** Keeps the newest: a session has a minute, and a service answers late only for a while. */
function remember(lapsed: Map<string, string>, assignment_id: string, session_id: string): void {
  lapsed.set(assignment_id, session_id);
  for (const oldest of lapsed.keys()) {
    if (lapsed.size <= maxLapsed) return;
    lapsed.delete(oldest);
  }
}
