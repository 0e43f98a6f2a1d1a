import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gateway, startPair, stopPair } from './contestants.ts';
import { percent, type Section, table } from './report.ts';
import type { SelfTime } from './servers/profile.ts';
import { warm } from './windows.ts';
import type { Workload } from './workloads.ts';

const warmMs = 2_000;
const profiledMs = 4_000;

/** Where the gateway's time goes. The whole profile is written into `folder`. */
export async function profileSection({ name, what, work, size }: Workload, folder: string, most: number): Promise<Section> {
  const pair = await startPair(gateway);
  const { server, load } = pair;
  try {
    await warm(pair, { work, size }, { warmMs });
    await load.ask('run');
    await server.ask('profile');
    await sleep(profiledMs);
    const file = `${name}-${size}.cpuprofile`;
    const times = await server.ask<SelfTime[]>('profiled', join(folder, file));
    await load.ask('pause');
    const rows = times.slice(0, most).map((time) => [time.name, percent(time.share)]);
    return { title: `${name}: ${what}: where the gateway's time goes`, text: table(['function', 'self'], rows), data: times };
  } finally {
    await stopPair(pair);
  }
}
