// What one session asks of its storage: a client's socket, three required services on their own sockets, ready, active, ended by its client.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { SUBPROTOCOL } from '../../protocol/version.ts';
import { loadConfig } from '../../src/config-load.ts';
import { startGateway } from '../../src/gateway.ts';
import { makeLog } from '../../src/log/log.ts';
import type { Reach, Rooms, StoreProvider } from '../../src/sessions/ports.ts';
import type { Participant } from '../../src/sessions/record.ts';
import { openStore, registerStoreProvider } from '../../src/store/open.ts';
import { type Section, table } from './report.ts';
import { type Storage, startPostgres, startRedis } from './storages.ts';

const sessionCount = 5;
const services = ['asr', 'llm', 'tts'];
/** After the end: what still follows is counted too. */
const quietMs = 300;
const patienceMs = 20_000;

/** Calls that belong to one session; the others are made at intervals, for all sessions. */
const counted = [
  'saveSession',
  'loadSession',
  'eventsAfter',
  'subscribe',
  'unsubscribe',
  'holderOf',
  'findMessage',
  'messagesAfter',
  'deleteSession',
] as const;
type Counted = (typeof counted)[number];
type Counts = Record<Counted, number>;

const none = (): Counts => Object.fromEntries(counted.map((name) => [name, 0])) as Counts;

/** A provider whose calls are counted. */
function counting(provider: StoreProvider, counts: () => Counts): StoreProvider {
  const wrap = <N extends Counted>(name: N): StoreProvider[N] =>
    ((...args: unknown[]) => {
      counts()[name] += 1;
      return (provider[name] as (...args: unknown[]) => unknown)(...args);
    }) as StoreProvider[N];
  return { ...provider, ...(Object.fromEntries(counted.map((name) => [name, wrap(name)])) as Pick<StoreProvider, Counted>) };
}

/** Rooms that are there at once: what LiveKit takes is not what is counted here. */
class Instantly implements Rooms {
  readonly url = 'ws://livekit.bench';
  readonly mode = 'create';
  readonly isNowhere = false;
  readonly reach: Reach = { ever: true, downSince: undefined };
  readonly #rooms = new Map<string, Participant[]>();

  join(name: string, ...identities: string[]): void {
    const joined_at = Date.now();
    this.#rooms.get(name)?.push(...identities.map((identity) => ({ identity, sid: `PA_${identity}`, kind: 'standard', joined_at })));
  }

  async create({ name }: { name: string }): Promise<void> {
    this.#rooms.set(name, []);
  }

  async remove(name: string): Promise<void> {
    this.#rooms.delete(name);
  }

  participants = async (name: string) => this.#rooms.get(name)?.slice();
  list = async () => [...this.#rooms.keys()].map((name) => ({ name, metadata: '' }));
  ping = async () => true;
  clientToken = async () => 'client-token';
  serviceToken = async () => 'service-token';
  managerToken = async () => 'manager-token';
}

type Frame = { type: string; [field: string]: unknown };

/** A socket whose frames are waited for by type, in any order. */
class Peer {
  readonly #ws: WebSocket;
  readonly #came: Frame[] = [];
  #look = () => {};

