import { setTimeout as sleep } from 'node:timers/promises';
import { gateway, startPair, stopPair } from './contestants.ts';
import { held } from './memory.ts';
import { count, type Section, table } from './report.ts';
import type { Stats } from './servers/stats.ts';
import { slope } from './statistics.ts';

const everyMs = 30_000;
// nobody joins a room here, and the session is to last
const request = { type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: [], client_join_timeout_s: 3_600 };

interface Look {
  minute: number;
  bytes: number;
  heap: number;
  sockets: number;
  sessions: number;
  cpuUs: number;
}

/** So many sockets with sessions that say nothing more: what the gateway holds, and whether it grows. */
export async function soakSection(minutes: number, sockets: number): Promise<Section> {
  const pair = await startPair(gateway);
  const { server, load, port } = pair;
  const { dialect } = gateway;
  try {
    await load.ask('connect', { port, dialect, count: sockets });
    await load.ask('hold', { dialect, request, answer: 'NewSessionResponse' }, 600_000);
    const began = Date.now();
    const looks: Look[] = [];
    for (let i = 0; i * everyMs <= minutes * 60_000; i++) {
      await sleep(began + i * everyMs - Date.now());
      const stats = await server.ask<Stats>('memory');
      const holds = await server.ask<{ sockets: number; live_sessions: number }>('holds');
      const minute = (Date.now() - began) / 60_000;
      const { heap, cpuUs } = stats;
      looks.push({ minute, bytes: held(stats), heap, cpuUs, sockets: holds.sockets, sessions: holds.live_sessions });
      console.log(`${minute.toFixed(1)} min: ${megabytes(held(stats))} MB, objects ${megabytes(heap)} MB, ${holds.live_sessions} sessions`);
    }
    const rows = looks.map((look) => [
      look.minute.toFixed(1),
      megabytes(look.bytes),
      megabytes(look.heap),
      count(look.sockets),
      count(look.sessions),
      (look.cpuUs / 1e6).toFixed(1),
    ]);
    const notes = [
      `All grows by ${count(slope(looks.map(({ minute, bytes }) => [minute, bytes])) / 1_000)} kB a minute,`,
      `objects by ${count(slope(looks.map(({ minute, heap }) => [minute, heap])) / 1_000)} kB a minute.`,
    ];
    const text = `${table(['minute', 'all, MB', 'objects, MB', 'sockets', 'sessions', 'CPU so far, s'], rows)}\n\n${notes.join('\n')}`;
    return { title: `${count(sockets)} sockets with sessions for ${minutes} minutes`, text, data: looks };
  } finally {
    await stopPair(pair);
  }
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
