import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { LogEvent } from '../../protocol/events.ts';
import type { Clock } from '../clock.ts';
import { GatewayError, StorageError } from '../errors.ts';
import { copySession } from './copy.ts';
import { create, type Spec } from './create.ts';
import type { Effect } from './draft.ts';
import { Effects } from './effects.ts';
import { roomNameInUse } from './errors.ts';
import { type Decision, type Input, next, type Offer, type Timeouts } from './machine.ts';
import { note } from './notes.ts';
import { ClaimTaken, type Offers, type Rooms, type SessionStore, VersionConflict } from './ports.ts';
import { assignments, isEnded, isPending, type Session } from './record.ts';

/** Each conflict is somebody else's success: so many may write to one session at once. */
const maxConflicts = 1_000;
const sweepMs = 200;
const sweepBatch = 1_000;

const isNews = ({ type }: Input) =>
  type === 'End' || type === 'Detached' || type === 'ServiceGone' || type === 'ServiceLeft' || type === 'ServiceFailed';

/** What happens to a session, or how to find out for the record as it is at each try; undefined: nothing. */
type Happening = Input | ((session: Session) => Promise<Input | undefined>);

/** Something that is to happen to a session, and whoever waits for it. */
interface Waiting<H extends Happening = Happening> {
  input: H;
  done(session: Session): void;
  failed(error: unknown): void;
}

/** What one commit does to a session: all that one or several inputs do. */
interface Change {
  /** The version it is decided on; 0: there is no record yet. */
  expected: number;
  session: Session;
  events: LogEvent[];
  effects: Effect[];
}

export interface SessionsParts {
  store: SessionStore;
  rooms: Rooms;
  clock: Clock;
  log: Logger;
  /** Takes the line of each session that is created, is ready, has ended; default: `log`. */
  sessionLog?: Logger;
  timeouts: Timeouts;
}

/**
 * The sessions: takes inputs, commits what the machine decides, carries out its effects and finds deadlines.
 * `close` stops the sweep; effects under way end by themselves.
 */
export class Sessions {
  readonly #parts: SessionsParts;
  readonly #watchers: ((session: Session) => void)[] = [];
  #offers: Offers | undefined;
  #effects: Effects | undefined;
  #stopSweep: (() => void) | undefined;
  #sweeping = false;
  /** What the ids of this process's commits begin with. Short, so that an id is one string and not a pair that is joined when it is read. */
  readonly #ownCommits = randomBytes(5).toString('base64url');
  #commits = 0;
  /** Commits of this node that are being written. */
  readonly #writing = new Set<string>();
  #lastSeen: (id: string) => Session | undefined = () => undefined;
  /** What is to happen to each session, in order. */
  readonly #queues = new Map<string, Waiting<Input>[]>();
  /** Those to which something happened first during this turn of the event loop. */
  #begun: string[] = [];
  /** News that the storage could not take. */
  readonly #unsaid = new Map<string, { id: string; input: Input }>();

  constructor(parts: SessionsParts) {
    this.#parts = parts;
  }

  /** Begins to carry out offers and deadlines. The services and the sessions need each other, so one of them comes second. */
  start(offers: Offers): void {
    const { store, rooms, log } = this.#parts;
    this.#offers = offers;
    this.#effects = new Effects({ store, rooms, offers, log, tell: (id, input) => this.tell(id, input) });
    this.#stopSweep = this.#parts.clock.every(sweepMs, () => void this.#sweep());
  }

  close(): void {
    this.#stopSweep?.();
  }

  /** Lets changes begin with the record as it was last seen here, which saves reading it: a commit on an older one fails, and is decided anew. */
  beginWith(lastSeen: (id: string) => Session | undefined): void {
    this.#lastSeen = lastSeen;
  }

  /** Whether this node is writing the commit: its watchers see it when that is done. */
  isWriting(commit_id: string): boolean {
    return this.#writing.has(commit_id);
  }

