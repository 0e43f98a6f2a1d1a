import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { onTestFinished } from 'vitest';
import { settled } from './clock.ts';

/** Blocks the event loop, as in a process that was stopped. By default for longer than any wait here may last. */
export const standStill = (ms = 1_000) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** What a program has at hand: `step` waits until this step is allowed, `listen` reports where the server is. */
const prelude = `
const { parentPort, workerData: steps } = require('node:worker_threads');
const step = () => {
  const mine = Atomics.add(steps, 0, 1) + 1;
  for (;;) {
    const allowed = Atomics.load(steps, 1);
    if (allowed >= mine) return;
    Atomics.wait(steps, 1, allowed, 10_000);
  }
};
const listen = (server) => server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** Runs a server in a thread of its own: it works while this process stands still. */
export async function serverElsewhere(program: string) {
  // the steps it came to, and those allowed
  const steps = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(prelude + program, { eval: true, workerData: steps });
  onTestFinished(() => void worker.terminate());
  const [port] = (await once(worker, 'message')) as [number];
  const allow = (count: number) => {
    Atomics.store(steps, 1, count);
    Atomics.notify(steps, 1);
  };
  return {
    port,
    allow,
    /** When it has come to its n-th step it takes it, and this process does not see it for too long. */
    async takesMeanwhile(step: number): Promise<void> {
      while (Atomics.load(steps, 0) < step) await settled(1);
      allow(step);
      standStill();
    },
  };
}
