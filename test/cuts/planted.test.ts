import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { Connection } from '../../src/socket/connection.ts';
import type { Fault } from './checker.ts';
import { run } from './run.ts';
import { startStage } from './stage.ts';

const size = { cuts: 150, clients: 10 };

/** Spoils a few of the event frames that the gateway's connections send, until the test is over. */
function spoilEvents(as: (frame: string) => string[]): void {
  const { sendFrame } = Connection.prototype;
  let seen = 0;
  const spoilt = vi.spyOn(Connection.prototype, 'sendFrame').mockImplementation(function (this: Connection, frame) {
    const isEvent = frame.includes('"type":"MessageAdded","seq":');
    const frames = isEvent && ++seen % 50 === 0 ? as(frame) : [frame];
    return frames.map((one) => sendFrame.call(this, one)).every(Boolean);
  });
  onTestFinished(() => spoilt.mockRestore());
}

/** A storage that keeps no memory of commands. */
const forgetful = (store: StoreProvider): StoreProvider => ({
  ...store,
  saveSession: (session, ...rest) => store.saveSession({ ...session, remembered: undefined }, ...rest),
});

/** Faults found in a run over a storage that is spoilt like this. */
async function faultsWith(spoil: (store: StoreProvider) => StoreProvider): Promise<Set<Fault>> {
  const { url, store } = await startStage(spoil);
  const { findings, line } = await run({ seed: 1, ...size, urls: [url], store });
  console.log(line);
  return new Set(findings.map(({ fault }) => fault));
}

describe('a gateway that is not right is found out', () => {
  test('where it drops an event, which its client then asks for again', async () => {
    spoilEvents(() => []);
    expect(await faultsWith((store) => store)).toContain('event lost');
  });

  test('where it sends an event twice, which its client does not pass on', async () => {
    spoilEvents((frame) => [frame, frame]);
    const faults = await faultsWith((store) => store);
    expect([...faults]).toEqual(['event doubled']);
  });

  test('where it sends an event that never was', async () => {
    spoilEvents((frame) => [frame.replace(/"ts":"20/, '"ts":"19')]);
    const faults = await faultsWith((store) => store);
    expect([...faults]).toEqual(['event not in the log']);
  });

  test('where it has no memory of commands', async () => {
    const faults = await faultsWith(forgetful);
    expect(faults).toContain('command doubled');
    expect(faults).toContain('answers differ');
  });
});
