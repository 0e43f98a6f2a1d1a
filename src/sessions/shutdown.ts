import { afterRunning, inTurns } from '../time.ts';
import type { Sessions } from './commits.ts';
import type { Input } from './inputs.ts';

/** What the deletion of the last rooms may take beyond the drain time. */
const lastRoomsMs = 2_000;

/** The sessions that a stop of this gateway ends. On shared storage those are the ones its own sockets hold and nobody can take over; the rest lives on. */
export class Shutdown {
  readonly #sessions: Sessions;
  readonly #running = new Set<string>();

  /** @param shared whether other gateways use the same storage, or may later */
  constructor(sessions: Sessions, nodeId: string, shared: boolean) {
    this.#sessions = sessions;
    sessions.onCommit(({ session: { session_id, status, node_id, resume } }) => {
      if (status === 'Terminated' || (shared && (node_id !== nodeId || resume))) this.#running.delete(session_id);
      else this.#running.add(session_id);
    });
  }

  /** Ends each of them and waits until all are over, or the time is. */
  async endAll(withinMs: number): Promise<void> {
    await this.#applyToAll({ type: 'End', reason: 'shutdown', by: 'gateway' });
    if (await this.#allEnded(withinMs)) return;
    // the rooms are deleted anyway
    await this.#applyToAll({ type: 'StopWaiting' });
    await this.#allEnded(lastRoomsMs);
  }

  async #applyToAll(input: Input): Promise<void> {
    const applied: Promise<void>[] = [];
    await inTurns([...this.#running], (id) => applied.push(this.#sessions.report(id, input)));
    await Promise.all(applied);
  }

  /** @returns false: the time was over first */
  async #allEnded(withinMs: number): Promise<boolean> {
    const running = this.#running;
    if (running.size === 0) return true;
    return new Promise<boolean>((done) => {
      const cancel = afterRunning(withinMs, () => done(running.size === 0));
      this.#sessions.onCommit(() => {
        if (running.size > 0) return;
        cancel();
        done(true);
      });
    });
  }
}
