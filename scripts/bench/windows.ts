import { setTimeout as sleep } from 'node:timers/promises';
import { type Contestant, type Pair, startPair, stopPair } from './contestants.ts';
import type { LoadSample, WorkName } from './load/main.ts';
import { otherProgramsMs } from './machine.ts';
import type { Stats } from './servers/stats.ts';

export interface Plan {
  /** How often everything is started anew. */
  rounds: number;
  /** How often each order A B B A is walked in a round. */
  walks: number;
  /** Until the engine has compiled what runs often: in W3 that takes both bare ws and the gateway five seconds. */
  warmMs: number;
  windowMs: number;
  /** Until then disturbed windows are measured again. */
  patientUntil: number;
}

export interface Window {
  contestant: string;
  units: number;
  /** Units a second. */
  rate: number;
  /** Of the server, microseconds. */
  cpuPerUnit: number;
  /** Share of one core that the process used. */
  serverBusy: number;
  loadBusy: number;
  /** CPU time of other programs, as a share of one core. */
  foreign: number;
  /** Both ways, as the load saw them. */
  framesPerUnit: number;
  disturbed: boolean;
}

/** The windows of one walk through the order. */
export type Walk = readonly Window[];

export interface Job {
  work: WorkName;
  size: number;
  contestants: readonly Contestant[];
}

export interface Measured {
  walks: Walk[];
  /** Windows that were dropped because other programs ran, and measured again. */
  dropped: number;
  /** Windows that were disturbed each time. */
  kept: number;
}

/** More than this of one core is a disturbance. */
const mayBeForeign = 0.05;
/** CPU time has no finer resolution. */
const grainMs = 10;
const tries = 3;
/** A window goes on until it has so many, but no longer than so many times its length. */
const leastUnits = 100;
const longest = 8;
/** From the first request to steady work. */
const rampMs = 100;

/** Measures contestants against each other: fresh processes, warmed, windows in the order A B B A. */
export async function measure(job: Job, plan: Plan, onWalk: (walk: Walk) => void = () => {}): Promise<Measured> {
  const measured: Measured = { walks: [], dropped: 0, kept: 0 };
  for (let round = 0; round < plan.rounds; round++) {
    const pairs = await Promise.all(job.contestants.map(startPair));
    try {
      for (const pair of pairs) await warm(pair, job, plan);
      for (let i = 0; i < plan.walks; i++) {
        const walk: Window[] = [];
        for (const pair of [...pairs, ...[...pairs].reverse()]) walk.push(await undisturbed(pair, plan, measured));
        measured.walks.push(walk);
        onWalk(walk);
      }
    } finally {
      await Promise.all(pairs.map(stopPair));
    }
  }
  return measured;
}

export async function warm(
  { contestant: { dialect, size: own }, port, load }: Pair,
  { work, size }: Pick<Job, 'work' | 'size'>,
  { warmMs }: Pick<Plan, 'warmMs'>,
) {
  await load.ask('open', { work, port, dialect, size: own ?? size });
  await load.ask('run');
  await sleep(warmMs);
  await load.ask('pause');
}

async function undisturbed(pair: Pair, plan: Plan, measured: Measured): Promise<Window> {
  for (let attempt = 1; ; attempt++) {
    const window = await measureWindow(pair, plan.windowMs);
    if (!window.disturbed) return window;
    if (attempt === tries || Date.now() > plan.patientUntil) {
      measured.kept++;
      return window;
    }
    measured.dropped++;
  }
}

/** One window of a pair whose load is paused. */
export async function measureWindow({ contestant, server, load }: Pair, windowMs: number): Promise<Window> {
  const idleBefore = await load.ask<LoadSample>('sample');
  const sample = () => Promise.all([server.ask<Stats>('stats'), load.ask<LoadSample>('sample')]);
  await load.ask('run');
  await sleep(rampMs);
  const othersBefore = otherProgramsMs();
  const [serverBefore, before] = await sample();
  let [serverAfter, after] = [serverBefore, before];
  // work that is done slowly comes in waves: a short window would see some or none
  for (let i = 0; i < longest && (i === 0 || after.units - before.units < leastUnits); i++) {
    await sleep(windowMs);
    [serverAfter, after] = await sample();
  }
  const othersAfter = otherProgramsMs();
  await load.ask('pause');
  const idleAfter = await load.ask<LoadSample>('sample');

  const ms = after.atMs - before.atMs;
  const units = after.units - before.units;
  const cpuUs = serverAfter.cpuUs - serverBefore.cpuUs;
  const foreign = Math.max(0, (othersAfter ?? 0) - (othersBefore ?? 0));
  return {
    contestant: contestant.name,
    units,
    rate: (units / ms) * 1_000,
    cpuPerUnit: cpuUs / units,
    serverBusy: cpuUs / 1_000 / ms,
    loadBusy: (after.cpuUs - before.cpuUs) / 1_000 / ms,
    foreign: foreign / ms,
    framesPerUnit: (framesOf(idleAfter) - framesOf(idleBefore)) / (idleAfter.units - idleBefore.units),
    disturbed: foreign > ms * mayBeForeign + grainMs,
  };
}

const framesOf = ({ framesSent, framesReceived }: LoadSample) => framesSent + framesReceived;
