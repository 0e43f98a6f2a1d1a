import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, root } from './children.ts';
import type { Flood } from './load/flood.ts';
import type { Latency } from './load/healthy.ts';
import { count, type Section, table } from './report.ts';
import type { Stats } from './servers/stats.ts';
import { spread } from './statistics.ts';

const warmMs = 1_500;
const windowMs = 3_000;
/** Windows at the sink and at the gateway take turns: what else the machine does distorts both alike. */
const pairs = 3;
/** The flood has started to have its effect. */
const rampMs = 1_000;
/** What a healthy client's p99 may be, beside what it is where the same flood goes elsewhere. */
const most = 2;

interface Case {
  what: string;
  flood(made: Made): Flood;
  services?: number;
  sessions?: number;
  /** Sockets that follow the session, and read. */
  watchers?: number;
}

/** What was put into the gateway before. */
interface Made {
  /** A session with 200 messages. */
  session_id: string;
}

const cases: Case[] = [
  { what: 'pongs nobody asked for, 1 socket', flood: () => ({ sockets: 1, frames: ['pong'] }) },
  { what: 'the same, 5 sockets', flood: () => ({ sockets: 5, frames: ['pong'] }) },
  {
    what: '250 empty fragments a message, 450 messages a second, 20 sockets',
    flood: () => ({ sockets: 20, frames: ['fragments'], perSecond: 450 }),
  },
  {
    what: 'GetMessages limit 200, 400 a second, 1 socket',
    flood: ({ session_id }) => ({ sockets: 1, frames: [{ type: 'GetMessagesRequest', session_id, limit: 200 }], perSecond: 400 }),
  },
  {
    what: 'the same as fast as it is taken',
    flood: ({ session_id }) => ({ sockets: 1, frames: [{ type: 'GetMessagesRequest', session_id, limit: 200 }] }),
  },
  {
    what: 'ListSessions limit 100, 100 a second, 20 sockets',
    sessions: 100,
    flood: () => ({ sockets: 20, frames: [{ type: 'ListSessionsRequest', limit: 100 }], perSecond: 100 }),
  },
  {
    what: 'ListSessions by 100 sockets that never read',
    sessions: 100,
    flood: () => ({ sockets: 100, frames: [{ type: 'ListSessionsRequest', limit: 100 }], perSecond: 100, deaf: true }),
  },
  {
    what: 'sessions that ask for every service, of 1,000, 1 a second',
    services: 1_000,
    flood: () => ({
      sockets: 1,
      frames: [{ type: 'NewSessionRequest', user_identity: 'ada' }, { type: 'EndSessionRequest' }],
      perSecond: 1,
    }),
  },
  {
    what: 'registration of a held id, 400 a second, 1 socket',
    services: 1,
    flood: () => ({ sockets: 1, frames: [{ type: 'RegisterServiceRequest', service_id: 'service-0' }], perSecond: 400 }),
  },
  {
    what: 'messages of 16 kB, 50 a second, to 500 watchers of one session',
    watchers: 500,
    flood: ({ session_id }) => ({
      sockets: 1,
      frames: [{ type: 'AddMessageRequest', session_id, role: 'user', content: 'x'.repeat(16_000) }],
      perSecond: 50,
    }),
  },
  {
    what: 'frames of 60 kB of nothing but small lists, 2 a second, 200 sockets',
    flood: ({ session_id }) => ({
      sockets: 200,
      frames: [{ type: 'UpdateSessionRequest', session_id, context_updates: { a: Array.from({ length: 20_000 }, () => []) } }],
      perSecond: 2,
    }),
  },
];

interface Measured {
  what: string;
  /** Whose gateway. */
  checkout: string;
  elsewhere: Latency;
  here: Latency;
  ratio: number;
  /** How much larger the gateway's process was at the end of the flood. */
  grownMb: number;
  closed: number;
}

/**
 * A healthy client beside floods: how long its requests take, and how long where the same flood goes to a process that only reads it.
 * @param wanted which of the floods, from 1 on; none: all
 * @param against another checkout that is built: its gateway takes turns with this one
 */
export async function floodsSection(wanted: readonly number[] = [], against?: string): Promise<Section> {
  const checkouts = against === undefined ? [root] : [root, resolve(against)];
  const measured: Measured[] = [];
  for (const [i, one] of cases.entries()) {
    if (wanted.length > 0 && !wanted.includes(i + 1)) continue;
    const found = await measure(one, checkouts);
    for (const each of found) console.log(line(each).join(' | '));
    measured.push(...found);
  }
  const head = ['flood', 'p50, ms', 'p99, ms', 'p99 where it goes elsewhere, ms', 'ratio', 'gateway grew, MB', 'flooders closed'];
  const bad = measured.filter(({ ratio }) => ratio > most);
  const verdict = bad.length === 0 ? `No ratio is above ${most}.` : `Above ${most}: ${bad.map(({ what }) => what).join('; ')}.`;
  const text = `${table(head, measured.map(line))}\n\nMedians of ${pairs} pairs of windows. One Ping every 4 ms; a flooder that is closed comes back at once. Elsewhere: a process that reads and drops, on the gateway's core. ${verdict}`;
  return { title: 'A healthy client beside floods', text, data: measured };
}

const line = ({ what, checkout, elsewhere, here, ratio, grownMb, closed }: Measured) => [
  checkout === root ? what : `${what}, at ${checkout}`,
  count(here.p50),
  count(here.p99),
  count(elsewhere.p99),
  ratio.toFixed(2),
  grownMb.toFixed(0),
  count(closed),
];

