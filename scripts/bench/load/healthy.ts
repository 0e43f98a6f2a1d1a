// A well-behaved client, in its own process: how long its requests take.
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../rpc.ts';
import { plainDialect } from './dialect.ts';
import { openSockets, type RawSocket } from './socket.ts';

const everyMs = 4;

export interface Latency {
  p50: number;
  p99: number;
  count: number;
}

let socket: RawSocket | undefined;
const ping = plainDialect.request({ type: 'Ping', id: '1' });

serve({
  async open({ port }: { port: number }) {
    [socket] = await openSockets(1, port, plainDialect);
  },
  /** One request every 4 ms, whether the ones before are answered or not: one that waits is not left out of the count. */
  async measure({ ms }: { ms: number }): Promise<Latency> {
    const asked: number[] = [];
    const took: number[] = [];
    const { promise, resolve } = deferred();
    let over = false;
    if (!socket) throw new Error('open comes first');
    socket.onText = () => {
      took.push(performance.now() - (asked.shift() ?? 0));
      if (over && asked.length === 0) resolve();
    };
    for (const end = performance.now() + ms; performance.now() < end; ) {
      asked.push(performance.now());
      socket.send(ping);
      await sleep(everyMs);
    }
    over = true;
    if (asked.length > 0) await Promise.race([promise, sleep(20_000)]);
    // what never came took at least until now
    for (const at of asked) took.push(performance.now() - at);
    took.sort((a, b) => a - b);
    const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
    return { p50: at(0.5), p99: at(0.99), count: took.length };
  },
});

function deferred(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve: () => resolve() };
}
