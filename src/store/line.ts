import { StorageError } from '../errors.ts';

/** Lets so many go on at once; the others wait, in order. */
export class Line {
  readonly #atOnce: number;
  readonly #timeoutMs: number;
  #running = 0;
  readonly #waiting = new Set<() => void>();

  /** @param timeoutMs how long one waits */
  constructor(atOnce: number, timeoutMs: number) {
    this.#atOnce = atOnce;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws StorageError slow: its turn did not come in time */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running === this.#atOnce) await this.#wait();
    else this.#running += 1;
    try {
      return await work();
    } finally {
      // whoever is next takes the place over
      const [next] = this.#waiting;
      if (next) next();
      else this.#running -= 1;
    }
  }

  #wait(): Promise<void> {
    return new Promise((done, fail) => {
      const go = () => {
        clearTimeout(timer);
        this.#waiting.delete(go);
        done();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(go);
        fail(new StorageError(`not done in time: ${this.#atOnce} others are slow`, { slow: true }));
      }, this.#timeoutMs);
      this.#waiting.add(go);
    });
  }
}