  /** Shows the watchers a record that another node, or an earlier run, has written. */
  show(session: Session): void {
    for (const watch of this.#watchers) watch(session);
  }

  /** `watcher` sees every record this node commits, after the commit. It must not throw. */
  onCommit(watcher: (session: Session) => void): void {
    this.#watchers.push(watcher);
  }

  /**
   * Writes a new session and starts to make its room.
   * @throws GatewayError ROOM_NAME_IN_USE
   * @throws ClaimTaken its idempotency key belongs to a live session
   */
  async create(spec: Spec): Promise<Session> {
    const { session: made, events, effects } = create(spec, this.#parts.clock.now());
    let session: Session;
    try {
      session = await this.#commit({ expected: 0, session: made, events, effects });
    } catch (error) {
      if (!(error instanceof ClaimTaken) || error.claim === spec.idempotency?.claim) throw error;
      throw roomNameInUse(spec.livekit_room === undefined);
    }
    if (session.room && spec.required.length === 0 && spec.takesWhatIsThere) {
      this.#parts.log.warn({ session_id: spec.session_id }, 'session has no services: it is ready as soon as its room is');
    }
    return session;
  }

  /** @throws GatewayError SESSION_NOT_FOUND */
  async get(id: string): Promise<Session> {
    const session = await this.#parts.store.loadSession(id);
    if (!session) throw new GatewayError('SESSION_NOT_FOUND', `Session not found: ${id}`);
    return session;
  }

  /**
   * Lets something happen to a session: decides, commits, and starts the effects. Repeats the decision when another node committed
   * first. What happens to one session during one turn of the event loop, or while that is being written, is written together; what has
   * to be found out is written by itself, and holds up nothing.
   * @returns the session after it
   * @throws GatewayError what the machine refused, SESSION_NOT_FOUND, VERSION_CONFLICT
   */
  apply(id: string, input: Happening): Promise<Session> {
    return new Promise((done, failed) => {
      if (typeof input === 'function') return void this.#happen(id, [{ input, done, failed }]);
      const queue = this.#queues.get(id);
      if (queue) return void queue.push({ input, done, failed });
      this.#queues.set(id, [{ input, done, failed }]);
      if (this.#begun.push(id) === 1) setImmediate(() => this.#workAll());
    });
  }

  #workAll(): void {
    const begun = this.#begun;
    this.#begun = [];
    for (const id of begun) void this.#work(id);
  }

  /** Lets everything happen that waits for one session. Cannot reject. */
  async #work(id: string): Promise<void> {
    for (let batch = this.#queues.get(id); batch?.length; batch = this.#queues.get(id)) {
      this.#queues.set(id, []);
      await this.#happen(id, batch);
    }
    this.#queues.delete(id);
  }

  /** Lets some inputs happen in one commit, and tells those who wait for them. Cannot reject. */
  async #happen(id: string, batch: readonly Waiting[]): Promise<void> {
    try {
      const seen = this.#lastSeen(id);
      if (seen && (await this.#try(seen, batch, true))) return;
      for (let conflicts = 0; conflicts < maxConflicts; conflicts++) if (await this.#try(await this.get(id), batch, false)) return;
      throw new GatewayError('VERSION_CONFLICT', 'The session is changed by many at once');
    } catch (error) {
      for (const { failed } of batch) failed(error);
    }
  }

  /**
   * Decides on a record and commits.
   * @param isOld what it refuses or has already, the present record may not
   * @returns false: somebody else committed first, or an old record was not enough
   */
  async #try(record: Session, batch: readonly Waiting[], isOld: boolean): Promise<boolean> {
    const { clock, timeouts } = this.#parts;
    const change: Change = { expected: record.version, session: record, events: [], effects: [] };
    const settled: (() => void)[] = [];
    for (const { input, done, failed } of batch) {
      const { session: before } = change;
      let decision: Decision | undefined;
      try {
        const happening = typeof input === 'function' ? await input(before) : input;
        decision = happening && next(before, happening, clock.now(), timeouts);
      } catch (error) {
        if (isOld) return false;
        settled.push(() => failed(error));
        continue;
      }
      if (isOld && !(decision?.ok && decision.changed)) return false;
      if (decision?.ok) add(change, decision);
      const { session } = change;
      settled.push(!decision || decision.ok ? () => done(session) : () => failed(refused(decision, before)));
    }
    try {
      await this.#commit(change);
    } catch (error) {
      if (error instanceof VersionConflict) return false;
      throw error;
    }
    // only now: what was refused as well was decided on what has been written
    for (const tell of settled) tell();
    return true;
  }

  /**
   * Ends a session whose record the storage has lost: what was seen last is written again, with its end, so that its client and services are
   * told and its room is deleted as at every end. One that was ending goes on with that.
   * @returns false: there is a record
   * @throws StorageError
   */
  async lost(last: Session): Promise<boolean> {
    const { clock, timeouts } = this.#parts;
    const decision = next(last, { type: 'End', reason: 'storage_lost', by: 'gateway' }, clock.now(), timeouts);
    const change: Change =
      decision.ok && decision.changed
        ? { ...decision, expected: 0 }
        : { expected: 0, session: { ...copySession(last), version: last.version + 1 }, events: [], effects: [] };
    try {
      await this.#commit(change).catch((error) => {
        if (!(error instanceof ClaimTaken)) throw error;
        // a name that another session has by now is that one's, and so is the room
        change.session.claims = [];
        change.session.room = undefined;
        return this.#commit(change);
      });
    } catch (error) {
      if (error instanceof VersionConflict) return false;
      throw error;
    }
    return true;
  }

