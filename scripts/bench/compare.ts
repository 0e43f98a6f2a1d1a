import { again, bare, type Contestant, gateway, socketio } from './contestants.ts';
import { count, percent, ratios, type Section, table } from './report.ts';
import { type Spread, spread } from './statistics.ts';
import { type Measured, measure, type Plan, type Walk, type Window } from './windows.ts';
import type { Workload } from './workloads.ts';

/** What one contestant did in one workload. */
export interface Result {
  contestant: string;
  /** Units a second. */
  rate: Spread;
  /** Units a second as a multiple of bare ws in the same walk. */
  ratio: Spread;
  cpuPerUnit: Spread;
  framesPerUnit: number;
  serverBusy: Spread;
  loadBusy: Spread;
  /** Every walk was disturbed: the numbers say little. */
  disturbed: boolean;
}

export interface Comparison {
  workload: Workload;
  results: Result[];
  dropped: number;
  kept: number;
}

/** Lets the gateway and the yardsticks do the same work. */
export async function compare(workload: Workload, plan: Plan, contestants: readonly Contestant[] = all(workload)): Promise<Comparison> {
  const { work, size } = workload;
  const measured = await measure({ work, size, contestants }, plan);
  const { dropped, kept } = measured;
  return { workload, results: contestants.map(({ name }) => resultOf(name, measured)), dropped, kept };
}

const all = ({ withoutSocketio }: Workload) => [gateway, bare, again, ...(withoutSocketio ? [] : [socketio])];

function resultOf(name: string, { walks }: Measured): Result {
  const isQuiet = (walk: Walk) => walk.every((window) => !window.disturbed || ![name, bare.name].includes(window.contestant));
  const quiet = walks.filter(isQuiet);
  const used = quiet.length > 0 ? quiet : walks;
  const of = (walk: Walk, who: string) => walk.filter(({ contestant }) => contestant === who);
  const windows = used.flatMap((walk) => of(walk, name));
  const each = (number: (window: Window) => number) => spread(windows.map(number));
  const mean = (some: readonly Window[]) => some.reduce((total, { rate }) => total + rate, 0) / some.length;
  return {
    contestant: name,
    rate: each(({ rate }) => rate),
    ratio: spread(used.map((walk) => mean(of(walk, name)) / mean(of(walk, bare.name)))),
    cpuPerUnit: each(({ cpuPerUnit }) => cpuPerUnit),
    framesPerUnit: each(({ framesPerUnit }) => framesPerUnit).median,
    serverBusy: each(({ serverBusy }) => serverBusy),
    loadBusy: each(({ loadBusy }) => loadBusy),
    disturbed: quiet.length === 0,
  };
}

/** The gateway's ratio misses what it is to reach. */
export const fallsShort = ({ workload: { target }, results }: Comparison) =>
  target !== undefined && (results.find(({ contestant }) => contestant === gateway.name)?.ratio.median ?? 0) < target;

/** Below this the load, and not the server, may be what was measured. */
const busyEnough = 0.9;

export function comparisonSection(comparison: Comparison): Section {
  const { workload, results, dropped, kept } = comparison;
  const rows = results.map((result) => [
    result.contestant,
    count(result.rate.median),
    ratios(result.ratio),
    count(result.cpuPerUnit.median),
    count(result.framesPerUnit),
    `${percent(result.serverBusy.median)}${result.serverBusy.median < busyEnough ? ' !' : ''}`,
    percent(result.loadBusy.median),
  ]);
  const notes = [
    `One unit: ${workload.unit}. ${verdict(comparison)}`,
    `${dropped} windows were disturbed by other programs and measured again${kept > 0 ? `; ${kept} were disturbed each time` : ''}.`,
    ...results
      .filter(({ disturbed }) => disturbed)
      .map(({ contestant }) => `${contestant}: every walk was disturbed, the numbers say little.`),
    ...results
      .filter(({ serverBusy }) => serverBusy.median < busyEnough)
      .map(({ contestant }) => `! ${contestant} used less than 90 % of its core: it may be faster than this.`),
  ];
  const head = ['', 'units/s', 'of bare ws (min to max)', 'server CPU, µs/unit', 'frames/unit', 'server busy', 'load busy'];
  return { title: `${workload.name}: ${workload.what}`, text: `${table(head, rows)}\n\n${notes.join('\n')}`, data: comparison };
}

function verdict(comparison: Comparison): string {
  const { target } = comparison.workload;
  if (target === undefined) return '';
  return `The gateway is to reach ${target.toFixed(2)}: ${fallsShort(comparison) ? 'it falls short' : 'reached'}.`;
}
