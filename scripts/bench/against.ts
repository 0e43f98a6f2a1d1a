import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { type Contestant, gateway } from './contestants.ts';
import { count, percent, type Section, table } from './report.ts';
import { type Interval, interval } from './statistics.ts';
import { measure, type Plan, type Walk, type Window } from './windows.ts';
import type { Workload } from './workloads.ts';

/** Twelve walks of two pairs each, over four pairs of processes: how one process was compiled is noise as well. */
const plan: Omit<Plan, 'patientUntil'> = { rounds: 4, walks: 3, warmMs: 5_000, windowMs: 400 };
const patientMs = 120_000;

/** This gateway beside the one of another checkout, which is built there. */
export async function againstSection(folder: string, workload: Workload): Promise<Section> {
  const before: Contestant = { ...gateway, name: 'before', root: resolve(folder) };
  const contestants = [{ ...gateway, name: 'now' }, before];
  const { walks } = await measure(
    { work: workload.work, size: workload.size, contestants },
    { ...plan, patientUntil: Date.now() + patientMs },
  );
  const pairs = walks.flatMap(pairsOf);
  const cpu = interval(pairs.map(({ now, before }) => now.cpuPerUnit / before.cpuPerUnit));
  const rate = interval(pairs.map(({ now, before }) => now.rate / before.rate));
  const row = (name: string, of: (pair: Pair) => Window) => {
    const windows = pairs.map(of);
    const middle = (number: (window: Window) => number) => interval(windows.map(number)).median;
    return [
      name,
      count(middle(({ rate }) => rate)),
      count(middle(({ cpuPerUnit }) => cpuPerUnit)),
      percent(middle(({ serverBusy }) => serverBusy)),
    ];
  };
  const text = [
    table(['', 'units/s', 'server CPU, µs/unit', 'server busy'], [row('now', ({ now }) => now), row('before', ({ before }) => before)]),
    '',
    `One unit: ${workload.unit}. Over ${pairs.length} pairs of windows: server CPU ${shown(cpu)} of before, rate ${shown(rate)}.`,
  ].join('\n');
  return { title: `${workload.name} beside another checkout: ${workload.what}`, text, data: { cpu, rate, pairs } };
}

/** @throws Error the other checkout cannot be built */
export function buildOther(folder: string): void {
  const compiler = join(resolve(folder), 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'scripts/bench'], { cwd: folder, stdio: 'inherit' });
  if (status !== 0) throw new Error(`the bench of ${folder} could not be built`);
}

interface Pair {
  now: Window;
  before: Window;
}

/** A walk is now, before, before, now: two pairs of neighbours. */
function pairsOf([first, second, third, fourth]: Walk): Pair[] {
  if (!first || !second || !third || !fourth) return [];
  return [
    { now: first, before: second },
    { now: fourth, before: third },
  ];
}

const shown = ({ median, low, high }: Interval) => `${median.toFixed(3)} (90 % interval ${low.toFixed(3)} to ${high.toFixed(3)})`;
