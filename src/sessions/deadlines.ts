import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { StorageError } from '../errors.ts';
import type { Input } from './inputs.ts';
import type { SessionStore } from './ports.ts';

/** How late a deadline may be. The shortest one is a second, and one read of an index this often costs nothing that could be measured. */
const sweepMs = 200;
/** Sessions for each sweep: what a memory store ticks in some 10 ms, so that thousands that are due together do not stall the sockets. */
const sweepBatch = 1_000;

/** Reports from outside that are sent once: nobody repeats them, so they must outlive an outage. What is due, or requested, is retried by itself. */
const isReport = ({ type }: Input) =>
  type === 'End' || type === 'Detached' || type === 'ServiceGone' || type === 'ServiceLeft' || type === 'ServiceFailed';

interface DeadlinesParts {
  store: SessionStore;
  clock: Clock;
  log: Logger;
  /** Applies an input to a session. Cannot reject. */
  report(id: string, input: Input): Promise<void>;
}

/** Finds sessions with something due, and applies reports again that the storage could not take. `close` stops it. */
export class Deadlines {
  readonly #parts: DeadlinesParts;
  readonly #stop: () => void;
  #sweeping = false;
  readonly #failedReports = new Map<string, { id: string; input: Input }>();

  constructor(parts: DeadlinesParts) {
    this.#parts = parts;
    this.#stop = parts.clock.every(sweepMs, () => void this.#sweep());
  }

  close(): void {
    this.#stop();
  }

  /** The storage did not take an input: a report is kept until the storage answers. */
  keep(id: string, input: Input): void {
    if (isReport(input))
      this.#failedReports.set(`${id} ${input.type} ${'assignment_id' in input ? input.assignment_id : ''}`, { id, input });
  }

  /** @throws StorageError the storage does not answer */
  async #retryReports(): Promise<void> {
    if (this.#failedReports.size === 0) return;
    await this.#parts.store.ping();
    const again = [...this.#failedReports].slice(0, sweepBatch);
    for (const [key] of again) this.#failedReports.delete(key);
    await Promise.all(again.map(([, { id, input }]) => this.#parts.report(id, input)));
  }

  /** One at a time: a slow store makes sweeps rarer, not more. */
  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    const { store, clock, log, report } = this.#parts;
    try {
      await this.#retryReports();
      const due = await store.due(clock.now(), sweepBatch);
      await Promise.all(due.map((id) => report(id, { type: 'Tick' })));
    } catch (err) {
      if (!(err instanceof StorageError)) log.error({ err }, 'deadline sweep failed');
    } finally {
      this.#sweeping = false;
    }
  }
}
