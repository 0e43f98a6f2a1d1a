import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answers } from '../rpc.ts';
import { type Profile, times } from './profile.ts';

/** What a server's process has used so far, and holds now. */
export interface Stats {
  cpuUs: number;
  /** As the system sees it. */
  rss: number;
  /** JavaScript objects. */
  heap: number;
  /** What the engine has taken from the system for them, used or not. */
  heapTotal: number;
}

function stats(): Stats {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, heapTotal } = process.memoryUsage();
  return { cpuUs: user + system, rss, heap: heapUsed, heapTotal };
}

const inspector = new Session();
const post = <T>(method: string, given: object = {}) =>
  new Promise<T>((done, fail) => inspector.post(method, given, (error, result) => (error ? fail(error) : done(result as T))));

/** What every server of the bench answers to. Needs --expose-gc. */
export const serverAnswers: Answers = {
  stats,
  /** After everything that can go has gone. */
  async memory(): Promise<Stats> {
    // what a closed socket held is freed some turns later
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await sleep(100);
    }
    globalThis.gc?.();
    return stats();
  },
  async profile(): Promise<void> {
    inspector.connect();
    await post('Profiler.enable');
    await post('Profiler.setSamplingInterval', { interval: 500 });
    await post('Profiler.start');
  },
  async profiled(file: string) {
    const { profile } = await post<{ profile: Profile }>('Profiler.stop');
    inspector.disconnect();
    writeFileSync(file, JSON.stringify(profile));
    return times(profile);
  },
};
