import { compare, remarks } from './compare.ts';
import { type Contestant, gateway } from './contestants.ts';
import type { WorkName } from './load/main.ts';
import { count, ratios, type Section, table } from './report.ts';
import type { Plan } from './windows.ts';

const growing: { what: string; unit: string; work: WorkName; sizes: readonly [number, number, number] }[] = [
  { what: 'request and response, sockets', unit: 'Ping and its Pong', work: 'pings', sizes: [100, 400, 1_600] },
  { what: 'short sessions, sessions beside', unit: 'session', work: 'shortSessionsBeside', sizes: [500, 2_000, 8_000] },
  { what: 'messages, over sessions', unit: 'message', work: 'messages', sizes: [500, 2_000, 8_000] },
];

/** The same work of the gateway at 1x, 4x and 16x: what a unit costs is to stay. `part`: of the usual numbers. */
export async function growthSection(plan: Plan, part = 1): Promise<Section> {
  const rows: string[][] = [];
  const notes = new Set<string>();
  const data = [];
  for (const { what, unit, work, sizes } of growing) {
    const contestants = sizes.map((size): Contestant => ({ ...gateway, name: count(size * part), size: size * part }));
    const [first] = contestants as [Contestant];
    const comparison = await compare({ name: 'growth', what, unit, work, size: sizes[0] }, plan, contestants, first);
    data.push(comparison);
    for (const { contestant, cpuPerUnit, cpuRatio } of comparison.results) {
      rows.push([`${what}: ${contestant}`, count(cpuPerUnit.median), ratios(cpuRatio)]);
    }
    for (const remark of remarks(comparison)) notes.add(`${what}: ${remark}`);
  }
  const text = [table(['', 'server CPU, µs/unit', 'of the smallest (min to max)'], rows), '', ...notes].join('\n');
  return { title: 'Growth: 1x, 4x, 16x', text, data };
}
