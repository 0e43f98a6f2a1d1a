import { expect, onTestFinished, test, vi } from 'vitest';
import { makeLog } from '../../src/log/log.ts';
import { Signals } from '../../src/store/signals.ts';
import { ManualClock } from '../support/clock.ts';

/** Signals over a channel that brings back this node's own echoes, and loses what other nodes say. */
function lossy() {
  const clock = new ManualClock();
  const stored = new Map([['a', 1]]);
  const signals: Signals = new Signals({
    clock,
    log: makeLog('silent'),
    send: async (payload) => signals.heard(payload),
    versions: async (ids) => ids.map((id) => stored.get(id) ?? 0),
    renew: () => {},
    hint: '',
  });
  onTestFinished(() => signals.close());
  return { clock, stored, signals };
}

test('a commit whose signal was lost right after somebody subscribed is noticed at the first comparison of versions', async () => {
  const { clock, stored, signals } = lossy();
  const wake = vi.fn();
  signals.subscribe('a', wake);
  // what was read at version 1 waits for this one
  stored.set('a', 2);
  await clock.advance(5_000);
  expect(wake.mock.calls).toEqual([['a', undefined]]);
  // nothing more has changed
  await clock.advance(60_000);
  expect(wake).toHaveBeenCalledTimes(1);
});

test('a commit whose signal was lost after one that came is noticed as well', async () => {
  const { clock, stored, signals } = lossy();
  const wake = vi.fn();
  signals.subscribe('a', wake);
  await clock.advance(5_000);
  stored.set('a', 2);
  signals.heard('a');
  stored.set('a', 3);
  wake.mockClear();
  await clock.advance(10_000);
  expect(wake.mock.calls).toEqual([['a', undefined]]);
});
