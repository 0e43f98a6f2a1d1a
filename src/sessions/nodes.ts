import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { StorageError } from '../errors.ts';
import type { Sessions } from './commits.ts';
import type { SessionStore } from './ports.ts';
import { assignments, type Session } from './record.ts';
import type { RemoteCommits } from './remote.ts';
import type { StorageHealth } from './storage-health.ts';

/** A node is dead after three missed heartbeats: one write of each node every 10 s costs a storage nothing, and one that is late kills nobody. */
const beatMs = 10_000;
/** By then every node that lives has looked at a new session: it does so with each heartbeat. */
export const noticedMs = beatMs + 1_000;
/** How often a heartbeat is tried while the storage fails: as soon as it works it is known to. */
const retryMs = 1_000;
const livesMs = 3 * beatMs;
const page = 100;
/** Sessions of a dead node that get their reports together. */
const batch = 100;

interface NodesParts {
  nodeId: string;
  store: SessionStore;
  sessions: Sessions;
  /** Absent: there are no other nodes, and heartbeats only show that the storage works. */
  remote: RemoteCommits | undefined;
  health: StorageHealth;
  clock: Clock;
  log: Logger;
}

/**
 * Writes this node's heartbeat. Reports to sessions what a dead node held of them: their client's socket, and the sockets of their
 * services. `close` stops it.
 */
export class Nodes {
  readonly #parts: NodesParts;
  readonly #stops: (() => void)[];
  #beatAt: number;
  /** Grace period: no node is declared dead before this. */
  #graceUntil = 0;
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
    if (clock.now() - this.#beatAt > beatMs * 1.5) this.#graceUntil = clock.now() + livesMs;
    this.#beatAt = clock.now();
  }

  async #look(): Promise<void> {
    const { store, nodeId, clock, remote, log } = this.#parts;
    if (this.#looking || !remote) return;
    this.#looking = true;
    try {
      await remote.nextRound();
      const alive = new Set(await store.nodes(clock.now()));
      this.#isAlone = alive.size === 1 && alive.has(nodeId);
      // a node whose own heartbeat did not arrive in time cannot say that of others
      const mayDeclare = alive.has(nodeId) && clock.now() >= this.#graceUntil;
      let reports: Promise<void>[] = [];
      for await (const session of unended(store)) {
        remote.observe(session);
        if (mayDeclare) reports.push(...this.#reportLost(session, alive));
        if (reports.length >= batch) reports = await Promise.all(reports).then(() => []);
      }
      await Promise.all(reports);
    } catch (err) {
      if (err instanceof StorageError) log.debug({ err }, 'could not read the heartbeats of other nodes');
      else log.error({ err }, 'could not read the heartbeats of other nodes');
    } finally {
      this.#looking = false;
    }
  }

  #reportLost(session: Session, alive: ReadonlySet<string>): Promise<void>[] {
    const { sessions } = this.#parts;
    const { session_id, link, node_id: holder, connection_id = '' } = session;
    const isLost = link === 'attached' && holder !== undefined && !alive.has(holder);
    const gone = assignments(session).filter(({ node_id }) => node_id !== undefined && !alive.has(node_id));
    return [
      ...(isLost ? [sessions.report(session_id, { type: 'Detached', connection_id, how: 'node_lost' })] : []),
      ...gone.map(({ assignment_id, incarnation, node_id }) =>
        sessions.report(session_id, { type: 'ServiceGone', assignment_id, incarnation, ...(node_id !== undefined && { node_id }) }),
      ),
    ];
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
