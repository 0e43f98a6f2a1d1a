import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { StorageError } from '../errors.ts';
import type { Sessions } from './manager.ts';
import type { SessionStore } from './ports.ts';
import { assignments, type Session } from './record.ts';
import type { StorageHealth } from './storage-health.ts';

const beatMs = 10_000;
/** By then every node that lives has looked at a new session: it does so with each heartbeat. */
export const noticedMs = beatMs + 1_000;
/** How often a heartbeat is tried while the storage fails: as soon as it works it is known to. */
const retryMs = 1_000;
const livesMs = 30_000;
const page = 100;
/** Sessions of a dead node that are told at once. */
const batch = 100;

interface NodesParts {
  nodeId: string;
  store: SessionStore;
  sessions: Sessions;
  /** Absent: there are no other nodes, and heartbeats only show that the storage works. */
  foreign: Foreign | undefined;
  health: StorageHealth;
  clock: Clock;
  log: Logger;
}

/**
 * Shows the other nodes that this one lives. Tells the sessions what a node that does not live any more held
 * of them: their client's socket, and the sockets of their services. `close` stops it.
 */
export class Nodes {
  readonly #parts: NodesParts;
  readonly #stops: (() => void)[];
  #beatAt: number;
  /** Before this time nobody is held for dead. */
  #judgeFrom = 0;
  #beating = false;
  #looking = false;
  #isAlone = false;

