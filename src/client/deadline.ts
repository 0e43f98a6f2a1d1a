/** A timer that is longer fires at once. */
export const maxTimerMs = 2 ** 31 - 1;

export interface Deadline {
  timeoutMs: number;
  /** Made only when the time is over. */
  onTimeout(): Error;
  /** Ends the wait with its reason. */
  signal?: AbortSignal | undefined;
}

/** What the promise gives, unless the time is over first or the signal says stop. Leaves no timer and no listener. */
export async function within<T>(promise: Promise<T>, { timeoutMs, onTimeout, signal }: Deadline): Promise<T> {
  signal?.throwIfAborted();
  let stop = () => {};
  const over = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(onTimeout()), Math.min(timeoutMs, maxTimerMs));
    const abort = () => reject(signal?.reason);
    signal?.addEventListener('abort', abort);
    stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    stop();
  }
}
