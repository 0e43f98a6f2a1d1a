import type { Sessions } from './commits.ts';
import type { SessionStore } from './ports.ts';
import type { Session } from './record.ts';

/** Called with the record as it is now; without it: it has to be read. */
type Show = (session?: Session) => void;

/** Waits for what becomes of sessions, whichever node writes it. */
export class Waits {
  readonly #sessions: Sessions;
  readonly #store: SessionStore;
  readonly #bySession = new Map<string, Set<Show>>();

  constructor(sessions: Sessions, store: SessionStore) {
    this.#sessions = sessions;
    this.#store = store;
    const show = (id: string, session?: Session) => {
      for (const each of this.#bySession.get(id) ?? []) each(session);
    };
    sessions.onCommit(({ session }) => show(session.session_id, session));
    sessions.onUnsure((id) => show(id));
  }

  /**
   * Waits until a session is as wanted.
   * @throws GatewayError SESSION_NOT_FOUND
   * @throws what `signal` was aborted with
   */
  async until(id: string, wanted: (session: Session) => boolean, signal: AbortSignal): Promise<Session> {
    let latest: Session | undefined;
    let wake = () => {};
    const show: Show = (session) => {
      latest = session;
      wake();
    };
    const onSignal = (_: string, commit_id?: string) => {
      if (!this.#sessions.isOwn(commit_id)) show();
    };
    const onAbort = () => wake();
    // all before the first look: a commit in between wakes
    this.#store.subscribe(id, onSignal);
    const shows = this.#bySession.get(id) ?? new Set();
    this.#bySession.set(id, shows.add(show));
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        const woken = new Promise<void>((done) => {
          wake = done;
        });
        const session = latest ?? (await this.#sessions.get(id));
        latest = undefined;
        if (wanted(session)) return session;
        signal.throwIfAborted();
        await woken;
      }
    } finally {
      this.#store.unsubscribe(id, onSignal);
      shows.delete(show);
      if (shows.size === 0) this.#bySession.delete(id);
      signal.removeEventListener('abort', onAbort);
    }
  }
}
