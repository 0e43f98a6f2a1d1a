import type { Logger } from 'pino';
import type { LogEvent } from '../../protocol/events.ts';
import type { Clock } from '../clock.ts';
import { GatewayError, StorageError } from '../errors.ts';
import { logCommit } from './commit-log.ts';
import { complete, type Unwritten } from './completion.ts';
import { copySession } from './copy.ts';
import { create, type Spec } from './create.ts';
import { Deadlines } from './deadlines.ts';
import { Effects } from './effects.ts';
import { roomNameInUse } from './errors.ts';
import type { Changes, Input, Timeouts } from './inputs.ts';
import { next, nextAll } from './machine.ts';
import { OwnCommits } from './own-commits.ts';
import { ClaimTaken, type Commit, type Offers, type Rooms, type SessionStore, VersionConflict } from './ports.ts';
import type { Session } from './record.ts';

/**
 * Each conflict is somebody else's success, so a retry is no sign of trouble: a session whose thousand watchers all write to it at once still
 * takes every one of them. Beyond that something is wrong, and the caller gets VERSION_CONFLICT.
 */
const maxConflicts = 1_000;

/** An input that waits to be applied, and whoever waits for its result. */
interface Waiting {
  input: Input;
  done(session: Session): void;
  failed(error: unknown): void;
}

/** What one commit writes. */
interface Change extends Unwritten {
  before: Session | undefined;
  /** The version it was decided on; 0: there is no record yet. */
  expected: number;
  /** How often another commit was first. */
  conflicts: number;
}

export interface SessionsParts {
  store: SessionStore;
  rooms: Rooms;
  /** The services that sessions are offered to. Called only after construction: services and sessions need each other. */
  offers(): Offers;
  clock: Clock;
  log: Logger;
  /** Takes the line of each session that is created, is ready, has ended; default: `log`. */
  sessionLog?: Logger;
  timeouts: Timeouts;
}

/**
 * The sessions: takes inputs, commits what the machine decides, notifies the watchers, carries out effects and applies deadlines.
 * A commit is the only way in which a record is written.
 *
 *   apply(id, input) -> queue of the session -> one batch for each turn of the event loop
 *     batch -> load -> nextAll -> save -> watchers, log lines -> results to the callers -> effects
 *               ^                  |
 *               +--- conflict -----+
 *   change(id, decide): the same for one input, which `decide` finds after reading the record; queued behind nothing
 *
 * `close` stops the deadlines; effects under way end by themselves.
 */
export class Sessions {
  readonly #parts: SessionsParts;
  readonly #watchers: ((commit: Commit) => void)[] = [];
  readonly #effects: Effects;
  readonly #deadlines: Deadlines;
  readonly #own = new OwnCommits();
  readonly #unsureWatchers: ((id: string) => void)[] = [];
  #lastSeen: (id: string) => Session | undefined = () => undefined;
  /** The inputs of each session that wait, in order. */
  readonly #queues = new Map<string, Waiting[]>();
  /** Sessions whose first input came during this turn of the event loop. */
  #started: string[] = [];

  constructor(parts: SessionsParts) {
    const { store, rooms, offers, clock, log } = parts;
    this.#parts = parts;
    const report = (id: string, input: Input) => this.report(id, input);
    this.#effects = new Effects({ store, rooms, offers, log, report });
    this.#deadlines = new Deadlines({ store, clock, log, report });
  }

  close(): void {
    this.#deadlines.close();
  }

  /** Lets decisions start from the record as it was last seen here, which saves a read: a commit on an outdated one conflicts, and is decided again. */
  startFrom(lastSeen: (id: string) => Session | undefined): void {
    this.#lastSeen = lastSeen;
  }

  /** Whether this node is writing the commit: its watchers get it when it is written. */
  isWriting(session: Session): boolean {
    return this.#own.isWriting(session);
  }

  /** Shows the watchers a record that another node, or an earlier run, has written. `before`: the record as this node knew it. */
  showRemote(session: Session, before?: Session): void {
    this.#notify({ before, session, events: [], effects: [], conflicts: 0, ms: 0, remote: true });
  }

  /** `watcher` gets every commit of this node after its write, and what this node learns of those of others. It must not throw. */
  onCommit(watcher: (commit: Commit) => void): void {
    this.#watchers.push(watcher);
  }

  /** `watcher` gets the id of each session to which this node wrote a commit without learning what became of it: it may be there, or come yet. */
  onUnsure(watcher: (id: string) => void): void {
    this.#unsureWatchers.push(watcher);
  }

