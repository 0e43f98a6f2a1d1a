import type { WorkName } from './load/main.ts';

/** Work in a closed loop, of which every contestant does as much as it can. */
export interface Workload {
  name: string;
  what: string;
  unit: string;
  work: WorkName;
  size: number;
  /** What the gateway is to reach, as a multiple of bare ws. */
  target?: number;
  /** socket.io has nothing like it. */
  withoutSocketio?: boolean;
}

export const workloads: readonly Workload[] = [
  { name: 'W1', what: 'request and response, 100 sockets', unit: 'Ping and its Pong', work: 'pings', size: 100, target: 1.1 },
  { name: 'W1', what: 'request and response, 1,000 sockets', unit: 'Ping and its Pong', work: 'pings', size: 1_000, target: 1.05 },
  {
    name: 'W3',
    what: 'short sessions, 32 at once',
    unit: 'socket opened, session, token, closed',
    work: 'shortSessions',
    size: 32,
    target: 0.95,
  },
  {
    name: 'W4',
    what: 'sessions with three services, 64 at once',
    unit: 'session until ready, and its end',
    work: 'gatedSessions',
    size: 64,
    target: 1.3,
  },
  { name: 'W5', what: 'one event to 1,000 watchers', unit: 'event at one watcher', work: 'watchers', size: 1_000, target: 1.6 },
  {
    name: 'W6',
    what: 'resume of 1,000 sockets at once',
    unit: 'socket breaks, one message is added, a new socket resumes and gets it',
    work: 'resumes',
    size: 1_000,
    withoutSocketio: true,
  },
];
