import type { Clock } from '../../src/clock.ts';

const stepMs = 1_000;

/** Time that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = Date.parse('2030-01-01T00:00:00Z');
  readonly #timers = new Set<{ every: number; next: number; run(): void }>();

  now(): number {
    return this.#now;
  }

  every(ms: number, run: () => void): () => void {
    const timer = { every: ms, next: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves time on as for a process that stood still: each timer that was due meanwhile runs once. */
  async standStill(ms: number): Promise<void> {
    this.#now += ms;
    this.#run();
    await settled();
  }

  /** Somebody sets the clock back. Timers go on as before: they count what passes. */
  setBack(ms: number): void {
    this.#now -= ms;
    for (const timer of this.#timers) timer.next -= ms;
  }

  #run(): void {
    for (const timer of this.#timers) {
      if (this.#now < timer.next) continue;
      timer.next = this.#now + timer.every;
      timer.run();
    }
  }

  /** Moves time on, second by second; after each, what was started by it has come to rest in this process. */
  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.#now += Math.min(left, stepMs);
      this.#run();
      await settled();
    }
  }
}

/** After some turns of the event loop: enough for chains of promises, and for frames on loopback to be read. */
export async function settled(turns = 10): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((turn) => setImmediate(turn));
}
