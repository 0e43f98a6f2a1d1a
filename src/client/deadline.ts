/** A timer that is longer fires at once. */
export const maxTimerMs = 2 ** 31 - 1;
/** A timer that is later than this says that this side stood still: a stopped process, a closed laptop, a long turn. */
const lateMs = 50;
/** How long what arrived meanwhile is then read. */
const readingMs = 100;

/**
 * Calls `run` when the time of a wait is over: at once where the timer is on time, and where it is late after what arrived until then was
 * read. src/clock.ts has an `afterReading` of its own for the gateway, with `setImmediate` and `unref`, which browsers do not have.
 * @returns cancels it
 */
export function afterReading(ms: number, run: () => void): () => void {
  const dueAt = Date.now() + ms;
  const check = () => {
    const late = Date.now() - dueAt;
    if (late <= 0) return run();
    // even one of 0 ms runs after the sockets were read
    timer = setTimeout(run, late > lateMs ? readingMs : 0);
  };
  let timer = setTimeout(check, Math.min(ms, maxTimerMs));
  return () => clearTimeout(timer);
}

export interface Deadline {
  timeoutMs: number;
  /** Made only when the time is over. */
  onTimeout(): Error;
  /** Ends the wait with its reason. */
  signal?: AbortSignal | undefined;
}

/** Resolves as the promise does, unless the time is over first or the signal says stop. Leaves no timer and no listener. */
export async function within<T>(promise: Promise<T>, { timeoutMs, onTimeout, signal }: Deadline): Promise<T> {
  signal?.throwIfAborted();
  let stop = () => {};
  const over = new Promise<never>((_, reject) => {
    const cancel = afterReading(timeoutMs, () => reject(onTimeout()));
    const abort = () => reject(signal?.reason);
    signal?.addEventListener('abort', abort);
    stop = () => {
      cancel();
      signal?.removeEventListener('abort', abort);
    };
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    stop();
  }
}