  /**
   * Waits until a session is as wanted.
   * @throws GatewayError SESSION_NOT_FOUND
   * @throws what `signal` was aborted with
   */
  async until(id: string, wanted: (session: Session) => boolean, signal: AbortSignal): Promise<Session> {
    for (;;) {
      let wake = () => {};
      const woken = new Promise<void>((done) => {
        wake = done;
      });
      // subscribed before the look: a commit in between wakes
      this.#parts.store.subscribe(id, wake);
      signal.addEventListener('abort', wake);
      try {
        const session = await this.get(id);
        if (wanted(session)) return session;
        signal.throwIfAborted();
        await woken;
      } finally {
        this.#parts.store.unsubscribe(id, wake);
        signal.removeEventListener('abort', wake);
      }
    }
  }

  /** As `apply`, for those nobody waits for: a refusal is a line in the log. */
  async tell(id: string, input: Input): Promise<void> {
    try {
      await this.apply(id, input);
    } catch (err) {
      // news that nobody says again: it is kept until the storage answers
      if (err instanceof StorageError && isNews(input)) {
        this.#unsaid.set(`${id} ${input.type} ${'assignment_id' in input ? input.assignment_id : ''}`, { id, input });
      }
      if (err instanceof GatewayError) this.#parts.log.debug({ session_id: id, input: input.type, code: err.code }, 'input refused');
      // that the storage fails is said once, by whoever watches it
      else if (err instanceof StorageError) this.#parts.log.debug({ err, session_id: id, input: input.type }, 'input failed');
      else this.#parts.log.error({ err, session_id: id, input: input.type }, 'input failed');
    }
  }

  /** Writes a change and starts its effects. @returns the record as written */
  async #commit(change: Change): Promise<Session> {
    this.#takeBackOffers(change);
    this.#dropRoom(change);
    const found = this.#findServices(change);
    const { expected, session, events, effects } = change;
    if (session.version !== expected) {
      // a changed record is the change's own until it is written
      session.commit_id = `${this.#ownCommits}${(++this.#commits).toString(36)}`;
      this.#writing.add(session.commit_id);
      try {
        await this.#save(session, expected, events);
        for (const watch of this.#watchers) watch(session);
      } catch (error) {
        for (const offer of found) this.#offers?.release(session.session_id, offer);
        throw error;
      } finally {
        this.#writing.delete(session.commit_id);
      }
      const { log, sessionLog = log } = this.#parts;
      note(log, sessionLog, session, events, () => this.#offers?.registered() ?? []);
    }
    // one look for services is enough
    const last = effects.findLastIndex((effect) => effect.do === 'dispatch');
    for (const [i, effect] of effects.entries()) if (effect.do !== 'dispatch' || i === last) void this.#effects?.run(session, effect);
    return session;
  }

  /** Services that are there at once are asked for in the same commit. @returns what was found: its slots are taken */
  #findServices(change: Change): readonly Offer[] {
    const { effects } = change;
    // a slot that is about to be free is not seen yet
    const isLater = effects.some((effect) => effect.do === 'release') || !effects.some((effect) => effect.do === 'dispatch');
    const found = isLater || isEnded(change.session) ? undefined : this.#offers?.find(change.session);
    if (!found) return [];
    this.#add(change, found);
    // the others are looked for once more when it is known that they are waited for
    if (!change.session.requirements.some(isPending)) change.effects = change.effects.filter((effect) => effect.do !== 'dispatch');
    return found.offers;
  }

