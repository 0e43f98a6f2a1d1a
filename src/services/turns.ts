/** Those who call one endpoint. */
interface Line {
  running: number;
  readonly waiting: (() => void)[];
}

/**
 * Gives calls their turns. Each endpoint may always have its own one call in progress; further ones share `shared` places, which go round
 * the endpoints that wait for one. So an endpoint that does not answer holds up its own calls.
 */
export class Turns {
  readonly #lines = new Map<string, Line>();
  /** Lines in which somebody waits, the one first whose turn is next. */
  readonly #next = new Set<Line>();
  #free: number;

  constructor(shared: number) {
    this.#free = shared;
  }

  /** Makes a call when its turn comes, and resolves or rejects as it does. */
  async take<T>(endpoint: string, call: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(endpoint) ?? { running: 0, waiting: [] };
    this.#lines.set(endpoint, line);
    if (line.running === 0) line.running = 1;
    else if (this.#free > 0) {
      this.#free -= 1;
      line.running += 1;
    } else
      await new Promise<void>((start) => {
        line.waiting.push(start);
        this.#next.add(line);
      });
    try {
      return await call();
    } finally {
      this.#over(endpoint, line);
    }
  }

  #over(endpoint: string, line: Line): void {
    line.running -= 1;
    if (line.running === 0) {
      // its own place is given to nobody else
      if (line.waiting.length > 0) this.#start(line);
      else this.#lines.delete(endpoint);
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

  #start(line: Line): void {
    line.running += 1;
    line.waiting.shift()?.();
    if (line.waiting.length === 0) this.#next.delete(line);
  }
}
