/** Time. Passed in, so that a whole gateway runs in virtual time in a test. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls `run` every `ms` until the returned function is called. `run` must not throw. */
  every(ms: number, run: () => void): () => void;
}

/** A timer that is later than this says that the process stood still: it was stopped, its machine slept, or something in it took long. */
const lateMs = 300;
/** How long what came meanwhile is then read, before anybody is judged by the time that has passed. */
const readingMs = 100;

/**
 * The machine's own time. Its timers do not keep the process alive. One that is late does not run at once: it would see how late it is, and
 * not the answers that wait unread for as long.
 */
export const systemClock: Clock = {
  now: Date.now,
  every(ms, run) {
    let dueAt = Date.now() + ms;
    let reading: NodeJS.Timeout | undefined;
    const runNow = () => {
      reading = undefined;
      run();
    };
    const timer = setInterval(() => {
      const now = Date.now();
      const isLate = now - dueAt > lateMs;
      dueAt = now + ms;
      if (!isLate) return run();
      reading ??= setTimeout(runNow, readingMs).unref();
    }, ms);
    timer.unref();
    return () => {
      clearInterval(timer);
      clearTimeout(reading);
    };
  },
};
