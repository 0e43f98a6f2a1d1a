import type { Clock } from '../clock.ts';
import type { Dispatcher } from './dispatcher.ts';
import { at, type EndpointPaths, httpLink } from './links.ts';
import type { Outbound } from './outbound.ts';
import type { Instance } from './registry.ts';

const everyMs = 10_000;
const timeoutMs = 5_000;
const maxFailures = 3;
const maxCalls = 20;

/**
 * Asks each HTTP service every 10 s whether it is there: any status is a yes; after three times nobody it is disconnected, after the next yes it is back.
 * `close` stops it.
 */
export class Probes {
  readonly #parts: { dispatcher: Dispatcher; outbound: Outbound; paths: EndpointPaths; clock: Clock };
  readonly #stop: () => void;
  #running = false;

  constructor(parts: { dispatcher: Dispatcher; outbound: Outbound; paths: EndpointPaths; clock: Clock }) {
    this.#parts = parts;
    this.#stop = parts.clock.every(everyMs, () => void this.#round());
  }

  close(): void {
    this.#stop();
  }

  /** Cannot reject: `get` does not. */
  async #round(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const queue = [...this.#parts.dispatcher.registry.all()].filter((instance) => instance.endpoint !== undefined);
    const worker = async () => {
      for (let instance = queue.pop(); instance; instance = queue.pop()) await this.#probe(instance);
    };
    await Promise.all(Array.from({ length: Math.min(maxCalls, queue.length) }, worker));
    this.#running = false;
  }

  async #probe(instance: Instance): Promise<void> {
    const { dispatcher, outbound, paths } = this.#parts;
    const { endpoint = '' } = instance;
    const reply = await outbound.get(at(endpoint, paths.health_path), timeoutMs);
    // it was replaced or removed meanwhile
    if (dispatcher.registry.get(instance.service_id) !== instance) return;
    if (!('error' in reply)) {
      instance.failedProbes = 0;
      if (!instance.link) dispatcher.reconnected(instance, httpLink(endpoint, paths, outbound));
    } else if (++instance.failedProbes >= maxFailures && instance.link) dispatcher.disconnected(instance);
  }
}
