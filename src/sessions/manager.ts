import type { Logger } from 'pino';
import { v4 as uuid } from 'uuid';
import type { LogEvent } from '../../protocol/events.ts';
import type { EndReason } from '../../protocol/states.ts';
import { create, type Spec } from './create.ts';
import type { Effect } from './draft.ts';
import { GatewayError } from './errors.ts';
import { type Decision, type Input, next, type Timeouts } from './machine.ts';
import {
  ClaimTaken,
  type Clock,
  type Offers,
  RoomNameTaken,
  type Rooms,
  RoomsError,
  type SessionStore,
  StorageError,
  VersionConflict,
} from './ports.ts';
import type { Session } from './record.ts';

/** Each conflict is somebody else's success: so many may write to one session at once. */
const maxConflicts = 1_000;
const sweepMs = 200;
const sweepBatch = 1_000;

const isNews = ({ type }: Input) =>
  type === 'End' || type === 'Detached' || type === 'ServiceGone' || type === 'ServiceLeft' || type === 'ServiceFailed';

/** What to do about an end that nobody wanted. */
const hints: Partial<Record<EndReason, string>> = {
  registration_timeout: 'a required service never registered: check its id, that it runs, and that it reaches the gateway',
  join_timeout: 'the services were not all ready in time: check the log lines of those missing, or raise microservices.join_timeout',
  client_never_joined: 'the user never joined: check that the client reaches livekit_url (LIVEKIT_PUBLIC_URL) and uses its token',
  service_lost: 'a service was lost and nobody took its place: run a second instance, or set on_service_loss',
  livekit_error: 'LiveKit failed: check LIVEKIT_SERVER_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET',
};

export interface SessionsParts {
  store: SessionStore;
  rooms: Rooms;
  clock: Clock;
  log: Logger;
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
  #stopSweep: (() => void) | undefined;
  #sweeping = false;
  #isDown = false;
  /** Commits of this node that are being written. */
  readonly #writing = new Set<string>();
  #lastSeen: (id: string) => Session | undefined = () => undefined;
  /** News that the storage could not take. */
  readonly #unsaid = new Map<string, { id: string; input: Input }>();

  constructor(parts: SessionsParts) {
    this.#parts = parts;
  }

  /** Begins to carry out offers and deadlines. The services and the sessions need each other, so one of them comes second. */
  start(offers: Offers): void {
    this.#offers = offers;
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
    const decision = create(spec, this.#parts.clock.now());
    let session: Session;
    try {
      session = await this.#commit(decision, 0);
    } catch (error) {
      if (!(error instanceof ClaimTaken) || error.claim === spec.idempotency?.claim) throw error;
      throw new GatewayError('ROOM_NAME_IN_USE', 'Another session holds this room name, or held it until moments ago', {
        retryAfterMs: 30_000,
      });
    }
    if (decision.session.room && spec.required.length === 0 && spec.takesWhatIsThere) {
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
   * Lets something happen to a session: decides, commits, and starts the effects. Repeats the decision when somebody else committed first.
   * @param input what happens, or how to find out for the record as it is at each try; undefined: nothing
   * @returns the session after it
   * @throws GatewayError what the machine refused, SESSION_NOT_FOUND, VERSION_CONFLICT
   */
  async apply(id: string, input: Input | ((session: Session) => Promise<Input | undefined>)): Promise<Session> {
    const seen = this.#lastSeen(id);
    if (seen) {
      const decision = await this.#decide(seen, input).catch(() => undefined);
      // what an old record refuses or has already, the present one may not
      if (decision?.ok && decision.changed) {
        const session = await this.#tryCommit(decision, seen.version);
        if (session) return session;
      }
    }
    for (let conflicts = 0; conflicts < maxConflicts; conflicts++) {
      const session = await this.get(id);
      const decision = await this.#decide(session, input);
      if (!decision) return session;
      if (!decision.ok) {
        throw new GatewayError(decision.code, decision.message, session.ended && { details: { reason: session.ended.reason } });
      }
      const committed = await this.#tryCommit(decision, session.version);
      if (committed) return committed;
    }
    throw new GatewayError('VERSION_CONFLICT', 'The session is changed by many at once');
  }

  async #decide(session: Session, input: Input | ((session: Session) => Promise<Input | undefined>)): Promise<Decision | undefined> {
    const happening = typeof input === 'function' ? await input(session) : input;
    return happening && next(session, happening, this.#parts.clock.now(), this.#parts.timeouts);
  }

  /** @returns undefined: somebody else was faster */
  async #tryCommit(decision: Extract<Decision, { ok: true }>, expected: number): Promise<Session | undefined> {
    try {
      return await this.#commit(decision, expected);
    } catch (error) {
      if (error instanceof VersionConflict) return undefined;
      throw error;
    }
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
      else this.#parts.log.error({ err, session_id: id, input: input.type }, 'input failed');
    }
  }

  /** Writes a decision and starts its effects. @returns the record as written */
  async #commit(decision: Extract<Decision, { ok: true }>, expected: number): Promise<Session> {
    const { changed, events, effects, session } = decision;
    if (changed) {
      // a changed record is the decision's own until it is written
      session.commit_id = uuid();
      this.#writing.add(session.commit_id);
      try {
        await this.#save(session, expected, events);
        for (const watch of this.#watchers) watch(session);
      } finally {
        this.#writing.delete(session.commit_id);
      }
      for (const event of events) this.#note(session, event);
    }
    // one look for services is enough
    const last = effects.findLastIndex((effect) => effect.do === 'dispatch');
    for (const [i, effect] of effects.entries()) if (effect.do !== 'dispatch' || i === last) void this.#run(session, effect);
    return session;
  }

  /** Writes a commit; one whose answer was lost is written again, which has one effect. */
  async #save(session: Session, expected: number, events: readonly LogEvent[]): Promise<void> {
    const { store, log } = this.#parts;
    try {
      await store.saveSession(session, expected, events);
    } catch (err) {
      if (!(err instanceof StorageError)) throw err;
      log.warn({ err, session_id: session.session_id }, 'commit without an answer; it is repeated once');
      await store.saveSession(session, expected, events);
    }
  }

