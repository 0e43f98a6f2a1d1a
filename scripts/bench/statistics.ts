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
