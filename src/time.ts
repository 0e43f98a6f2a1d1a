const isoSlots = 1_024;
const isoAt = new Float64Array(isoSlots).fill(Number.NaN);
const isoTexts: string[] = new Array(isoSlots).fill('');
/** ISO-8601, UTC. The times of late, and those of a list that is asked for again and again, are formatted once. */
export function iso(at: number): string {
  const slot = Math.trunc(Math.abs(at)) % isoSlots;
  let text = isoTexts[slot] as string;
  if (at !== isoAt[slot]) {
    text = new Date(at).toISOString();
    isoAt[slot] = at;
    isoTexts[slot] = text;
  }
  return text;
}

const tickMs = 100;

/**
 * Runs something after a time in which the event loop ran: one that stands still, and then finds many timers due at once, has not
 * heard yet what its peers said meanwhile. Keeps no process alive.
 * @returns takes it back
 */
export function afterRunning(ms: number, run: () => void): () => void {
  let left = Math.ceil(ms / tickMs);
  // late ticks are not made up for; and after the last one what waits to be read is read first
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) return;
    clearInterval(timer);
    last = setImmediate(run);
  }, tickMs);
  timer.unref();
  let last: NodeJS.Immediate | undefined;
  return () => {
    clearInterval(timer);
    clearImmediate(last);
  };
}

/** Of many things, those done within one turn of the event loop. */
export const inOneTurn = 50;

/** Does something with each of many, some in each turn of the event loop: what comes meanwhile is heard. */
export async function inTurns<T>(all: readonly T[], run: (one: T) => void): Promise<void> {
  for (let i = 0; i < all.length; i += inOneTurn) {
    if (i > 0) await new Promise((turn) => setImmediate(turn));
    for (const one of all.slice(i, i + inOneTurn)) run(one);
  }
}

/** A time to wait until the next try, for one of many who were refused together: they come back over a few seconds, not at once. */
export const spreadMs = (leastMs: number) => leastMs + Math.floor(Math.random() * 4_000);
