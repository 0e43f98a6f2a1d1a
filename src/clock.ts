/** Time. Passed in, so that a whole gateway runs in virtual time in a test. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls `run` every `ms` until the returned function is called. `run` must not throw. */
  every(ms: number, run: () => void): () => void;
}

/** A timer that is later than this says that the process stood still: it was stopped, its machine slept, or something in it took long. */
const lateMs = 300;
/** How long what came meanwhile is then read, before a wait is called timed out. */
const readingMs = 100;

/**
 * Calls `run` when the time of a wait is over. What came until then is read first, also where the process stood still and everything is
 * read late. Keeps no process alive.
 * @param run must not throw
 * @returns cancels it
 */
export function afterReading(ms: number, run: () => void): () => void {
  const dueAt = Date.now() + ms;
  let reading: NodeJS.Timeout | undefined;
  let last: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    if (Date.now() - dueAt > lateMs) reading = setTimeout(run, readingMs).unref();
    else last = setImmediate(run);
  }, ms).unref();
  return () => {
    clearTimeout(timer);
    clearTimeout(reading);
    clearImmediate(last);
  };
}

/** Resolves as the promise does, or rejects with the error of `late` where `afterReading` comes first. Leaves no timer. */
export async function inTime<T>(ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  let stop = () => {};
  const over = new Promise<never>((_, reject) => {
    stop = afterReading(ms, () => reject(late()));
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    stop();
  }
}

/**
 * Resolves as the work does. Its signal is aborted when its time is over and what came until then is read; the work may then go on for as
 * long as it likes. The reason is that of AbortSignal.timeout. Leaves no timer.
 */
export async function withTimeLimit<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = afterReading(ms, () => controller.abort(new DOMException('no answer in time', 'TimeoutError')));
  try {
    return await work(controller.signal);
  } finally {
    stop();
  }
}

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
