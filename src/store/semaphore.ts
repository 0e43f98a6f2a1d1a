import { afterReading } from '../clock.ts';
import { StorageError } from '../errors.ts';

/** Lets so many go on at once; the others wait, in order. */
export class Semaphore {
  readonly #atOnce: number;
  #running = 0;
  readonly #waiting = new Set<() => void>();

  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /**
   * @param until how long it waits, on the clock of `performance.now()`
   * @throws StorageError slow: its turn did not come in time
   */
  async run<T>(until: number, work: () => Promise<T>): Promise<T> {
    if (this.#running === this.#atOnce) await this.#wait(until - performance.now());
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

  #wait(ms: number): Promise<void> {
    return new Promise((done, fail) => {
      const go = () => {
        stop();
        this.#waiting.delete(go);
        done();
      };
      const stop = afterReading(ms, () => {
        this.#waiting.delete(go);
        fail(new StorageError(`not done in time: ${this.#atOnce} others are slow`, { slow: true }));
      });
      this.#waiting.add(go);
    });
  }
}
