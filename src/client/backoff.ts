export interface Backoff {
  /** The cap for the first delay; it doubles with each failed attempt. Default 500. */
  firstMs?: number | undefined;
  /** The cap for every delay: a gateway that is back is found within this. Default 20,000. */
  mostMs?: number | undefined;
}

/**
 * Milliseconds to wait before the next attempt: random, between 0 and a cap that doubles from `firstMs` to `mostMs`, so that clients which lost the
 * same gateway do not reconnect in step. See "Exponential Backoff And Jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter).
 * @param failures consecutive failed attempts before this one; 0 for the first
 * @param maxDelayMs a lower cap, for what does not wait longer; never below `firstMs`
 */
export const backoff = (
  failures: number,
  { firstMs = 500, mostMs = 20_000 }: Backoff = {},
  maxDelayMs = Number.POSITIVE_INFINITY,
): number => Math.random() * Math.min(mostMs, firstMs * 2 ** failures, Math.max(firstMs, maxDelayMs));
