import { expect, test } from 'vitest';
import { resultOf } from '../../scripts/bench/results.ts';
import { interval, slope, spread } from '../../scripts/bench/statistics.ts';
import type { Window } from '../../scripts/bench/windows.ts';

const window = (contestant: string, rate: number, disturbed = false): Window => ({
  contestant,
  units: rate,
  rate,
  cpuPerUnit: 1_000_000 / rate,
  serverBusy: 1,
  loadBusy: 0.5,
  foreign: 0,
  framesPerUnit: 2,
  disturbed,
});

test('a spread has the middle of an odd number of values, and the middle between two of an even one', () => {
  expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(() => spread([])).toThrow(RangeError);
});

test('a contestant is compared with the baseline walk by walk, so that a machine that grows slower favours nobody', () => {
  const walk = (speed: number) => [
    window('ours', 110 * speed),
    window('bare', 105 * speed),
    window('bare', 95 * speed),
    window('ours', 90 * speed),
  ];
  const result = resultOf('ours', 'bare', { walks: [walk(1), walk(0.5), walk(0.1)] });
  expect(result.ratio).toEqual({ median: 1, min: 1, max: 1 });
  expect(result.disturbed).toBe(false);
});

test('a walk in which one of the two was disturbed does not count', () => {
  const quiet = [window('ours', 50), window('bare', 100)];
  const disturbed = [window('ours', 10), window('bare', 100, true)];
  const other = [window('ours', 50), window('bare', 100), window('third', 1, true)];
  expect(resultOf('ours', 'bare', { walks: [quiet, disturbed, other] })).toMatchObject({ ratio: { min: 0.5 }, disturbed: false });
});

test('where every walk was disturbed all of them count, and the result says so', () => {
  const disturbed = [window('ours', 10, true), window('bare', 100)];
  expect(resultOf('ours', 'bare', { walks: [disturbed] })).toMatchObject({ ratio: { median: 0.1 }, disturbed: true });
});

test('the slope is that of the nearest straight line', () => {
  const line = [0, 1, 2, 3].map((x) => [x, 5 + 2 * x] as const);
  expect(slope(line)).toBeCloseTo(2);
  expect(slope([[1, 5]])).toBe(0);
});

test('the interval of a median leaves out as many values at each end as chance rarely puts there', () => {
  const twelve = [12, 3, 7, 1, 10, 5, 8, 2, 11, 6, 9, 4];
  // of 12 values 2 or fewer lie below the true median in 1.9 of 100 cases, 3 or fewer in 7.3
  expect(interval(twelve)).toEqual({ median: 6.5, low: 3, high: 10 });
  expect(interval([2, 1, 3])).toEqual({ median: 2, low: 1, high: 3 });
  expect(() => interval([])).toThrow(RangeError);
});
