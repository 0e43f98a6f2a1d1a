import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeLog } from '../../src/log/log.ts';
import type { Link } from '../../src/services/links.ts';
import { hasFreeSlot, type Instance, Registry } from '../../src/services/registry.ts';

const link: Link = { offerMs: 10_000, offer: async () => ({ outcome: 'sent' }), send: () => {}, replaced: () => {}, saysLeft: true };
const newRegistry = () => new Registry({ max: 1_024, firstIncarnation: 1, log: makeLog('silent') });
const anyone = () => true;

const labels = fc.dictionary(fc.constantFrom('type', 'language', 'constructor'), fc.constantFrom('a', 'b'), { maxKeys: 3 });
const step = fc.record({
  service_id: fc.constantFrom('s1', 's2', 's3', 's4', 's5'),
  metadata: labels,
  what: fc.constantFrom('register', 'register', 'register', 'deregister', 'disconnect', 'take'),
});

/** As a look at every registration finds it. */
const among = (all: readonly Instance[], want: Record<string, string>) =>
  all.filter(({ metadata }) => Object.entries(want).every(([key, value]) => Object.hasOwn(metadata, key) && metadata[key] === value));

test('a selector finds what a look at every registration would, however they came and went', () => {
  const runs = fc.property(fc.array(step, { maxLength: 40 }), fc.array(labels, { minLength: 1, maxLength: 5 }), (steps, wants) => {
    const registry = newRegistry();
    for (const [now, { service_id, metadata, what }] of steps.entries()) {
      const instance = registry.get(service_id);
      if (what === 'register') registry.register({ service_id, metadata, max_sessions: 2 }, link, anyone, now);
      else if (instance && what === 'deregister') registry.deregister(instance);
      else if (instance && what === 'disconnect') registry.disconnect(instance, now);
      else if (instance) registry.take(instance, `a${now}`, 'session');
    }
    const all = [...registry.all()];
    for (const want of wants.filter((want) => Object.keys(want).length > 0)) {
      const fit = among(all, want);
      const free = fit.filter(hasFreeSlot).sort((a, b) => a.slots.size - b.slots.size || (a.id < b.id ? -1 : 1));
      expect(registry.find(want, anyone)).toBe(free[0]);
      expect(registry.has(want, anyone)).toBe(fit.some(({ link }) => link));
    }
  });
  fc.assert(runs, { numRuns: 300 });
});

test('a selector looks at those alone that have the rarest of its values', () => {
  const registry = newRegistry();
  const looked = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const service_id = `s${i}`;
    const metadata = new Proxy<Record<string, string>>(
      { type: 'ASR', place: `p${i % 100}` },
      {
        get: (target, key: string) => {
          looked.add(service_id);
          return target[key];
        },
      },
    );
    registry.register({ service_id, metadata }, link, anyone, 0);
  }
  looked.clear();
  expect(registry.find({ type: 'ASR', place: 'p7' }, ({ service_id }) => service_id !== 's7')).toMatchObject({ service_id: 's107' });
  expect([...looked].every((id) => Number(id.slice(1)) % 100 === 7)).toBe(true);
  looked.clear();
  expect(registry.has({ type: 'ASR', place: 'nowhere' }, anyone)).toBe(false);
  expect(looked.size).toBe(0);
});
