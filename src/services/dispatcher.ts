import type { Logger } from 'pino';
import { v4 as uuid } from 'uuid';
import type { Command } from '../../protocol/events.ts';
import type { Wanted } from '../../protocol/fields.ts';
import type { Availability } from '../../protocol/states.ts';
import type { Clock } from '../clock.ts';
import { GatewayError, StorageError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Offer } from '../sessions/inputs.ts';
import type { Commit, Found, Offers, Rooms } from '../sessions/ports.ts';
import { faults, isUnreported } from '../sessions/readiness.ts';
import { type Assignment, assignments, isEnded, isPending, type Leaving, labelOf, type Session } from '../sessions/record.ts';
import { inOneTurn, iso } from '../time.ts';
import { isSameEndpoint, type Link } from './links.ts';
import { hasFreeSlot, type Instance, Registry, type Wish } from './registry.ts';
import { WaitingList } from './waiting.ts';

const sweepMs = 10_000;
const leaveMs = 3_000;
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
  /** How long other nodes have to offer a service before it is reported that none fits; absent or undefined: there are none. */
  lookMs?: (() => number | undefined) | undefined;
}

const specificity = (want: Wanted) => (typeof want === 'string' ? Number.MAX_SAFE_INTEGER : Object.keys(want).length);

/**
 * Brings sessions and services together: finds services for what waits, takes their slots, sends offers over their links,
 * and tells sessions what became of their services. `close` stops its sweep.
 */
