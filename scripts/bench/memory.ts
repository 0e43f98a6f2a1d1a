import { setTimeout as sleep } from 'node:timers/promises';
import { root } from './children.ts';
import { bare, type Contestant, gateway, socketio, startPair, stopPair } from './contestants.ts';
import { count, type Section, table } from './report.ts';
import type { Stats } from './servers/stats.ts';

/** Bytes each, after garbage collection. */
interface Bytes {
  /** Everything: objects, and what the system gave beyond the engine's heap, for buffers and handles. */
  all: number;
  /** Objects alone. */
  heap: number;
}

interface Held {
  what: string;
  idle: Bytes;
  acceptUs: number;
  /** What a session adds to its socket. */
  session?: Bytes;
}

const requests = {
  folder: { type: 'NewSessionRequest', id: '1', workspace_dir: root },
  room: { type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: [] },
};
/** What is opened and closed before, so that code is compiled and pools have their size. */
const warmSockets = 1_000;

async function holdOnce(contestant: Contestant, session?: keyof typeof requests): Promise<Held> {
  const pair = await startPair(contestant);
  const { server, load, port } = pair;
  const { dialect } = contestant;
  try {
    await load.ask('connect', { port, dialect, count: warmSockets });
    if (session) await load.ask('hold', { dialect, request: requests[session], answer: 'NewSessionResponse' });
    await load.ask('disconnect');
    await sleep(500);
    const before = await server.ask<Stats>('memory');
    await load.ask('connect', { port, dialect, count: sockets });
    const { cpuUs } = await server.ask<Stats>('stats');
    const idle = await server.ask<Stats>('memory');
    const what = `${contestant.name}${session ? `, session with a ${session}` : ''}`;
    const row: Held = { what, idle: each(before, idle, sockets), acceptUs: (cpuUs - before.cpuUs) / sockets };
    if (!session) return row;
    await load.ask('hold', { dialect, request: requests[session], answer: 'NewSessionResponse' });
    return { ...row, session: each(idle, await server.ask<Stats>('memory'), sockets) };
  } finally {
    await stopPair(pair);
  }
}

/** With fewer the megabytes that the system gives or takes would count for more than the sockets. */
const sockets = 10_000;

/** The middle one of several fresh processes. */
async function hold(contestant: Contestant, times: number, session?: keyof typeof requests): Promise<Held> {
  const rows: Held[] = [];
  while (rows.length < times) rows.push(await holdOnce(contestant, session));
  const bytes = ({ idle, session: more }: Held) => more?.all ?? idle.all;
  return rows.sort((a, b) => bytes(a) - bytes(b))[Math.floor(times / 2)] as Held;
}

/** What the engine has in reserve differs by chance. */
export const held = ({ rss, heap, heapTotal }: Stats) => rss - heapTotal + heap;

const each = (from: Stats, to: Stats, sockets: number): Bytes => ({
  all: (held(to) - held(from)) / sockets,
  heap: (to.heap - from.heap) / sockets,
});

const mayBe = { idle: 1.15, session: 2_500 };

/** What sockets cost that say nothing. Each row is measured `times` times: a megabyte is 0.1 kB a socket. */
export async function memorySection(times: number): Promise<Section> {
  const plain = await hold(bare, times);
  const helds = [
    plain,
    await hold(socketio, times),
    await hold(gateway, times),
    await hold(gateway, times, 'folder'),
    await hold(gateway, times, 'room'),
    await hold(bare, times, 'room'),
  ];
  const kilobytes = (bytes: number | undefined) => (bytes === undefined ? '' : (bytes / 1_000).toFixed(2));
  const rows = helds.map(({ what, idle, acceptUs, session }) => [
    what,
    kilobytes(idle.all),
    (idle.all / plain.idle.all).toFixed(2),
    kilobytes(idle.heap),
    count(acceptUs),
    kilobytes(session?.all),
    kilobytes(session?.heap),
  ]);
  const head = ['', 'idle socket, kB', 'of bare ws', 'objects, kB', 'CPU to accept, µs', 'session more, kB', 'objects, kB'];
  const [, , idle, withFolder, withRoom] = helds;
  const reached = (what: string, is: number, limit: number) => `${what}: ${is <= limit ? 'reached' : 'it falls short'}.`;
  const notes = [
    `After garbage collection, ${count(sockets)} sockets, each row the middle of ${times} fresh processes; what the engine holds in reserve does not count.`,
    reached(`An idle socket is to hold at most ${mayBe.idle} of bare ws`, (idle?.idle.all ?? 0) / plain.idle.all, mayBe.idle),
    reached('A session without a room is to hold at most 2.5 kB more', withFolder?.session?.all ?? 0, mayBe.session),
    reached('A session with a room is to hold at most 2.5 kB more', withRoom?.session?.all ?? 0, mayBe.session),
  ];
  return { title: 'W2: idle sockets', text: `${table(head, rows)}\n\n${notes.join('\n')}`, data: helds };
}
