import type { Clock } from '../clock.ts';
import type { Endpoint } from './links.ts';
import type { Registrations } from './registration.ts';
import type { Instance, Registry } from './registry.ts';

const everyMs = 10_000;
const maxFailures = 3;
const maxCalls = 20;

/**
 * Asks each HTTP service every 10 s whether it is there: any status is a yes; after three times nobody it is disconnected, after the next yes it is back.
 * `close` stops it.
 */
export class Probes {
  readonly #registry: Registry;
  readonly #registrations: Registrations;
  readonly #stop: () => void;
  #running = false;

  constructor({ registry, registrations, clock }: { registry: Registry; registrations: Registrations; clock: Clock }) {
    this.#registry = registry;
    this.#registrations = registrations;
    this.#stop = clock.every(everyMs, () => void this.#round());
  }

  close(): void {
    this.#stop();
  }

  /** Cannot reject: `answers` does not. */
  async #round(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const queue = [...this.#registry.all()];
    const worker = async () => {
      for (let instance = queue.pop(); instance; instance = queue.pop())
        if (instance.endpoint) await this.#probe(instance, instance.endpoint);
    };
    await Promise.all(Array.from({ length: Math.min(maxCalls, queue.length) }, worker));
    this.#running = false;
  }

  async #probe(instance: Instance, endpoint: Endpoint): Promise<void> {
    const answers = await endpoint.answers();
    // it was replaced or removed meanwhile
    if (!this.#registry.isCurrent(instance)) return;
    if (answers) {
      instance.failedProbes = 0;
      if (!instance.link) this.#registrations.reconnected(instance, endpoint.link());
    } else if (++instance.failedProbes >= maxFailures && instance.link) this.#registrations.disconnected(instance);
  }
}
