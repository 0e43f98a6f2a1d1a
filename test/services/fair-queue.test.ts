import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairQueue } from '../../src/services/fair-queue.ts';
import { settled } from '../support/clock.ts';

/** Calls that last until they are ended, by their names. */
function calls(shared: number) {
  const queue = new FairQueue(shared);
  const running = new Map<string, () => void>();
  const begun: string[] = [];
  const over: Promise<unknown>[] = [];
  return {
    running,
    begun,
    over,
    call(endpoint: string, name = endpoint) {
      const made = queue.run(endpoint, () => {
        begun.push(name);
        return new Promise<void>((end) => running.set(name, end));
      });
      over.push(made);
    },
    async end(name: string) {
      running.get(name)?.();
      running.delete(name);
      await settled();
    },
  };
}

test('an endpoint always has a place of its own', async () => {
  const { call, end, begun } = calls(2);
  for (const name of ['a1', 'a2', 'a3', 'a4']) call('a', name);
  call('b', 'b1');
  call('b', 'b2');
  call('c', 'c1');
  await settled();
  expect(begun).toEqual(['a1', 'a2', 'a3', 'b1', 'c1']);
  // its own place is free, not one of those that all share
  await end('b1');
  expect(begun.slice(5)).toEqual(['b2']);
});

test('shared places go round those that wait, however many calls each of them has', async () => {
  const { call, end, begun } = calls(1);
  for (let i = 1; i <= 6; i++) call('a', `a${i}`);
  for (let i = 1; i <= 3; i++) call('b', `b${i}`);
  for (let i = 1; i <= 3; i++) call('c', `c${i}`);
  await settled();
  expect(begun).toEqual(['a1', 'a2', 'b1', 'c1']);
  for (let i = 0; i < 6; i++) await end(begun.filter((name) => !['a1', 'b1', 'c1'].includes(name)).at(-1) ?? '');
  expect(begun.slice(4)).toEqual(['a3', 'b2', 'c2', 'a4', 'b3', 'c3']);
});

test('a call that fails gives its place on', async () => {
  const queue = new FairQueue(1);
  const failing = () => Promise.reject(new Error('no'));
  const made = [1, 2, 3].map(() => queue.run('a', failing));
  expect((await Promise.allSettled(made)).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(await queue.run('a', async () => 'done')).toBe('done');
});

test('no more are under way than there are places, nobody waits where one is free, and every call is made', async () => {
  const steps = fc.array(fc.oneof(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(20)), { maxLength: 60 });
  const runs = fc.asyncProperty(fc.integer({ min: 1, max: 3 }), steps, async (shared, all) => {
    const { call, end, begun, running, over } = calls(shared);
    const made: string[] = [];
    for (const [i, step] of all.entries()) {
      if (typeof step === 'string') {
        made.push(`${step}${i}`);
        call(step, `${step}${i}`);
      } else {
        const names = [...running.keys()];
        await end(names[step % Math.max(1, names.length)] ?? '');
      }
      await settled(1);
      const under = (endpoint: string) => [...running.keys()].filter((name) => name.startsWith(endpoint)).length;
      const taken = ['a', 'b', 'c', 'd'].reduce((sum, endpoint) => sum + Math.max(0, under(endpoint) - 1), 0);
      expect(taken).toBeLessThanOrEqual(shared);
      const waiting = made.filter((name) => !begun.includes(name));
      for (const name of waiting) expect(under(name.charAt(0))).toBeGreaterThan(0);
      if (waiting.length > 0) expect(taken).toBe(shared);
    }
    while (running.size > 0) for (const name of [...running.keys()]) await end(name);
    await Promise.all(over);
    expect([...begun].sort()).toEqual([...made].sort());
  });
  await fc.assert(runs, { numRuns: 100 });
});
