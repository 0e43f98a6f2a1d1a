import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gateway, startPair, stopPair } from './contestants.ts';
import { type Section, table } from './report.ts';
import type { Times } from './servers/profile.ts';
import { warm } from './windows.ts';
import type { Workload } from './workloads.ts';

const warmMs = 5_000;
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
    const profiled = await server.ask<Times>('profiled', join(folder, file));
    await load.ask('pause');
    const [functions, parts] = [profiled.functions, profiled.parts].map((some) =>
      some.slice(0, most).map((time) => [time.name, `${(time.share * 100).toFixed(1)} %`]),
    ) as [string[][], string[][]];
    const text = `${table(['function', 'self'], functions)}\n\n${table(['part, with what it has others do', 'time'], parts)}`;
    return { title: `${name}: ${what}: where the gateway's time goes`, text, data: file };
  } finally {
    await stopPair(pair);
  }
}
