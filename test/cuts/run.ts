import { onTestFinished } from 'vitest';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { badNetwork, ChaosProxy, Tally } from '../support/chaos.ts';
import { Random } from '../support/random.ts';
import { Actor } from './actor.ts';
import { check, type Finding } from './checker.ts';
import { comeAndGo, write } from './others.ts';
import { Witness } from './witness.ts';

/** What was cut meanwhile is taken up again within this. */
const catchUpMs = 60_000;
const lookMs = 20;
/** The network cuts several times a second: after this long without a cut nobody is there to be cut. */
const stuckMs = 30_000;

export interface RunOptions {
  seed: number;
  cuts: number;
  clients: number;
  /** Where gateways are; a connection leads to one of them. Others may write at the last one. */
  urls: [string, ...string[]];
  /** The gateways' storage, for what is true in the end. */
  store: StoreProvider;
  /** Whether half of the sessions have rooms, and services that come and go; default: yes. */
  rooms?: boolean;
  /** Called once, when half of the cuts are made. */
  halfway?(): Promise<void>;
}

export interface Report {
  findings: Finding[];
  excused: number;
  tally: Tally;
  events: number;
  commands: number;
  /** All of it in one line. */
  line: string;
}

/** Lets clients work through a bad network until it has cut so often, then compares what they saw with what is true. */
export async function run({ seed, cuts, clients, urls, store, rooms = true, halfway }: RunOptions): Promise<Report> {
  const began = performance.now();
  const random = new Random(seed);
  const tally = new Tally();
  const serviceTally = new Tally();
  const portOf = (url: string) => Number(new URL(url).port);
  const proxies: ChaosProxy[] = [];
  const proxyFor = async (own: Random, to: Tally, counts: () => boolean) => {
    const proxy = await ChaosProxy.start({
      target: () => portOf(own.pick(urls)),
      plan: () => badNetwork(own.fork(), { isLate: urls.length === 1 }),
      tally: to,
      counts,
    });
    proxies.push(proxy);
    onTestFinished(() => proxy.close());
    return proxy;
  };

  const services = await Promise.all(
    (rooms ? ['asr', 'tts', 'nlu'] : []).map(async (id, i) => {
      const own = random.fork();
      const url = i === 0 ? urls[0] : `http://127.0.0.1:${(await proxyFor(own.fork(), serviceTally, () => true)).port}`;
      return comeAndGo(url, id, own);
    }),
  );
  onTestFinished(() => Promise.all(services.map((service) => service.close())).then(() => {}));

  const actors = await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      const own = random.fork();
      const proxy: ChaosProxy = await proxyFor(own.fork(), tally, () => actor.isOpen);
      const room = {
        required_services: [],
        optional_services: ['asr', 'tts', 'nlu'],
        on_service_loss: 'degrade',
        client_join_timeout_s: 3_600,
      };
      const actor: Actor = new Actor({ name: `user-${i}`, proxy, random: own, wish: i % 2 === 0 || !rooms ? { room: false } : room });
      onTestFinished(() => actor.client.close());
      return actor;
    }),
  );
  await Promise.all(actors.map((actor) => actor.open()));
  const witnesses = actors.map(({ session }) => new Witness(store, session.id));
  onTestFinished(() => {
    for (const witness of witnesses) witness.stop();
  });

  const isEnough = () => tally.cuts >= cuts;
  const ids = actors.map(({ session }) => session.id);
  const writing = write(urls.at(-1) ?? '', ids, random.fork(), isEnough);
  const acting = actors.map((actor) => actor.act(isEnough));
  if (halfway) {
    await until(() => tally.cuts >= cuts / 2, catchUpMs * 10);
    await halfway();
  }
  // however slow the machine is: only where nothing is cut any more is something wrong
  for (let seen = -1; !isEnough() && tally.cuts > seen; ) {
    seen = tally.cuts;
    await until(() => tally.cuts > seen, stuckMs);
  }
  if (!isEnough())
    throw new Error(`seed ${seed}: only ${tally.cuts} cuts of ${cuts}; ${actors.map((actor) => actor.described).join('; ')}`);
  for (const proxy of proxies) proxy.calm();
  const [writings] = await Promise.all([writing, ...acting]);
  await Promise.all(services.map((service) => service.close()));

  const findings: Finding[] = [];
  let excused = 0;
  for (const [i, actor] of actors.entries()) {
    const witness = witnesses[i] as Witness;
    await until(async () => {
      await witness.read();
      return actor.session.seq === witness.log.at(-1)?.seq;
    }, catchUpMs);
    await actor.sayAgain(urls.at(-1) ?? '');
    const verdict = check(actor.history, await witness.truth(), writings.get(actor.session.id) ?? { said: [], changes: 0 });
    findings.push(...verdict.findings);
    excused += verdict.excused;
  }

  const events = actors.reduce((sum, { history }) => sum + history.delivered.length, 0);
  const commands = actors.reduce((sum, { history }) => sum + history.commands.length, 0);
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  const kinds = Object.entries(tally.kinds).map(([kind, n]) => `${kind} ${n}`);
  const of = (...faults: string[]) => findings.filter(({ fault }) => faults.includes(fault)).length;
  const line = [
    `${tally.cuts} cuts of ${clients} clients in ${seconds} s, seed ${seed}`,
    kinds.sort().join(', '),
    `${serviceTally.cuts} of services`,
    `${events} events: lost ${of('event lost')}, doubled ${of('event doubled')}, excused ${excused}`,
    `${commands} commands: lost ${of('command without effect', 'command unanswered')}, doubled ${of('command doubled')}`,
    `findings ${findings.length}`,
  ].join('; ');
  return { findings, excused, tally, events, commands, line };
}

/** Looks until it is so, or the time is over. */
async function until(isSo: () => boolean | Promise<boolean>, withinMs: number): Promise<void> {
  for (const end = performance.now() + withinMs; !(await isSo()) && performance.now() < end; ) {
    await new Promise((look) => setTimeout(look, lookMs));
  }
}