  constructor(url: string, answer?: (frame: Frame, send: (frame: object) => void) => void) {
    this.#ws = new WebSocket(`${url.replace('http', 'ws')}/ws`, SUBPROTOCOL);
    this.#ws.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Frame;
      answer?.(frame, (reply) => this.send(reply));
      this.#came.push(frame);
      this.#look();
    });
  }

  send(frame: object): void {
    this.#ws.send(JSON.stringify(frame));
  }

  async next(type: string): Promise<Frame> {
    for (const until = Date.now() + patienceMs; Date.now() < until; ) {
      const at = this.#came.findIndex((frame) => frame.type === type || frame.type === 'Error');
      const [found] = at < 0 ? [] : this.#came.splice(at, 1);
      if (found?.type === 'Error') throw new Error(JSON.stringify(found));
      if (found) return found;
      await Promise.race([new Promise<void>((woken) => (this.#look = woken)), sleep(100)]);
    }
    throw new Error(`no ${type} came`);
  }

  async close(): Promise<void> {
    this.#ws.close();
    await once(this.#ws, 'close');
  }
}

function serve({ type, assignment_id }: Frame, send: (frame: object) => void): void {
  if (type === 'JoinRoomRequest') {
    send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    send({ type: 'ServiceReady', assignment_id });
  } else if (type === 'LeaveRoomRequest') send({ type: 'ServiceLeft', assignment_id, clean: true });
}

/** The life of some sessions, one after the other. @returns the calls that each of them took */
async function callsOf(storage: string): Promise<Counts[]> {
  let counts = none();
  registerStoreProvider('counted', async (options) => counting(await openStore({ url: storage }, options), () => counts));
  const rooms = new Instantly();
  const config = loadConfig({ SERVER_PORT: '0', LIVEKIT_MODE: 'on_join', STORAGE_URL: 'counted:' });
  const livekit = { mode: 'create', serverUrl: rooms.url, apiKey: 'bench', apiSecret: 'a-secret-of-at-least-32-characters' } as const;
  const gateway = await startGateway({ config, livekit, log: makeLog('silent'), rooms });
  try {
    const lives: Counts[] = [];
    const peers = services.map(() => new Peer(gateway.url, serve));
    for (const [i, peer] of peers.entries()) {
      await peer.next('Hello');
      peer.send({ type: 'RegisterServiceRequest', service_id: services[i] });
      await peer.next('RegisterServiceResponse');
    }
    for (let n = 0; n < sessionCount; n++) {
      counts = none();
      lives.push(counts);
      const client = new Peer(gateway.url);
      await client.next('Hello');
      client.send({ type: 'NewSessionRequest', id: 'new', user_identity: `user-${n}`, required_services: services });
      const { livekit_room } = await client.next('NewSessionResponse');
      await client.next('SessionReady');
      rooms.join(String(livekit_room), `user-${n}`, ...services);
      await client.next('SessionActive');
      client.send({ type: 'EndSessionRequest', id: 'end' });
      await client.next('SessionEnded');
      await sleep(quietMs);
      await client.close();
    }
    for (const peer of peers) await peer.close();
    return lives;
  } finally {
    await gateway.close();
  }
}

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

export async function storeCallsSection(): Promise<Section> {
  const data: Record<string, Counts> = {};
  const missing: string[] = [];
  const starts: [string, () => Promise<Pick<Storage, 'name' | 'url' | 'stop'>>][] = [
    ['memory', async () => ({ name: 'memory', url: 'memory:', stop: async () => {} })],
    ['Redis', startRedis],
    ['PostgreSQL', startPostgres],
  ];
  for (const [name, start] of starts) {
    const storage = await start().catch((error: Error) => void missing.push(`Left out, ${name}: ${error.message}.`));
    if (!storage) continue;
    try {
      const lives = await callsOf(storage.url);
      data[name] = Object.fromEntries(counted.map((call) => [call, median(lives.map((life) => life[call]))])) as Counts;
    } finally {
      await storage.stop();
    }
  }
  const names = Object.keys(data);
  const rows = counted.map((call) => [call, ...names.map((name) => `${data[name]?.[call]}`)]);
  const sums = names.map((name) => `${counted.reduce((sum, call) => sum + (data[name]?.[call] ?? 0), 0)}`);
  const text = [
    table(['call', ...names], [...rows, ['all', ...sums]]),
    '',
    ...missing,
    `One client, three required services, all on sockets; created, ready, active, ended by its client. The median of ${sessionCount} sessions.`,
    'What is called at intervals for all sessions together (due, beat, nodes, lists) is left out.',
  ].join('\n');
  return { title: 'Store calls in the life of one session', text, data };
}