  constructor(parts: NodesParts) {
    this.#parts = parts;
    this.#beatAt = parts.clock.now();
    this.#stops = [
      parts.clock.every(beatMs, () => void this.#beat()),
      parts.clock.every(retryMs, () => parts.health.isDown && void this.#beat()),
      parts.clock.every(beatMs, () => void this.#look()),
    ];
  }

  /** As of the last look. */
  get isAlone(): boolean {
    return this.#isAlone;
  }

  /** Deregisters this node as well, where the storage answers. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    const { store, nodeId, log } = this.#parts;
    await store
      .beat(nodeId, 0)
      .catch((err) => log[err instanceof StorageError ? 'debug' : 'warn']({ err }, 'could not deregister this node'));
  }

  /** One heartbeat and one look at the others. Cannot reject. */
  async round(): Promise<void> {
    await this.#beat();
    await this.#look();
  }

  /** Apart from the looks: one that takes long must not cost this node its life. */
  async #beat(): Promise<void> {
    const { store, nodeId, clock, log, health } = this.#parts;
    if (this.#beating) return;
    this.#beating = true;
    try {
      await store.beat(nodeId, clock.now() + livesMs);
    } catch (err) {
      health.beat(false);
      return log.debug({ err }, 'node heartbeat failed');
    } finally {
      this.#beating = false;
    }
    health.beat(true);
    // who could not beat for a while saw nobody beat: the others get time to show themselves
    if (clock.now() - this.#beatAt > beatMs * 1.5) this.#judgeFrom = clock.now() + livesMs;
    this.#beatAt = clock.now();
  }

  async #look(): Promise<void> {
    const { store, nodeId, clock, foreign, log } = this.#parts;
    if (this.#looking || !foreign) return;
    this.#looking = true;
    try {
      await foreign.turn();
      const alive = new Set(await store.nodes(clock.now()));
      this.#isAlone = alive.size === 1 && alive.has(nodeId);
      // whose own heartbeat did not arrive in time cannot say that of others
      const mayJudge = alive.has(nodeId) && clock.now() >= this.#judgeFrom;
      let tells: Promise<void>[] = [];
      for await (const session of unended(store)) {
        foreign.see(session);
        if (mayJudge) tells.push(...this.#judge(session, alive));
        if (tells.length >= batch) tells = await Promise.all(tells).then(() => []);
      }
      await Promise.all(tells);
    } catch (err) {
      if (err instanceof StorageError) log.debug({ err }, 'could not look at the other nodes');
      else log.error({ err }, 'could not look at the other nodes');
    } finally {
      this.#looking = false;
    }
  }

  #judge(session: Session, alive: ReadonlySet<string>): Promise<void>[] {
    const { sessions } = this.#parts;
    const { session_id, link, node_id: holder, connection_id = '' } = session;
    const isLost = link === 'attached' && holder !== undefined && !alive.has(holder);
    const gone = assignments(session).filter(({ node_id }) => node_id !== undefined && !alive.has(node_id));
    return [
      ...(isLost ? [sessions.tell(session_id, { type: 'Detached', connection_id, how: 'node_lost' })] : []),
      ...gone.map(({ assignment_id, incarnation, node_id }) =>
        sessions.tell(session_id, { type: 'ServiceGone', assignment_id, incarnation, ...(node_id !== undefined && { node_id }) }),
      ),
    ];
  }
}

interface ForeignParts {
  store: SessionStore;
  sessions: Sessions;
  log: Logger;
  /** Another node committed: the record before, as far as this node knew it, and now. */
  onForeign(before: Session | undefined, session: Session): void;
}

interface Known {
  session: Session;
  looking: boolean;
  again: boolean;
}

/** Shows this node the sessions that other nodes change on shared storage. `close` ends its subscriptions. */
export class Foreign {
  readonly #parts: ForeignParts;
  readonly #known = new Map<string, Known>();
  /** Ended in this round or the one before: what was read of them earlier says nothing any more. */
  #ended = new Set<string>();
  #endedBefore = new Set<string>();
  /** Could not be read when they changed. */
  #missed = new Set<string>();
  #closed = false;
  readonly #wake = (id: string) => void this.#look(id);

  constructor(parts: ForeignParts) {
    this.#parts = parts;
    parts.sessions.onCommit((session) => this.#note(session));
  }

  close(): void {
    this.#closed = true;
    for (const id of this.#known.keys()) this.#parts.store.unsubscribe(id, this.#wake);
    this.#known.clear();
  }

  /** The record as it was last seen here. */
  last(id: string): Session | undefined {
    return this.#known.get(id)?.session;
  }

  /** A new round begins: looks once more at what could not be read. */
  async turn(): Promise<void> {
    this.#endedBefore = this.#ended;
    this.#ended = new Set();
    const missed = [...this.#missed];
    this.#missed.clear();
    await Promise.all(missed.map((id) => this.#look(id)));
  }

  /** A record as another node may have written it. One that is not newer than what is known here says nothing. */
  see(session: Session): void {
    const id = session.session_id;
    const before = this.#known.get(id)?.session;
    if (this.#closed || this.#ended.has(id) || this.#endedBefore.has(id)) return;
    // one of the same version and another commit: the storage lost what was seen here, and went on without it
    if (before && (before.version > session.version || before.commit_id === session.commit_id)) return;
    // its effects are run by who wrote it
    if (this.#parts.sessions.isWriting(session.commit_id)) return;
    // the watchers come back to #note
    this.#parts.sessions.show(session);
    this.#parts.onForeign(before, session);
  }

  #note(session: Session): void {
    const id = session.session_id;
    const known = this.#known.get(id);
    if (known && known.session.version > session.version) return;
    if (session.status === 'Terminated') {
      this.#parts.store.unsubscribe(id, this.#wake);
      this.#known.delete(id);
      this.#ended.add(id);
    } else if (known) known.session = session;
    else if (!this.#closed) {
      this.#parts.store.subscribe(id, this.#wake);
      this.#known.set(id, { session, looking: false, again: false });
    }
  }

  /** Cannot reject. */
  async #look(id: string): Promise<void> {
    const known = this.#known.get(id);
    if (!known) return;
    known.again = known.looking;
    if (known.looking) return;
    known.looking = true;
    try {
      do {
        known.again = false;
        const session = await this.#parts.store.loadSession(id);
        if (session) this.see(session);
        // another node may have written it again
        else known.again ||= !(await this.#parts.sessions.lost(known.session));
      } while (known.again);
    } catch (err) {
      this.#missed.add(id);
      this.#parts.log.debug({ err, session_id: id }, 'session check failed; retrying in the next round');
    } finally {
      known.looking = false;
    }
  }
}

/** Every session that has not ended, status by status, the newest first. @throws StorageError */
async function* unended(store: Pick<SessionStore, 'listSessions'>): AsyncGenerator<Session> {
  for (const status of ['Creating', 'WaitingForServices', 'Ready', 'Active'] as const) {
    for (let before: { created_at: number; session_id: string } | undefined; ; ) {
      const found = await store.listSessions({ status, limit: page, offset: 0, before });
      yield* found;
      before = found.at(-1);
      if (found.length < page) break;
    }
  }
}
