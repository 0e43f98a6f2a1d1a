import type { Clock } from '../clock.ts';
import type { Endpoint } from './links.ts';
import type { Registrations } from './registration.ts';
import type { Instance, Registry } from './registry.ts';

const everyMs = 10_000;
const maxFailures = 3;
/** What is asked at once; the next so many follow after a moment. */
const atOnce = 20;
const stepMs = 100;
/** Of which a round has at most so many, where more than 20 are asked at once: all are asked within half the time of a round. */
const maxSteps = everyMs / 2 / stepMs;

/** Each is a connection for up to 5 s; a process may often have no more than 1,024 files open. */
const maxUnderWay = 256;

/**
 * Asks each HTTP service every 10 s whether it is there: any status is a yes; after three times nobody it is disconnected, after the next yes
 * it is back. Nobody's turn depends on the answers of others. `close` stops it.
 */
export class Probes {
  readonly #clock: Clock;
  readonly #registry: Registry;
  readonly #registrations: Registrations;
  readonly #asked = new Set<Instance>();
  readonly #stop: () => void;
  #stopRound: (() => void) | undefined;

  constructor({ registry, registrations, clock }: { registry: Registry; registrations: Registrations; clock: Clock }) {
    this.#clock = clock;
    this.#registry = registry;
    this.#registrations = registrations;
    this.#stop = clock.every(everyMs, () => this.#round());
  }

  close(): void {
    this.#stop();
    this.#stopRound?.();
  }

  #round(): void {
    // the clock ran ahead: the last one is not through
    if (this.#stopRound) return;
    const due = [...this.#registry.all()].flatMap((instance) => (instance.endpoint ? { instance, endpoint: instance.endpoint } : []));
    const count = Math.max(atOnce, Math.ceil(due.length / maxSteps));
    const step = () => {
      const free = Math.max(0, maxUnderWay - this.#asked.size);
      for (const { instance, endpoint } of due.splice(0, Math.min(count, free))) void this.#probe(instance, endpoint);
      if (due.length > 0) return;
      this.#stopRound?.();
      this.#stopRound = undefined;
    };
    step();
    if (due.length > 0) this.#stopRound = this.#clock.every(stepMs, step);
  }

  /** Cannot reject: `answers` does not. */
  async #probe(instance: Instance, endpoint: Endpoint): Promise<void> {
    if (this.#asked.has(instance)) return;
    this.#asked.add(instance);
    const answers = await endpoint.answers();
    this.#asked.delete(instance);
    // it was replaced or removed meanwhile
    if (!this.#registry.isCurrent(instance)) return;
    if (answers) {
      instance.failedProbes = 0;
      if (!instance.link) this.#registrations.reconnected(instance, endpoint.link());
    } else if (++instance.failedProbes >= maxFailures && instance.link) this.#registrations.disconnected(instance);
  }
}