  /** Whether the watchers of this node get the commit, or got it: nobody here has to read what it wrote. Without an id nobody knows whose it is. */
  isOwn(commit_id: string | undefined): boolean {
    return this.#own.isOwn(commit_id);
  }

  /** A commit of another node may be read for the first time by the commit that follows it here: its own signal shows nothing then. */
  #showSkipped(before: Session): void {
    const last = this.#lastSeen(before.session_id);
    if (last && last.version < before.version && !this.isOwn(before.commit_id)) this.showRemote(before, last);
  }

  #notify(commit: Commit): void {
    for (const watch of this.#watchers) watch(commit);
  }

  #unsure(id: string): void {
    // from here on a signal of that commit counts as one of another node
    this.#own.forget();
    for (const watch of this.#unsureWatchers) watch(id);
  }

  /**
   * Writes a new session and starts to create its room.
   * @throws GatewayError ROOM_NAME_IN_USE
   * @throws ClaimTaken its idempotency key belongs to a live session
   */
  async create(spec: Spec): Promise<Session> {
    const { session: created, events, effects } = create(spec, this.#parts.clock.now());
    let session: Session;
    try {
      session = await this.#commit({ before: undefined, expected: 0, conflicts: 0, session: created, events, effects });
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
   * Applies an input to a session: decides, commits, and starts the effects. Decides again when another node committed first. The inputs of
   * one session during one turn of the event loop, or while a batch of them is being written, are written together.
   * @returns the session after it
   * @throws GatewayError what the machine refused, SESSION_NOT_FOUND, VERSION_CONFLICT
   */
  apply(id: string, input: Input): Promise<Session> {
    return new Promise((done, failed) => {
      const queue = this.#queues.get(id);
      if (queue) return void queue.push({ input, done, failed });
      this.#queues.set(id, [{ input, done, failed }]);
      if (this.#started.push(id) === 1) setImmediate(() => this.#workAll());
    });
  }

  /**
   * As `apply`, for callers that must read before they know the input: `decide` gets the record, again at each try.
   * It is written by itself, and holds up nothing.
   * @param decide returns the input; undefined: nothing is to change
   * @throws as `apply`, and what `decide` threw on the present record
   */
  async change(id: string, decide: (session: Session) => Promise<Input | undefined>): Promise<Session> {
    const { clock, timeouts } = this.#parts;
    const attempt = async (record: Session): Promise<Changes> => {
      try {
        const input = await decide(record);
        if (input) return nextAll(record, [input], clock.now(), timeouts);
      } catch (error) {
        return { session: record, events: [], effects: [], results: [{ ok: false, error }] };
      }
      return { session: record, events: [], effects: [], results: [{ ok: true, changed: false, session: record }] };
    };
    const changes = await this.#untilCommitted(id, attempt);
    const [result] = changes.results;
    if (!result?.ok) throw result?.error;
    return result.session;
  }

  #workAll(): void {
    const started = this.#started;
    this.#started = [];
    for (const id of started) void this.#work(id);
  }

  /** Applies everything that waits for one session. Cannot reject. */
  async #work(id: string): Promise<void> {
    for (let batch = this.#queues.get(id); batch?.length; batch = this.#queues.get(id)) {
      this.#queues.set(id, []);
      await this.#applyAll(id, batch);
    }
    this.#queues.delete(id);
  }

  /** Applies some inputs in one commit, and answers those who wait for them. Cannot reject. */
  async #applyAll(id: string, batch: readonly Waiting[]): Promise<void> {
    const { clock, timeouts } = this.#parts;
    const inputs = batch.map(({ input }) => input);
    try {
      const changes = await this.#untilCommitted(id, (record) => nextAll(record, inputs, clock.now(), timeouts));
      // only now: what was refused as well was decided on what has been written
      for (const [i, result] of changes.results.entries()) {
        if (result.ok) batch[i]?.done(result.session);
        else batch[i]?.failed(result.error);
      }
    } catch (error) {
      for (const { failed } of batch) failed(error);
    }
  }

  /** Decides and commits, again as long as another commit is first. @throws GatewayError SESSION_NOT_FOUND, VERSION_CONFLICT */
  async #untilCommitted(id: string, decide: (record: Session) => Changes | Promise<Changes>): Promise<Changes> {
    const seen = this.#lastSeen(id);
    if (seen) {
      const changes = await decide(seen);
      if (isAllNew(changes) && (await this.#isCommitted(seen, changes, 0))) return changes;
    }
    for (let conflicts = 0; conflicts < maxConflicts; conflicts++) {
      const record = await this.get(id);
      const changes = await decide(record);
      if (await this.#isCommitted(record, changes, conflicts)) return changes;
    }
    throw new GatewayError('VERSION_CONFLICT', 'Too many concurrent updates; retry');
  }

  /** @returns false: another commit was first */
  async #isCommitted(before: Session, { session, events, effects }: Changes, conflicts: number): Promise<boolean> {
    try {
      await this.#commit({ before, expected: before.version, conflicts, session, events, effects });
      return true;
    } catch (error) {
      if (error instanceof VersionConflict) return false;
      throw error;
    }
  }

  /**
   * Ends a session whose record the storage has lost: what was seen last is written again, with its end, so that its client and services are
   * notified and its room is deleted as at every end. One that was ending goes on with that.
   * @returns false: there is a record
   * @throws StorageError
   */
  async lost(last: Session): Promise<boolean> {
    const { clock, timeouts } = this.#parts;
    const decision = next(last, { type: 'End', reason: 'storage_lost', by: 'gateway' }, clock.now(), timeouts);
    const again = { session: { ...copySession(last), version: last.version + 1 }, events: [], effects: [] };
    const { session, events, effects } = decision.ok && decision.changed ? decision : again;
    const change: Change = { before: last, expected: 0, conflicts: 0, session, events, effects };
    try {
      await this.#commit(change).catch((error) => {
        if (!(error instanceof ClaimTaken)) throw error;
        // a name that another session has by now belongs to that one, and so does the room
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

  /** As `apply`, for reports that nobody waits for: a refusal is a line in the log. Cannot reject. */
  async report(id: string, input: Input): Promise<void> {
    const { log } = this.#parts;
    try {
      await this.apply(id, input);
    } catch (err) {
      if (err instanceof StorageError) this.#deadlines.keep(id, input);
      if (err instanceof GatewayError) log.debug({ session_id: id, input: input.type, code: err.code }, 'session update refused');
      // an outage is logged once, by whoever watches the storage
      else if (err instanceof StorageError) log.debug({ err, session_id: id, input: input.type }, 'session update failed');
      else log.error({ err, session_id: id, input: input.type }, 'session update failed');
    }
  }

  /** Writes a change, notifies the watchers and starts the effects. @returns the record as written */
  async #commit(change: Change): Promise<Session> {
    const reserved = change.effects.length > 0 ? complete(change, this.#parts) : [];
    const { before, expected, conflicts, session, events, effects } = change;
    if (session.version !== expected) {
      // a changed record is the change's own until it is written
      session.commit_id = this.#own.nextId();
      const startedAt = performance.now();
      const write = this.#own.begin(session);
      try {
        await this.#save(session, expected, events);
        const earlier = this.#own.earlier(write);
        if (earlier) await earlier;
        if (before) this.#showSkipped(before);
        this.#notify({ before, session, events, effects, conflicts, ms: performance.now() - startedAt, remote: false });
      } catch (error) {
        for (const offer of reserved) this.#parts.offers().release(session.session_id, offer);
        if (error instanceof StorageError && !error.refused) this.#unsure(session.session_id);
        throw error;
      } finally {
        this.#own.end(write);
      }
      const { store, log, sessionLog = log } = this.#parts;
      logCommit(log, sessionLog, session, events, () => this.#parts.offers().registered(), store.deletedBy);
    }
    // one look for services is enough
    const last = effects.findLastIndex((effect) => effect.do === 'dispatch');
    for (const [i, effect] of effects.entries()) if (effect.do !== 'dispatch' || i === last) void this.#effects.run(session, effect);
    return session;
  }

  /** Writes a commit; one whose answer was lost is written again, which has one effect. */
  async #save(session: Session, expected: number, events: readonly LogEvent[]): Promise<void> {
    const { store, log } = this.#parts;
    try {
      await store.saveSession(session, expected, events);
    } catch (err) {
      if (!(err instanceof StorageError) || err.refused) throw err;
      log.debug({ err, session_id: session.session_id }, 'storage write was not answered; retrying once');
      // whatever the second answers, the outcome of the first is not known
      await store.saveSession(session, expected, events).catch((again) => {
        // a conflict may be with one that was decided on the first
        throw again instanceof StorageError || again instanceof VersionConflict ? err : again;
      });
    }
  }
}

/** What an outdated record refuses or has already, the present one may not. */
const isAllNew = ({ results }: Changes) => results.every((result) => result.ok && result.changed);
