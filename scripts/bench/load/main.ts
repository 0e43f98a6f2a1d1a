// The load: a separate process, controlled by the bench.
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../rpc.ts';
import { type DialectName, dialects } from './dialect.ts';
import { gatedSessions } from './gated-sessions.ts';
import { messages } from './messages.ts';
import { pings } from './pings.ts';
import { resumes } from './resumes.ts';
import { shortSessions, shortSessionsBeside } from './short-sessions.ts';
import { counts, openSockets, type RawSocket } from './socket.ts';
import { watchers } from './watchers.ts';
import { ask, type Load, type Work } from './work.ts';

const works = { pings, shortSessions, shortSessionsBeside, gatedSessions, watchers, resumes, messages } satisfies Record<string, Work>;
export type WorkName = keyof typeof works;

export interface LoadSample {
  units: number;
  atMs: number;
  cpuUs: number;
  framesSent: number;
  framesReceived: number;
}

let load: Load | undefined;
/** Sockets that only stay open. */
let idle: RawSocket[] = [];

serve({
  async open({ work, port, dialect, size }: { work: WorkName; port: number; dialect: DialectName; size: number }) {
    load = await works[work]({ port, dialect: dialects[dialect], size });
  },
  run: () => load?.run(),
  pause: () => load?.pause(),
  sample(): LoadSample {
    const { user, system } = process.cpuUsage();
    return { units: load?.units ?? 0, atMs: performance.now(), cpuUs: user + system, ...counts };
  },

  async connect({ port, dialect, count }: { port: number; dialect: DialectName; count: number }) {
    // not all as arguments of one push: there are too many
    idle = idle.concat(await openSockets(count, port, dialects[dialect]));
  },
  async hold({ dialect, request, answer }: { dialect: DialectName; request: object; answer: string }) {
    const frame = dialects[dialect].request(request);
    // in turns: what is measured is what stays, not a rush
    for (let from = 0; from < idle.length; from += 64) {
      await Promise.all(idle.slice(from, from + 64).map((socket) => ask(socket, frame, answer)));
    }
  },
  async disconnect() {
    const closed = idle.map(
      (socket) =>
        new Promise<void>((done) => {
          socket.onClose = done;
          socket.close();
        }),
    );
    idle = [];
    await Promise.race([Promise.all(closed), sleep(10_000)]);
  },
});
