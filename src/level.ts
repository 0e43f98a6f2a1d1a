/**
 * What is left of a level that goes down by so much each second (a leaky bucket). Whole numbers stay whole, which the engine keeps in place.
 * @param ms below 0 where the clock was set back: then nothing goes down
 */
export const drained = (level: number, ms: number, perSecond: number): number =>
  Math.max(0, level - Math.ceil((Math.max(0, ms) * perSecond) / 1_000));

/**
 * What answers may cost whoever asked: as many bytes at once as in a second. Above a share of that the next request waits for a turn of its
 * own, so that those who ask for little come in between.
 */
export const isMuch = (level: number, bytesPerSecond: number): boolean => level > bytesPerSecond / 8;
