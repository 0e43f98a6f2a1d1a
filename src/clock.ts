import type { Clock } from './sessions/ports.ts';

/** The machine's own time. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: Date.now,
  every(ms, run) {
    const timer = setInterval(run, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
};
