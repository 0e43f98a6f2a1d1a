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

test('a turn is long after 5 ms, and the next begins anew', async () => {
  const turn = new Turn();
  expect(turn.isLong).toBe(false);
  const until = performance.now() + 6;
  while (performance.now() < until);
  expect(turn.isLong).toBe(true);
  const { number } = turn;
  await new Promise((done) => setImmediate(done));
  expect(turn.number).toBe(number + 1);
  expect(turn.isLong).toBe(false);
});
