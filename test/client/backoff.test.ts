import { expect, onTestFinished, test, vi } from 'vitest';
import { backoff } from '../../src/client/backoff.ts';

test.each([
  [0, 500],
  [1, 1_000],
  [5, 16_000],
  [6, 20_000],
  [10_000, 20_000],
])('after %i failures the wait is anywhere between none and %i ms', (failures, ceiling) => {
  const random = vi.spyOn(Math, 'random');
  for (const share of [0, 0.25, 0.999]) expect([random.mockReturnValue(share), backoff(failures)][1]).toBe(ceiling * share);
  random.mockRestore();
});

test.each([
  [0, 3_000, 500],
  [6, 3_000, 3_000],
  [6, 100, 500],
  [6, 60_000, 20_000],
])('after %i failures, in a hurry of %i ms, the ceiling is %i ms', (failures, maxDelayMs, ceiling) => {
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  onTestFinished(() => random.mockRestore());
  expect(backoff(failures, {}, maxDelayMs)).toBe(ceiling);
});
