import { expect, test } from 'vitest';
import { Turn } from '../src/turn.ts';

test('what is added during a turn is flushed once, at its end, in order', async () => {
  const turn = new Turn();
  const flushed: string[] = [];
  for (const name of ['a', 'b']) turn.add({ flush: () => flushed.push(name) });
  expect(flushed).toEqual([]);
  await new Promise((done) => setImmediate(done));
  expect(flushed).toEqual(['a', 'b']);
  await new Promise((done) => setImmediate(done));
  expect(flushed).toEqual(['a', 'b']);
});

const spend = (ms: number) => {
  for (const until = performance.now() + ms; performance.now() < until; );
};

test('those who wait for a turn go on in order, as many in each as there is time for', async () => {
  const turn = new Turn();
  const order: string[] = [];
  const turns: number[] = [];
  const wait = async (name: string, ms: number) => {
    await turn.next();
    order.push(name);
    turns.push(turn.number);
    spend(ms);
  };
  await Promise.all([wait('a', 0), wait('b', 2), wait('c', 2)]);
  expect(order).toEqual(['a', 'b', 'c']);
  expect(turns[1]).toBe(turns[0]);
  expect(turns[2]).toBe((turns[0] as number) + 1);
});

test('a turn is long after some milliseconds, for one peer by its own time, and the next begins anew', async () => {
  const turn = new Turn();
  const [a, b] = [{}, {}];
  expect(turn.isLongFor(a)).toBe(false);
  spend(6);
  expect([turn.isLongFor(a), turn.isLong, turn.hasRoom]).toEqual([true, true, false]);
  expect(turn.isLongFor(b)).toBe(false);
  const { number } = turn;
  await turn.soon();
  expect(turn.number).toBe(number + 1);
  expect([turn.isLongFor(a), turn.isLong, turn.hasRoom]).toEqual([false, false, true]);
});

test('who goes on in the next turn does not wait for those who want one each', async () => {
  const turn = new Turn();
  const order: string[] = [];
  const all = [1, 2, 3].map(() => turn.next().then(() => order.push('much')));
  expect(turn.hasRoom).toBe(false);
  await Promise.all([...all, turn.soon().then(() => order.push('little'))]);
  expect(order.indexOf('little')).toBeLessThan(2);
});