export class Dispatcher implements Offers {
  readonly registry: Registry;
  readonly #parts: DispatcherParts;
  readonly #waiting = new WaitingList();
  /** Services that are being offered to those who wait, and whether to look once more after that. */
  readonly #looks = new Map<Instance, boolean>();
  /** Services that somebody who waits could not be offered: the storage did not answer. */
  readonly #missed = new WeakSet<Instance>();
  readonly #stop: () => void;
  /** Aborts the calls that offer something, by assignment; over a socket there are none. */
  readonly #calls = new Map<string, AbortController>();

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.registry = new Registry(parts.clock.now());
    this.#stop = parts.clock.every(sweepMs, () => this.registry.sweep(parts.clock.now()));
    parts.sessions.onCommit((commit) => {
      this.#waiting.update(commit.session);
      if (commit.remote) this.#onRemoteCommit(commit);
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
    // LiveKit throws out the first holder of an identity: neither the user's nor one already there
    const taken = new Set([session.user_identity, ...[...assignments(session), ...session.leaving].map((a) => a.service_id)]);
    // the most specific first, so that nobody takes the one service another can have
    const pending = [...session.requirements.entries()].filter(([, requirement]) => isPending(requirement));
    for (const [place, requirement] of pending.sort(([, a], [, b]) => specificity(b.want) - specificity(a.want))) {
      const fits = ({ service_id }: Instance) => !taken.has(service_id) && requirement.rests[service_id]?.until === undefined;
      const instance = this.registry.find(requirement.want, fits);
      if (!instance?.link) {
        if (this.registry.has(requirement.want, ({ service_id }) => !taken.has(service_id))) {
          if (!requirement.known || isUnreported(requirement, 'not_ready')) busy.push(place);
        } else if (isUnreported(requirement, 'never_registered')) unfit.push(place);
        continue;
      }
      const assignment_id = uuid();
      instance.slots.set(assignment_id, session.session_id);
      instance.offeredAt = this.#parts.clock.now();
      taken.add(instance.service_id);
      const { service_id, incarnation, link } = instance;
      offers.push({ requirement: place, assignment_id, service_id, incarnation, offerMs: link.offerMs });
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

  async offer(session: Session, assignment: Assignment): Promise<void> {
    const { rooms, clock, sessions, log } = this.#parts;
    if (!session.room) return;
    const { assignment_id, service_id } = assignment;
    const access_token = await rooms.serviceToken(session, service_id);
    const requirement = session.requirements.find((r) => r.assignment?.assignment_id === assignment_id);
    const mustBeReadyBy = requirement?.replace_by ?? session.deadlines.join ?? clock.now() + session.join_timeout_ms;
    const link = this.#linkOf(assignment);
    const call = link && !link.saysLeft ? new AbortController() : undefined;
    if (call) this.#calls.set(assignment_id, call);
    const command: Command<'JoinRoomRequest'> = {
      type: 'JoinRoomRequest',
      assignment_id,
      attempt: assignment.attempt,
      session_id: session.session_id,
      room_name: labelOf(session.room),
      livekit_room: session.room.name,
      service_identity: service_id,
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
      await sessions.apply(session.session_id, { type: 'Accepted', assignment_id }).catch(() => this.#tellToLeave(link, assignment_id));
    if (delivery?.outcome === 'accepted' || delivery?.outcome === 'sent') {
      // what it was told before the offer it could not know what to do with; its client may have gone or come since
      const now = session.resume && (await sessions.get(session.session_id));
      if (now?.link === 'away' && !isEnded(now)) link?.send(presenceOf(now));
      return;
    }
    const { outcome: _, detail, ...refusal } = delivery ?? { outcome: '', detail: undefined, ...faults.disconnected };
    log.warn(
      { session_id: session.session_id, service_id, detail: detail ?? refusal.error },
      'service refused or did not answer the offer',
    );
    await sessions.report(session.session_id, { type: 'Declined', assignment_id, ...refusal });
  }

  leave(sessionId: string, assignment: Leaving, reason: string): void {
    // the node that reaches the service sees the same record and tells it
    if (assignment.node_id !== undefined && assignment.node_id !== this.#parts.nodeId) return;
    this.#calls.get(assignment.assignment_id)?.abort();
    const link = this.#linkOf(assignment);
    link?.send({ type: 'LeaveRoomRequest', assignment_id: assignment.assignment_id, reason, deadline_ms: leaveMs });
    // nobody will say ServiceLeft
    if (!link?.saysLeft)
      void this.#parts.sessions.report(sessionId, { type: 'ServiceLeft', assignment_id: assignment.assignment_id, clean: true });
  }

  presence(session: Session): void {
    for (const assignment of assignments(session)) {
      // the node that reaches the service sees the same record and tells it; who has not been offered it yet is told then
      if (assignment.node_id === undefined || assignment.node_id === this.#parts.nodeId)
        this.#linkOf(assignment)?.send(presenceOf(session));
    }
  }

  /** Tells a service that is back how the clients stand of what it kept: that may have changed while it was away. */
  resendPresence({ link }: Instance, kept: readonly Session[]): void {
    for (const session of kept) if (session.resume && !isEnded(session)) link?.send(presenceOf(session));
  }

  release(sessionId: string, assignment: Leaving, isLapsed = false): void {
    this.#calls.get(assignment.assignment_id)?.abort();
    const instance = this.registry.get(assignment.service_id);
    const wasFull = instance !== undefined && instance.slots.size >= instance.maxSessions;
    if (!instance?.slots.delete(assignment.assignment_id)) return;
    if (isLapsed) remember(instance.lapsed, assignment.assignment_id, sessionId);
    if (instance.availability === 'draining' && instance.slots.size === 0) this.#deregister(instance);
    else if (wasFull || this.#missed.delete(instance)) void this.offerWaiting(instance);
    // a free slot was there for the others all the time; what has the service, or leaves it, is not offered it again
    else if (this.#waiting.has(sessionId)) void this.#dispatchWaiting(sessionId);
  }

  /**
   * Takes the slot of the last such offer again that timed out.
   * @returns the offer; undefined: there is none, or its slot is taken
   */
  reclaim(
    { link, slots, lapsed, maxSessions }: Instance,
    which: { session_id?: string | undefined; assignment_id?: string | undefined },
  ): { session_id: string; assignment_id: string } | undefined {
    if (!link || slots.size >= maxSessions) return undefined;
    for (const [assignment_id, session_id] of [...lapsed].reverse()) {
      if ((which.assignment_id ?? assignment_id) !== assignment_id || (which.session_id ?? session_id) !== session_id) continue;
      lapsed.delete(assignment_id);
      slots.set(assignment_id, session_id);
      return { session_id, assignment_id };
    }
    return undefined;
  }

  /** Another node changed a session: what that means to the services reached from here, and to those that wait here for work. */
  #onRemoteCommit({ before, session }: Commit): void {
    const id = session.session_id;
    if (before && (before.link === 'away') !== (session.link === 'away') && !isEnded(session)) this.presence(session);
    const reason = session.ended?.reason ?? 'the session goes on without it';
    const active = new Map(assignments(session).map((a) => [a.assignment_id, a.node_id]));
    const leaving = new Set(session.leaving.map((a) => a.assignment_id));
    const known = before ? [...assignments(before), ...before.leaving] : [];
    for (const assignment of known) {
      const { assignment_id, node_id } = assignment;
      if (node_id !== this.#parts.nodeId) continue;
      // it moved to another node together with its service: the slot here is free
      if (active.get(assignment_id) !== undefined && active.get(assignment_id) !== node_id) this.release(id, assignment);
      if (active.has(assignment_id)) continue;
      const wasLeaving = before?.leaving.some((a) => a.assignment_id === assignment_id) === true;
      if (!wasLeaving) this.leave(id, assignment, reason);
      if (!leaving.has(assignment_id)) this.release(id, assignment);
    }
    if (session.requirements.some(isPending)) void this.#dispatchRemote(session);
  }

  /** Cannot reject. */
  async #dispatchRemote(session: Session): Promise<void> {
    try {
      if (session.status !== 'Creating') await this.dispatch(session);
    } catch (err) {
      this.#parts.log.debug({ err, session_id: session.session_id }, 'another node was faster');
    }
  }

  /**
   * Registers a service and settles what it held before its connection broke.
   * @returns the registration, what it may go on with (and of which sessions), and what is over
   * @throws GatewayError SERVICE_ID_EXISTS
   */
  async register(wish: Wish, link: Link, held: readonly { session_id: string; assignment_id: string }[] = [], own?: Instance) {
    const { sessions, log, clock } = this.#parts;
    let registered: ReturnType<Registry['register']>;
    try {
      registered = this.registry.register(wish, link, (old) => old === own, clock.now());
    } catch (error) {
      log.warn(
        { service_id: wish.service_id },
        'service id is held by another process: give each its own id and ask for services by metadata, or keep one instance_id over restarts',
      );
      throw error;
    }
    const { instance, old } = registered;
    const before = [...(old?.slots ?? [])];
    // what the old registration held is decided here: its socket speaks for nothing any more
    old?.slots.clear();
    if (old !== own) old?.link?.replaced();
    log.info(
      { service_id: instance.service_id, endpoint: instance.endpoint?.url, incarnation: instance.incarnation, again: old !== undefined },
      'service registered',
    );
    const keep: string[] = [];
    const kept: Session[] = [];
    const release: string[] = [];
    // over HTTP nothing broke: an instance that says again where it is goes on
    const again = isSameEndpoint(instance.endpoint, old?.endpoint) && wish.instance_id === old?.instance_id;
    if (again && old) instance.lapsed = old.lapsed;
    const holds = again ? before.map(([assignment_id, session_id]) => ({ session_id, assignment_id })) : held;
    // the slots first: what the service says it holds, it holds, and nobody else may take
    for (const { session_id, assignment_id } of holds) instance.slots.set(assignment_id, session_id);
    const { service_id, incarnation } = instance;
    const { nodeId: node_id } = this.#parts;
    const backs = holds.map(({ session_id, assignment_id }) =>
      sessions.apply(session_id, { type: 'ServiceBack', assignment_id, service_id, incarnation, node_id, ...(again && { again }) }),
    );
    for (const [i, back] of (await Promise.allSettled(backs)).entries()) {
      const { assignment_id = '' } = holds[i] ?? {};
      // a storage that does not answer says nothing of what is held
      if (back.status === 'rejected' && back.reason instanceof GatewayError) {
        instance.slots.delete(assignment_id);
        release.push(assignment_id);
        continue;
      }
      keep.push(assignment_id);
      if (back.status === 'fulfilled') kept.push(back.value);
    }
    const over = before.filter(([assignment_id]) => !keep.includes(assignment_id));
    const was = { ...faults.notKept, incarnation: old?.incarnation ?? 0, node_id };
    await Promise.all(over.map(([assignment_id, id]) => sessions.report(id, { type: 'ServiceFailed', assignment_id, ...was })));
    // over a socket its answer comes first
    if (instance.endpoint) this.resendPresence(instance, kept);
    return { instance, keep, release, kept };
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

  setAvailability(instance: Instance, availability: Availability): void {
    instance.availability = availability;
    if (availability === 'available') void this.offerWaiting(instance);
    else if (availability === 'draining' && instance.slots.size === 0) this.#deregister(instance);
  }

  /** Takes a registration back: at once, or once it serves nothing any more. */
  deregister(instance: Instance, drain: boolean): void {
    if (drain) return this.setAvailability(instance, 'draining');
    this.#deregister(instance);
    // another takes its place
    for (const assignment_id of instance.slots.keys()) this.#tellToLeave(instance.link, assignment_id, faults.deregistered.error);
    this.#tellSessions(instance, (assignment_id) => ({ type: 'ServiceFailed', assignment_id, ...faults.deregistered }));
  }

  /** The service is out of reach: each session it served is notified. `atStop`: it was this gateway that closed its socket. */
  disconnected(instance: Instance, atStop = false): void {
    // a newer registration has taken its place, and what it held with it
    if (!this.isCurrent(instance)) return;
    this.registry.disconnect(instance, this.#parts.clock.now());
    const sessions = instance.slots.size;
    // one that served nobody harms nobody
    this.#parts.log[sessions > 0 && !atStop ? 'warn' : 'info']({ service_id: instance.service_id, sessions }, 'service disconnected');
    const { incarnation } = instance;
    this.#tellSessions(instance, (assignment_id) => ({ type: 'ServiceGone', assignment_id, incarnation }));
  }

  /** The service answers again, as it was. */
  reconnected(instance: Instance, link: Link): void {
    instance.link = link;
    instance.forgetAt = Number.POSITIVE_INFINITY;
    this.#parts.log.info({ service_id: instance.service_id }, 'service answers again');
    const { service_id, incarnation } = instance;
    this.#tellSessions(instance, (assignment_id) => ({
      type: 'ServiceBack',
      assignment_id,
      service_id,
      incarnation,
      node_id: this.#parts.nodeId,
    }));
    void this.offerWaiting(instance);
  }

  /** @throws GatewayError SERVICE_NOT_FOUND */
  get(service_id: string): Instance {
    const instance = this.registry.get(service_id);
    if (!instance) throw new GatewayError('SERVICE_NOT_FOUND', `No service is registered as ${service_id}`);
    return instance;
  }

  /** Whether no newer registration has taken its place. */
  isCurrent(instance: Instance): boolean {
    return this.registry.get(instance.service_id) === instance;
  }

  /** The session in which this registration holds the assignment. */
  sessionOf(instance: Instance, assignment_id: string): string | undefined {
    return instance.slots.get(assignment_id);
  }

  #tellSessions(instance: Instance, input: (assignment_id: string) => Parameters<Sessions['report']>[1]): void {
    for (const [assignment_id, session_id] of instance.slots) void this.#parts.sessions.report(session_id, input(assignment_id));
  }

  #deregister(instance: Instance): void {
    this.registry.remove(instance);
    this.#parts.log.info({ service_id: instance.service_id }, 'service deregistered');
  }

  #tellToLeave(link: Link | undefined, assignment_id: string, reason = 'the offer is over'): void {
    link?.send({ type: 'LeaveRoomRequest', assignment_id, reason, deadline_ms: 0 });
  }

  #linkOf({ service_id, incarnation }: Pick<Leaving, 'service_id' | 'incarnation'>): Link | undefined {
    const instance = this.registry.get(service_id);
    return instance?.incarnation === incarnation ? instance.link : undefined;
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

const presenceOf = ({ session_id, link, deadlines }: Session): Command<'ClientPresence'> => ({
  type: 'ClientPresence',
  session_id,
  status: link === 'away' ? 'away' : 'connected',
  ...(deadlines.resume !== undefined && { resume_deadline: iso(deadlines.resume) }),
});
