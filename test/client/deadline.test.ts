import { expect, onTestFinished, test, vi } from 'vitest';
import { within } from '../../src/client/deadline.ts';

test.each([Number.POSITIVE_INFINITY, 2 ** 31])('a wait of %s ms, longer than a timer can be, is not over at once', async (timeoutMs) => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  let give = (_: string) => {};
  const answer = within(
    new Promise<string>((resolve) => {
      give = resolve;
    }),
    { timeoutMs, onTimeout: () => new Error('late') },
  );
  answer.catch(() => {});
  await vi.advanceTimersByTimeAsync(86_400_000);
  give('in time');
  expect(await answer).toBe('in time');
  expect(vi.getTimerCount()).toBe(0);
});
