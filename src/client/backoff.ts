/** The wait before the second try is below this; it doubles with each further one. */
const baseMs = 500;
/** No wait is longer: a gateway that is back is found within this. */
const capMs = 20_000;

/**
 * Milliseconds to wait before the next try, anywhere between none and a ceiling that doubles from 0.5 s to 20 s: so clients that lost the same
 * gateway do not come back in step. See "Exponential Backoff And Jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter).
 * @param failures tries in a row that failed before this one; 0 for the first
 */
export const backoff = (failures: number): number => Math.random() * Math.min(capMs, baseMs * 2 ** failures);
