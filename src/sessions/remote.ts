import type { Logger } from 'pino';
import type { Sessions } from './commits.ts';
import type { SessionStore } from './ports.ts';
import type { Session } from './record.ts';

interface RemoteParts {
  store: SessionStore;
  sessions: Sessions;
  log: Logger;
}

interface Known {
  session: Session;
  looking: boolean;
  again: boolean;
}

/** Shows this node the sessions that other nodes change on shared storage. `close` ends its subscriptions. */
export class RemoteCommits {
  readonly #parts: RemoteParts;
  readonly #known = new Map<string, Known>();
  /** Ended in this round or the one before: an older record of them may still be on its way from the storage. */
  #ended = new Set<string>();
  #endedBefore = new Set<string>();
  /** Could not be read when they changed. */
  #missed = new Set<string>();
  #closed = false;
  readonly #wake = (id: string, commit_id?: string) => {
    // of this node's own commits #keep gets the record
    if (!this.#parts.sessions.isOwn(commit_id)) void this.#look(id);
  };

  constructor(parts: RemoteParts) {
    this.#parts = parts;
    parts.sessions.onCommit(({ session }) => this.#keep(session));
    parts.sessions.onUnsure((id) => void this.#look(id));
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

  /** Starts a new round: looks once more at what could not be read. */
  async nextRound(): Promise<void> {
    this.#endedBefore = this.#ended;
    this.#ended = new Set();
    const missed = [...this.#missed];
    this.#missed.clear();
    await Promise.all(missed.map((id) => this.#look(id)));
  }

  /** A record as another node may have written it. One that is not newer than what is known here says nothing. */
  observe(session: Session): void {
    const id = session.session_id;
    const before = this.#known.get(id)?.session;
    if (this.#closed || this.#ended.has(id) || this.#endedBefore.has(id)) return;
    // one of the same version and another commit: the storage lost what was seen here, and went on without it
    if (before && (before.version > session.version || before.commit_id === session.commit_id)) return;
    // whoever wrote it carries out its effects
    if (this.#parts.sessions.isWriting(session)) return;
    // this class is among the watchers: #keep
    this.#parts.sessions.showRemote(session, before);
  }

  #keep(session: Session): void {
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
        if (session) this.observe(session);
        // another node may have written it again
        else known.again ||= !(await this.#parts.sessions.lost(known.session));
      } while (known.again);
    } catch (err) {
      this.#missed.add(id);
      this.#parts.log.debug({ err, session_id: id }, 'session check failed; retrying in the next sweep');
    } finally {
      known.looking = false;
    }
  }
}
