import { mean, type Spread, spread } from './statistics.ts';
import type { Measured, Walk, Window } from './windows.ts';

/** What one contestant did. */
export interface Result {
  contestant: string;
  /** Units a second. */
  rate: Spread;
  /** Units a second, as a multiple of what the baseline did in the same walk. */
  ratio: Spread;
  /** Microseconds of the server. */
  cpuPerUnit: Spread;
  /** The same as a multiple of the baseline's. */
  cpuRatio: Spread;
  framesPerUnit: number;
  serverBusy: Spread;
  loadBusy: Spread;
  /** Every walk was disturbed: the numbers say little. */
  disturbed: boolean;
}

/** Compares a contestant with the baseline, walk by walk; walks in which one of them was disturbed do not count, unless all were. */
export function resultOf(name: string, baseline: string, { walks }: Pick<Measured, 'walks'>): Result {
  const isQuiet = (walk: Walk) => walk.every(({ contestant, disturbed }) => !disturbed || (contestant !== name && contestant !== baseline));
  const quiet = walks.filter(isQuiet);
  const used = quiet.length > 0 ? quiet : walks;
  const of = (walk: Walk, who: string) => walk.filter(({ contestant }) => contestant === who);
  const windows = used.flatMap((walk) => of(walk, name));
  const each = (number: (window: Window) => number) => spread(windows.map(number));
  const against = (number: (window: Window) => number) =>
    spread(used.map((walk) => mean(of(walk, name).map(number)) / mean(of(walk, baseline).map(number))));
  return {
    contestant: name,
    rate: each(({ rate }) => rate),
    ratio: against(({ rate }) => rate),
    cpuPerUnit: each(({ cpuPerUnit }) => cpuPerUnit),
    cpuRatio: against(({ cpuPerUnit }) => cpuPerUnit),
    framesPerUnit: each(({ framesPerUnit }) => framesPerUnit).median,
    serverBusy: each(({ serverBusy }) => serverBusy),
    loadBusy: each(({ loadBusy }) => loadBusy),
    disturbed: quiet.length === 0,
  };
}

/** Below this the load, or the storage, may be what was measured. */
export const busyEnough = 0.9;