  /** What was offered and given up at once is never said, so nobody has to leave. */
  #takeBackOffers(change: Change): void {
    for (const effect of change.effects) {
      if (effect.do !== 'offer') continue;
      const { assignment_id } = effect.assignment;
      if (assignments(change.session).some((held) => held.assignment_id === assignment_id)) continue;
      this.#add(change, { type: 'ServiceLeft', assignment_id, clean: true });
      const isOf = (other: Effect) => (other.do === 'offer' || other.do === 'leave') && other.assignment.assignment_id === assignment_id;
      change.effects = change.effects.filter((other) => !isOf(other));
    }
  }

  /** A room that is nowhere is deleted in the same commit. */
  #dropRoom(change: Change): void {
    if (!this.#parts.rooms.isNowhere || !change.effects.some((effect) => effect.do === 'deleteRoom')) return;
    change.effects = change.effects.filter((effect) => effect.do !== 'deleteRoom');
    this.#add(change, { type: 'RoomDeleted' });
  }

  /** Lets one more thing happen in the same commit. */
  #add(change: Change, input: Input): void {
    const { clock, timeouts } = this.#parts;
    const decision = next(change.session, input, clock.now(), timeouts);
    if (decision.ok) add(change, decision);
  }

  /** Writes a commit; one whose answer was lost is written again, which has one effect. */
  async #save(session: Session, expected: number, events: readonly LogEvent[]): Promise<void> {
    const { store, log } = this.#parts;
    try {
      await store.saveSession(session, expected, events);
    } catch (err) {
      if (!(err instanceof StorageError) || err.refused) throw err;
      log.debug({ err, session_id: session.session_id }, 'storage write was not answered; retrying once');
      // whatever is said of the second, what came of the first is not known
      await store.saveSession(session, expected, events).catch((again) => Promise.reject(again instanceof StorageError ? err : again));
    }
  }

  /** Says what the storage could not take, now that it answers. @throws StorageError it does not */
  async #sayAgain(): Promise<void> {
    if (this.#unsaid.size === 0) return;
    await this.#parts.store.ping();
    const again = [...this.#unsaid].slice(0, sweepBatch);
    for (const [key] of again) this.#unsaid.delete(key);
    await Promise.all(again.map(([, { id, input }]) => this.tell(id, input)));
  }

  /** Finds sessions with something due. One at a time: a slow store makes sweeps rarer, not more. */
  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    try {
      await this.#sayAgain();
      const due = await this.#parts.store.due(this.#parts.clock.now(), sweepBatch);
      await Promise.all(due.map((id) => this.tell(id, { type: 'Tick' })));
    } catch (err) {
      if (!(err instanceof StorageError)) this.#parts.log.error({ err }, 'deadline sweep failed');
    } finally {
      this.#sweeping = false;
    }
  }
}

/** Takes a decision that was made on the change so far into it. */
function add(change: Change, { session, events, effects }: Extract<Decision, { ok: true }>): void {
  change.session = session;
  change.events.push(...events);
  change.effects.push(...effects);
}

const refused = ({ code, message }: Extract<Decision, { ok: false }>, { ended }: Session) =>
  new GatewayError(code, message, ended && { details: { reason: ended.reason } });
