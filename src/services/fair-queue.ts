/** Those who call one endpoint. */
interface Lane {
  running: number;
  readonly waiting: (() => void)[];
}

/**
 * Gives calls their turns. Each endpoint may always have its own one call in progress; further ones share `shared` places, which go round
 * the endpoints that wait for one. So an endpoint that does not answer holds up its own calls.
 */
export class FairQueue {
  readonly #lanes = new Map<string, Lane>();
  /** Lanes in which somebody waits, the one first whose turn is next. */
  readonly #next = new Set<Lane>();
  #free: number;

  constructor(shared: number) {
    this.#free = shared;
  }

  /** Makes a call when its turn comes, and resolves or rejects as it does. */
  async run<T>(endpoint: string, call: () => Promise<T>): Promise<T> {
    const lane = this.#lanes.get(endpoint) ?? { running: 0, waiting: [] };
    this.#lanes.set(endpoint, lane);
    if (lane.running === 0) lane.running = 1;
    else if (this.#free > 0) {
      this.#free -= 1;
      lane.running += 1;
    } else
      await new Promise<void>((start) => {
        lane.waiting.push(start);
        this.#next.add(lane);
      });
    try {
      return await call();
    } finally {
      this.#over(endpoint, lane);
    }
  }

  #over(endpoint: string, lane: Lane): void {
    lane.running -= 1;
    if (lane.running === 0) {
      // its own place is given to nobody else
      if (lane.waiting.length > 0) this.#start(lane);
      else this.#lanes.delete(endpoint);
      return;
    }
    const [next] = this.#next;
    if (!next) this.#free += 1;
    else {
      // behind the others, if more of its calls wait
      this.#next.delete(next);
      this.#next.add(next);
      this.#start(next);
    }
  }

  #start(lane: Lane): void {
    lane.running += 1;
    lane.waiting.shift()?.();
    if (lane.waiting.length === 0) this.#next.delete(lane);
  }
}
