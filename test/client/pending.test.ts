import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Pending } from '../../src/client/pending.ts';

const late = new Error('late');
const closed = new Error('closed');
const wait = (pending: Pending<string>, id: string, timeoutMs = 1_000, group?: string) =>
  pending.wait({ id, text: `frame ${id}`, group, timeoutMs, onTimeout: () => late });

describe('a request that waits', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
  });

  test('gets its answer, once', async () => {
    const pending = new Pending<string>();
    const answer = wait(pending, 'a');
    expect(pending.settle('b', 'other')).toBe(false);
    expect(pending.settle('a', 'yes')).toBe(true);
    expect(pending.settle('a', 'again')).toBe(false);
    expect(await answer).toBe('yes');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('ends with its time; an answer after that is dropped, and it is not sent again', async () => {
    const pending = new Pending<string>();
    const answer = expect(wait(pending, 'a')).rejects.toBe(late);
    vi.advanceTimersByTime(999);
    expect(pending.unsent).toBe(1);
    vi.advanceTimersByTime(1);
    await answer;
    expect(pending.settle('a', 'late')).toBe(false);
    pending.sendAll(() => expect.unreachable());
  });

  test('may wait for longer than a timer can', () => {
    const pending = new Pending<string>();
    wait(pending, 'a', Number.POSITIVE_INFINITY).catch(() => {});
    vi.advanceTimersByTime(1_000_000);
    expect(pending.settle('a', 'yes')).toBe(true);
  });

  test('fails with all others, or with those of its group', async () => {
    const pending = new Pending<string>();
    const [a, b, c] = [wait(pending, 'a', 1_000, 's'), wait(pending, 'b', 1_000, 't'), wait(pending, 'c')];
    const failed = Promise.all([expect(a).rejects.toBe(closed), expect(b).rejects.toBe(late), expect(c).rejects.toBe(late)]);
    pending.failAll(closed, 's');
    pending.failAll(late);
    await failed;
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is sent again as it was, in the order of the calls', () => {
    const pending = new Pending<string>();
    for (const id of ['a', 'b', 'c']) wait(pending, id).catch(() => {});
    pending.send('b', () => true);
    pending.send('c', () => false);
    pending.send('gone', () => expect.unreachable());
    expect(pending.unsent).toBe(2);
    pending.settle('a', 'yes');
    const sent: string[] = [];
    pending.sendAll((text) => sent.push(text) > 0);
    pending.sendAll((text) => sent.push(text) < 0);
    expect(sent).toEqual(['frame b', 'frame c', 'frame b', 'frame c']);
    expect(pending.unsent).toBe(0);
  });
});
