import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Due, DueIndex } from '../../src/store/due.ts';

interface Item extends Due<Item> {
  id: string;
}
const item = (id: string): Item => ({ id, slot: undefined, previous: undefined, next: undefined });
const idsOf = (found: Item[]) => found.map(({ id }) => id);

/** Times are told apart by tenths of a second. */
const tenth = (at: number) => Math.floor(at / 100);

const names = ['a', 'b', 'c', 'd', 'e', 'f'];
const ids = fc.constantFrom(...names);
// near each other, so that slots are shared; now and then far away
const times = fc.oneof(fc.nat(3_000), fc.nat(100_000), fc.nat(2_000_000));
const steps = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('set' as const), id: ids, at: times }) },
  fc.record({ do: fc.constant('set' as const), id: ids, at: fc.constant(Number.POSITIVE_INFINITY) }),
  fc.record({ do: fc.constant('delete' as const), id: ids }),
  { weight: 4, arbitrary: fc.record({ do: fc.constant('upTo' as const), before: times, limit: fc.integer({ min: 1, max: 8 }) }) },
);

test('it finds what a plain list of all times finds', () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 80, size: 'max' }), (list) => {
      const index = new DueIndex<Item>();
      const items = new Map(names.map((id) => [id, item(id)]));
      const itemOf = (id: string) => items.get(id) as Item;
      const model = new Map<string, number>();
      for (const step of list) {
        if (step.do === 'delete') {
          index.delete(itemOf(step.id));
          model.delete(step.id);
        } else if (step.do === 'set') {
          index.set(itemOf(step.id), step.at);
          model.set(step.id, step.at);
        } else {
          const found = idsOf(index.upTo(step.before, step.limit));
          const due = [...model].filter(([, at]) => tenth(at) <= tenth(step.before)).sort(([, a], [, b]) => tenth(a) - tenth(b));
          // in what order one tenth of a second names its ids is open
          expect(found.map((id) => tenth(model.get(id) ?? Number.NaN))).toEqual(due.slice(0, step.limit).map(([, at]) => tenth(at)));
          expect(new Set(found).size).toBe(found.length);
        }
      }
    }),
    { numRuns: 1_000, seed: 20_260_101 },
  );
});

test('what was found stays until it is set anew', () => {
  const index = new DueIndex<Item>();
  const a = item('a');
  index.set(a, 1_000);
  expect(index.upTo(1_000, 10)).toEqual([a]);
  expect(index.upTo(1_000, 10)).toEqual([a]);
  index.set(a, 2_000);
  expect(index.upTo(1_000, 10)).toEqual([]);
});

test('a time before all that were looked at is still found', () => {
  const index = new DueIndex<Item>();
  index.set(item('a'), 9_000);
  index.upTo(8_000, 10);
  index.set(item('b'), 1_000);
  expect(idsOf(index.upTo(8_000, 10))).toEqual(['b']);
});

test('a look after a long sleep finds everything, the earliest first', () => {
  const index = new DueIndex<Item>();
  index.set(item('b'), 50_000);
  index.set(item('a'), 1_000);
  expect(index.upTo(0, 10)).toEqual([]);
  expect(idsOf(index.upTo(100_000, 10))).toEqual(['a', 'b']);
});
