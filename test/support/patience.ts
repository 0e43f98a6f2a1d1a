import { vi } from 'vitest';

/**
 * How long a test waits for what it needs, at most. It is far more than anything takes, so that no test depends on how fast the machine is:
 * it only ends what hangs, and says what for.
 */
export const patienceMs = 30_000;

const { waitFor } = vi;
/** Waits until it does not throw any more; a shorter time is not believed. */
vi.waitFor = (look, options) => {
  const { timeout = 0, interval = 20 } = typeof options === 'number' ? { timeout: options } : (options ?? {});
  return waitFor(look, { timeout: Math.max(timeout, patienceMs), interval });
};
