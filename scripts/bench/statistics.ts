/** Median, smallest and largest of some numbers. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** @throws RangeError there are none */
export function spread(numbers: readonly number[]): Spread {
  const sorted = [...numbers].sort((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) throw new RangeError('a spread of nothing');
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? min;
  return { median: sorted.length % 2 ? upper : (upper + (sorted[half - 1] ?? min)) / 2, min, max };
}

export const mean = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

/** Of the straight line nearest to the points. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const [x0, y0] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const spread = points.reduce((total, [x]) => total + (x - x0) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((total, [x, y]) => total + (x - x0) * (y - y0), 0) / spread;
}

export interface Interval {
  median: number;
  low: number;
  high: number;
}

/**
 * The median of some numbers, and between which of them that of all there could be lies in nine of ten cases: the sign test's interval, which
 * supposes nothing of how they are spread. Of fewer than five: between the smallest and the largest.
 * @throws RangeError there are none
 */
export function interval(numbers: readonly number[]): Interval {
  const { median } = spread(numbers);
  const sorted = [...numbers].sort((a, b) => a - b);
  // the chance that at most `rank` of them lie below the true median
  let [rank, chance, below] = [0, 0.5 ** sorted.length, 0.5 ** sorted.length];
  while (rank < sorted.length / 2) {
    chance *= (sorted.length - rank) / (rank + 1);
    if (below + chance > 0.05) break;
    below += chance;
    rank += 1;
  }
  return { median, low: sorted[rank] ?? median, high: sorted[sorted.length - 1 - rank] ?? median };
}
