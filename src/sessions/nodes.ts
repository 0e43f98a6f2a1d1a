import type { Logger } from 'pino';
import type { Sessions } from './manager.ts';
import type { Clock, SessionStore } from './ports.ts';
import { assignments, isEnded, type Session } from './record.ts';

const beatMs = 10_000;
const livesMs = 30_000;
const page = 100;

interface NodesParts {
  nodeId: string;
  store: SessionStore;
  sessions: Sessions;
  foreign: Foreign;
  clock: Clock;
  log: Logger;
}

/**
 * Shows the other nodes that this one lives. Ends the sessions whose socket was held by a node that does not live any more, and
 * tells the others that the services it reached are out of reach.
 * `close` stops it.
 */
export class Nodes {
  readonly #parts: NodesParts;
  readonly #stop: () => void;
  #running = false;

  constructor(parts: NodesParts) {
    this.#parts = parts;
    this.#stop = parts.clock.every(beatMs, () => void this.round());
  }

  close(): void {
    this.#stop();
  }

  /** One sign of life and one look at the others. Cannot reject. */
  async round(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const { store, nodeId, clock, sessions, log } = this.#parts;
    try {
      await store.beat(nodeId, clock.now() + livesMs);
      const alive = new Set(await store.nodes(clock.now()));
      for await (const session of unended(store)) {
        this.#parts.foreign.see(session);
        const { session_id } = session;
        if (session.link === 'attached' && session.node_id !== undefined && !alive.has(session.node_id)) {
          await sessions.tell(session_id, { type: 'End', reason: 'node_lost', by: 'gateway' });
          continue;
        }
        for (const { assignment_id, incarnation, node_id } of assignments(session)) {
          if (node_id === undefined || alive.has(node_id)) continue;
          await sessions.tell(session_id, { type: 'ServiceGone', assignment_id, incarnation });
        }
      }
    } catch (err) {
      log.warn({ err }, 'sign of life failed: the storage does not answer');
    } finally {
      this.#running = false;
    }
  }
}

interface ForeignParts {
  store: SessionStore;
  sessions: Sessions;
  log: Logger;
  /** Another node committed: the record before, as far as this node knew it, and now. */
  onForeign(before: Session | undefined, session: Session): void;
}

/** Shows this node the sessions that other nodes change on shared storage. `close` ends its subscriptions. */
export class Foreign {
  readonly #parts: ForeignParts;
  readonly #known = new Map<string, { session: Session; unsubscribe: () => void }>();
  #closed = false;

  constructor(parts: ForeignParts) {
    this.#parts = parts;
    parts.sessions.onCommit((session) => this.#note(session));
  }

  close(): void {
    this.#closed = true;
    for (const { unsubscribe } of this.#known.values()) unsubscribe();
    this.#known.clear();
  }

  /** A record as another node may have written it. One that is not newer than what is known here says nothing. */
  see(session: Session): void {
    const before = this.#known.get(session.session_id)?.session;
    if (this.#closed || (before && before.version >= session.version)) return;
    // the watchers come back to #note
    this.#parts.sessions.show(session);
    this.#parts.onForeign(before, session);
  }

  #note(session: Session): void {
    const id = session.session_id;
    const known = this.#known.get(id);
    if (known && known.session.version > session.version) return;
    if (session.status === 'Terminated') {
      known?.unsubscribe();
      this.#known.delete(id);
    } else if (known) known.session = session;
    else if (!this.#closed) this.#known.set(id, { session, unsubscribe: this.#parts.store.subscribe(id, () => void this.#look(id)) });
  }

  /** Cannot reject. */
  async #look(id: string): Promise<void> {
    try {
      const session = await this.#parts.store.loadSession(id);
      if (session) this.see(session);
    } catch (err) {
      this.#parts.log.warn({ err, session_id: id }, 'a session could not be looked at; the next round does');
    }
  }
}

/** Every session that has not ended, the newest first. @throws StorageError */
export async function* unended(store: Pick<SessionStore, 'listSessions'>): AsyncGenerator<Session> {
  let before: { created_at: number; session_id: string } | undefined;
  for (;;) {
    const found = await store.listSessions({ limit: page, offset: 0, before });
    for (const session of found) if (!isEnded(session)) yield session;
    before = found.at(-1);
    if (found.length < page) return;
  }
}
