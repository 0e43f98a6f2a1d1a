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

test('those who wait for a turn have one each, in order', async () => {
  const turn = new Turn();
  const order: string[] = [];
  const turns = new Set<number>();
  const wait = async (name: string) => {
    await turn.next();
    order.push(name);
    turns.add(turn.number);
  };
  await Promise.all(['a', 'b', 'c'].map(wait));
  expect(order).toEqual(['a', 'b', 'c']);
  expect(turns.size).toBe(3);
});

const spend = (ms: number) => {
  for (const until = performance.now() + ms; performance.now() < until; );
};

test('a turn is long after 5 ms, for one peer by its own time, and the next begins anew', async () => {
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