async function measure({ what, flood, services = 0, sessions = 0, watchers = 0 }: Case, checkouts: readonly string[]): Promise<Measured[]> {
  const children: Child[] = [];
  const start = (script: string, role: 'server' | 'load', checkout = root) => {
    const child = new Child(script, role, 'ignore', checkout);
    children.push(child);
    return child;
  };
  const openTo = async (port: number) => {
    const healthy = start('load/healthy.js', 'load');
    await healthy.ask('open', { port });
    await healthy.ask('measure', { ms: warmMs });
    return healthy;
  };
  const prepared = async (checkout: string) => {
    const server = start('servers/gateway.js', 'server', checkout);
    const { port } = await server.ask<{ port: number }>('start', { limited: true });
    const made = await fill(port, sessions);
    if (services > 0) await register(start('load/flood.js', 'load'), port, services);
    if (watchers > 0) await watch(start('load/flood.js', 'load'), watchers, { port, session_id: made.session_id });
    return { checkout, server, port, made, healthy: await openTo(port), windows: [] as Windows[] };
  };
  try {
    const sink = start('servers/sink.js', 'server');
    const { port: sinkPort } = await sink.ask<{ port: number }>('start');
    const gateways: Awaited<ReturnType<typeof prepared>>[] = [];
    for (const checkout of checkouts) gateways.push(await prepared(checkout));

    const beside = async ({ healthy, made }: (typeof gateways)[number], target: number): Promise<Latency & { closed: number }> => {
      const flooder = start('load/flood.js', 'load');
      await flooder.ask('start', { port: target, ...flood(made) });
      await sleep(rampMs);
      const latency = await healthy.ask<Latency>('measure', { ms: windowMs });
      const { closed } = await flooder.ask<{ closed: number }>('said');
      await flooder.stop();
      return { ...latency, closed };
    };
    for (let i = 0; i < pairs; i++) {
      for (const gateway of gateways) {
        const elsewhere = await beside(gateway, sinkPort);
        const before = await gateway.server.ask<Stats>('memory');
        const peak = watchPeak(gateway.server);
        const here = await beside(gateway, gateway.port);
        gateway.windows.push({ elsewhere, here, grownMb: ((await peak()) - before.rss) / 1e6 });
      }
    }
    return gateways.map(({ checkout, windows }) => summed(what, checkout, windows));
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
}

interface Windows {
  elsewhere: Latency;
  here: Latency & { closed: number };
  grownMb: number;
}

function summed(what: string, checkout: string, windows: readonly Windows[]): Measured {
  const middle = (number: (pair: Windows) => number) => spread(windows.map(number)).median;
  const latency = (of: 'elsewhere' | 'here'): Latency => ({
    p50: middle((pair) => pair[of].p50),
    p99: middle((pair) => pair[of].p99),
    count: middle((pair) => pair[of].count),
  });
  return {
    what,
    checkout,
    elsewhere: latency('elsewhere'),
    here: latency('here'),
    ratio: middle(({ here, elsewhere }) => here.p99 / elsewhere.p99),
    grownMb: Math.max(...windows.map(({ grownMb }) => grownMb)),
    closed: middle(({ here }) => here.closed),
  };
}

/** Looks how large a process is, a few times a second. @returns ends that, and says the most */
function watchPeak(server: Child): () => Promise<number> {
  let most = 0;
  let over = false;
  const looks = (async () => {
    while (!over) {
      most = Math.max(most, (await server.ask<Stats>('stats')).rss);
      await sleep(250);
    }
  })();
  return async () => {
    over = true;
    await looks;
    return most;
  };
}

/** A session with 200 messages of 1 kB, and so many others with contexts of 60 kB. */
async function fill(port: number, sessions: number): Promise<Made> {
  const api = `http://127.0.0.1:${port}/api/v1/sessions`;
  const send = async (path: string, method: string, body: object) => {
    const response = await fetch(`${api}${path}`, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`the gateway could not be filled: ${response.status} ${await response.text()}`);
    return (await response.json()) as { session_id: string };
  };
  const { session_id } = await send('', 'POST', { user_identity: 'ada', room: false });
  for (let i = 0; i < 200; i++) await send(`/${session_id}/messages`, 'POST', { role: 'user', content: 'x'.repeat(1_000) });
  for (let i = 0; i < sessions; i++) {
    const { session_id } = await send('', 'POST', { user_identity: 'ada', room: false });
    for (const key of ['a', 'b', 'c', 'd']) await send(`/${session_id}`, 'PATCH', { context_updates: { [key]: 'y'.repeat(15_000) } });
  }
  return { session_id };
}

/** Opens a socket for each service, which then says nothing more. */
async function register(child: Child, port: number, services: number): Promise<void> {
  await child.ask('start', {
    port,
    sockets: services,
    first: { type: 'RegisterServiceRequest', service_id: 'service-%' },
    frames: [],
  } satisfies { port: number } & Flood);
  for (let registered = 0; registered < services; ) {
    await sleep(200);
    const { services: found } = (await (await fetch(`http://127.0.0.1:${port}/api/v1/stats`)).json()) as { services: number };
    registered = found;
  }
}

/** Opens sockets that follow a session, and read what comes. */
async function watch(child: Child, sockets: number, { port, session_id }: { port: number; session_id: string }): Promise<void> {
  await child.ask('start', { port, sockets, first: { type: 'WatchRequest', session_id }, frames: [] } satisfies { port: number } & Flood);
  // each is answered within a few milliseconds
  await sleep(warmMs);
}