  #note(session: Session, event: LogEvent): void {
    const { log } = this.#parts;
    if (event.type === 'SessionStatusChanged') {
      const hint = event.to === 'Terminating' && session.ended ? hints[session.ended.reason] : undefined;
      if (hint) log.warn({ session_id: session.session_id, reason: session.ended?.reason, missing: session.ended?.missing }, hint);
      if (event.from === undefined) {
        const { session_id, room, user_identity } = session;
        return log.info(
          { session_id, room: room?.name, services: session.requirements.map(({ key }) => key), user_identity },
          'session created',
        );
      }
      // an end is told once, when it is complete
      log[event.to === 'Terminating' ? 'debug' : 'info'](
        { session_id: session.session_id, from: event.from, to: event.to, reason: event.reason },
        'session status changed',
      );
    } else if (event.type === 'ServiceStatusChanged') {
      // those that go well are told by the session's own lines
      log[event.error === undefined ? 'debug' : 'warn'](
        { session_id: session.session_id, service_id: event.service_id, status: event.status, error: event.error },
        'service status changed',
      );
    }
  }

  /** Carries out one effect. What fails here is found again by a deadline in the record. */
  async #run(session: Session, effect: Effect): Promise<void> {
    const id = session.session_id;
    const { rooms, store, log } = this.#parts;
    try {
      switch (effect.do) {
        case 'createRoom':
          return await this.#createRoom(session);
        case 'deleteRoom':
          return await this.#deleteRoom(session);
        case 'dispatch':
          return await this.#offers?.dispatch(session);
        case 'offer':
          return await this.#offers?.offer(session, effect.assignment);
        case 'leave':
          return this.#offers?.leave(id, effect.assignment, effect.reason);
        case 'presence':
          return this.#offers?.presence(session);
        case 'release':
          return this.#offers?.release(id, effect.assignment);
        case 'forget':
          return await store.deleteSession(id);
      }
    } catch (err) {
      log.error({ err, session_id: id, effect: effect.do, url: rooms.url }, 'effect failed');
    }
  }

  async #createRoom(session: Session): Promise<void> {
    const { rooms, log } = this.#parts;
    if (!session.room) return;
    try {
      await rooms.create(session.room, session.session_id);
    } catch (err) {
      log.warn({ err, session_id: session.session_id, room: session.room.name }, 'livekit room create failed');
      const taken = err instanceof RoomNameTaken;
      const message = taken
        ? 'Somebody else made a room of this name'
        : `Failed to create room: ${err instanceof Error ? err.message : 'unknown'}`;
      const made = !taken && !(err instanceof RoomsError && !err.unknownOutcome);
      return this.tell(session.session_id, { type: 'RoomFailed', code: taken ? 'ROOM_NAME_IN_USE' : 'LIVEKIT_ERROR', message, made });
    }
    await this.tell(session.session_id, { type: 'RoomCreated', made: rooms.mode === 'create' });
  }

  async #deleteRoom(session: Session): Promise<void> {
    const { rooms, log } = this.#parts;
    if (!session.room) return;
    try {
      await rooms.remove(session.room);
    } catch (err) {
      log.warn({ err, session_id: session.session_id, room: session.room.name }, 'livekit room delete failed; it is repeated');
      return this.tell(session.session_id, { type: 'RoomDeleteFailed' });
    }
    await this.tell(session.session_id, { type: 'RoomDeleted' });
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
      if (this.#isDown) this.#parts.log.info('the storage answers again');
      this.#isDown = false;
    } catch (err) {
      // once, not at every sweep
      if (!(err instanceof StorageError)) this.#parts.log.error({ err }, 'deadline sweep failed');
      else if (!this.#isDown)
        this.#parts.log.error({ reason: err.message }, 'the storage does not answer: deadlines and requests wait for it');
      this.#isDown = err instanceof StorageError;
    } finally {
      this.#sweeping = false;
    }
  }
}
