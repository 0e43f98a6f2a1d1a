import { describe, expect, test } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import type { Fault } from './checker.ts';
import { run } from './run.ts';
import { startStage } from './stage.ts';

const size = { cuts: 150, clients: 10 };

/** A storage that shows the gateway another log than it has, for the first few looks that have more than one event. */
const misread =
  (as: (events: readonly LogEvent[]) => readonly LogEvent[]) =>
  (store: StoreProvider): StoreProvider => {
    let left = 5;
    return {
      ...store,
      eventsAfter: async (...wish) => {
        const events = await store.eventsAfter(...wish);
        if (left === 0 || !events || events.length < 2) return events;
        left -= 1;
        return as(events);
      },
    };
  };

/** A storage that keeps no memory of commands. */
const forgetful = (store: StoreProvider): StoreProvider => ({
  ...store,
  saveSession: ({ remembered: _, ...session }, ...rest) => store.saveSession(session, ...rest),
});

/** Faults found in a run over a storage that is spoilt like this. */
async function faultsWith(spoil: (store: StoreProvider) => StoreProvider): Promise<Set<Fault>> {
  const { url, store } = await startStage(spoil);
  const { findings, line } = await run({ seed: 1, ...size, urls: [url], store });
  console.log(line);
  return new Set(findings.map(({ fault }) => fault));
}

describe('a gateway that is not right is found out', { timeout: 60_000 }, () => {
  test('where it drops an event, which its client then asks for again', async () => {
    expect(await faultsWith(misread(([, ...rest]) => rest))).toContain('event lost');
  });

  test('where it tells an event twice, which its client does not pass on', async () => {
    const faults = await faultsWith(misread(([first, ...rest]) => (first ? [first, first, ...rest] : rest)));
    expect([...faults]).toEqual(['event doubled']);
  });

  test('where it tells an event that never was', async () => {
    const faults = await faultsWith(misread(([first, ...rest]) => (first ? [{ ...first, ts: 'never' }, ...rest] : rest)));
    expect([...faults]).toEqual(['event not in the log']);
  });

  test('where it has no memory of commands', async () => {
    const faults = await faultsWith(forgetful);
    expect(faults).toContain('command doubled');
    expect(faults).toContain('answers differ');
  });
});
