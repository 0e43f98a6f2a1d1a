export interface Backoff {
  /** The ceiling of a wait while no try has failed; it doubles with each that does. Default 500. */
  firstMs?: number | undefined;
  /** No wait is longer: a gateway that is back is found within this. Default 20,000. */
  mostMs?: number | undefined;
}

/**
 * Milliseconds to wait before the next try, anywhere between none and a ceiling that doubles from `firstMs` to `mostMs`: so clients that lost the same
 * gateway do not come back in step. See "Exponential Backoff And Jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter).
 * @param failures tries in a row that failed before this one; 0 for the first
 * @param hurryMs the ceiling where what is held does not wait longer; `firstMs` where that is more
 */
export const backoff = (failures: number, { firstMs = 500, mostMs = 20_000 }: Backoff = {}, hurryMs = Number.POSITIVE_INFINITY): number =>
  Math.random() * Math.min(mostMs, firstMs * 2 ** failures, Math.max(firstMs, hurryMs));
