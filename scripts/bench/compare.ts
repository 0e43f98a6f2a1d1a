import { again, bare, type Contestant, gateway, socketio } from './contestants.ts';
import { count, percent, ratios, type Section, table } from './report.ts';
import { busyEnough, type Result, resultOf } from './results.ts';
import { measure, type Plan } from './windows.ts';
import type { Workload } from './workloads.ts';

export interface Comparison {
  workload: Workload;
  results: Result[];
  dropped: number;
  kept: number;
}

/** Lets contestants do the same work: the gateway and the yardsticks, unless others are named. */
export async function compare(workload: Workload, plan: Plan, contestants = yardsticks(workload), baseline = bare): Promise<Comparison> {
  const { work, size } = workload;
  const measured = await measure({ work, size, contestants }, plan);
  const { dropped, kept } = measured;
  return { workload, results: contestants.map(({ name }) => resultOf(name, baseline.name, measured)), dropped, kept };
}

const yardsticks = ({ withoutSocketio }: Workload): readonly Contestant[] => [gateway, bare, again, ...(withoutSocketio ? [] : [socketio])];

/** Absent: the workload was not measured, or has no such contestant. */
export const ratioOf = ({ results }: Comparison, { name }: Contestant) => results.find(({ contestant }) => contestant === name)?.ratio;

/** The gateway's ratio misses what it is to reach. */
export const fallsShort = (comparison: Comparison) =>
  (ratioOf(comparison, gateway)?.median ?? 0) < (comparison.workload.target ?? Number.NEGATIVE_INFINITY);

export function comparisonSection(comparison: Comparison): Section {
  const { workload, results } = comparison;
  const { target } = workload;
  const verdict = target && ` The gateway is to reach ${target.toFixed(2)}: ${fallsShort(comparison) ? 'it falls short' : 'reached'}.`;
  return {
    title: `${workload.name}: ${workload.what}`,
    text: [resultTable(results), '', `One unit: ${workload.unit}.${verdict ?? ''}`, ...remarks(comparison)].join('\n'),
    data: comparison,
  };
}

export function resultTable(results: readonly Result[]): string {
  const rows = results.map(({ contestant, rate, ratio, cpuPerUnit, framesPerUnit, serverBusy, loadBusy }) => [
    contestant,
    count(rate.median),
    ratios(ratio),
    count(cpuPerUnit.median),
    count(framesPerUnit),
    `${percent(serverBusy.median)}${serverBusy.median < busyEnough ? ' !' : ''}`,
    percent(loadBusy.median),
  ]);
  const head = ['', 'units/s', `of ${bare.name} (min to max)`, 'server CPU, µs/unit', 'frames/unit', 'server busy', 'load busy'];
  return table(head, rows);
}

/** What a reader must know of how the numbers came to be; a line each. */
export function remarks({ results, dropped, kept }: Pick<Comparison, 'results' | 'dropped' | 'kept'>): string[] {
  const named = (some: readonly Result[]) => some.map(({ contestant }) => contestant).join(', ');
  const disturbed = results.filter((result) => result.disturbed);
  const lazy = results.filter(({ serverBusy }) => serverBusy.median < busyEnough);
  return [
    `Windows that other programs disturbed, measured again: ${dropped}${kept > 0 ? `; disturbed each time: ${kept}` : ''}.`,
    ...(disturbed.length > 0 ? [`Every walk was disturbed, the numbers say little: ${named(disturbed)}.`] : []),
    ...(lazy.length > 0 ? [`! Used less than 90 % of its core and may be faster than this: ${named(lazy)}.`] : []),
  ];
}
