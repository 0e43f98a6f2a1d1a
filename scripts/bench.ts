// `npm run bench`: the gateway beside yardsticks, on this machine. What it prints is also written into bench-report/.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { againstSection, buildOther } from './bench/against.ts';
import { build } from './bench/build.ts';
import { chart, type Theme } from './bench/chart.ts';
import { leaveServerAlone, root } from './bench/children.ts';
import { type Comparison, compare, comparisonSection, fallsShort, ratioOf } from './bench/compare.ts';
import { bare, gateway, socketio } from './bench/contestants.ts';
import { stopAll } from './bench/ending.ts';
import { floodsSection } from './bench/floods.ts';
import { growthSection } from './bench/growth.ts';
import { memorySection } from './bench/memory.ts';
import { profileSection } from './bench/profile.ts';
import { asMarkdown, conditions, type Section } from './bench/report.ts';
import { soakSection } from './bench/soak.ts';
import { storeCallsSection } from './bench/store-calls.ts';
import { storedSections } from './bench/stored.ts';
import type { Plan } from './bench/windows.ts';
import { type Workload, workloads } from './bench/workloads.ts';

const usage = `npm run bench -- [options] [W1 W2 W3 W4 W5 W6 storage growth]     default: all of them, in about ten minutes
  --quick                       short windows and few sockets: a first impression in about three minutes
  --against <folder>            the gateway's CPU for each unit beside that of another checkout, in pairs of windows, and nothing else
  --profile                     where the gateway's time goes in the named workloads, and nothing else
  --floods [numbers]            a healthy client beside peers that mean harm, and nothing else: all in about five minutes, or only these;
                                with --against, the other gateway takes turns with this one
  --store-calls                 what one session with three services asks of its storage, by kind of call, and nothing else: half a minute
  --soak [minutes] [sockets]    idle sockets with sessions, and nothing else; default: 10 minutes, 19000 sockets`;

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    against: { type: 'string' },
    profile: { type: 'boolean' },
    soak: { type: 'boolean' },
    floods: { type: 'boolean' },
    'store-calls': { type: 'boolean' },
    help: { type: 'boolean' },
  },
  allowPositionals: true,
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const minute = 60_000;
const [soakMinutes = 10, soakSockets = 19_000] = values.soak ? positionals.map(Number) : [];
/** Whatever hangs, the bench ends. */
const mostMs = (values.soak ? soakMinutes + 10 : 20) * minute;
const patientUntil = Date.now() + (values.quick ? 1 : 8) * minute;
const plan: Plan = values.quick
  ? { rounds: 1, walks: 2, warmMs: 2_500, windowMs: 250, patientUntil }
  : { rounds: 2, walks: 3, warmMs: 5_000, windowMs: 400, patientUntil };
/** Where the numbers stand beside each other, and not against a target. */
const shortPlan: Plan = { ...plan, rounds: 1, walks: 2 };
const [few, many] = [15, 25];

const folder = join(root, 'bench-report');
const isWanted = (name: string) => positionals.length === 0 || positionals.includes(name);
const wanted = workloads.filter(({ name }) => isWanted(name));
const comparisons: Comparison[] = [];

async function* sections(): AsyncGenerator<Section> {
  if (values.soak) return yield* part('soak', () => only(soakSection(soakMinutes, soakSockets)));
  if (values.floods) {
    if (values.against !== undefined) buildOther(values.against);
    return yield* part('floods', () => only(floodsSection(positionals.map(Number), values.against)));
  }
  if (values['store-calls']) return yield* part('store calls', () => only(storeCallsSection()));
  if (values.against !== undefined) {
    buildOther(values.against);
    for (const workload of wanted) yield* part(workload.name, () => only(againstSection(values.against as string, workload)));
    return;
  }
  if (values.profile) {
    for (const workload of wanted) yield* part(workload.name, () => only(profileSection(workload, folder, many)));
    return;
  }
  for (const workload of wanted) yield* part(`${workload.name}: ${workload.what}`, () => compared(workload));
  if (isWanted('W2')) yield* part('W2', () => only(memorySection(values.quick ? 1 : 3)));
  if (isWanted('storage')) yield* part('storage', () => storedSections(shortPlan));
  if (isWanted('growth')) yield* part('growth', () => only(growthSection(shortPlan, values.quick ? 0.2 : 1)));
}

async function* compared(workload: Workload): AsyncGenerator<Section> {
  const comparison = await compare(workload, plan);
  comparisons.push(comparison);
  yield comparisonSection(comparison);
  if (fallsShort(comparison) && !values.quick) yield await profileSection(workload, folder, few);
}

async function* only(section: Promise<Section>): AsyncGenerator<Section> {
  yield await section;
}

/** What cannot be measured is said in its place, and the rest goes on. */
async function* part(title: string, make: () => AsyncGenerator<Section>): AsyncGenerator<Section> {
  try {
    yield* make();
  } catch (error) {
    process.exitCode = 1;
    yield { title, text: `Not measured: ${(error as Error).message.split('\n')[0]}`, data: null };
  }
}

/** Into the project where it is the whole bench, else beside the report. */
function writeCharts(): void {
  const groups = comparisons.map((comparison) => ({
    what: comparison.workload.what,
    values: [gateway, socketio].map((contestant) => ratioOf(comparison, contestant)?.median),
  }));
  if (groups.length === 0) return;
  const isWhole = positionals.length === 0 && !values.quick;
  for (const theme of ['light', 'dark'] satisfies Theme[]) {
    const svg = chart(theme, [gateway.name, socketio.name], bare.name, groups);
    writeFileSync(join(isWhole ? join(root, 'scripts/bench') : folder, `chart-${theme}.svg`), svg);
  }
}

async function bench(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  build();
  leaveServerAlone();
  const done: Section[] = [conditions()];
  const say = (section: Section) => console.log(`\n${asMarkdown([section])}`);
  say(done[0] as Section);
  try {
    for await (const section of sections()) {
      say(section);
      done.push(section);
    }
    writeCharts();
  } finally {
    // also of a bench that broke off
    writeFileSync(join(folder, 'report.md'), `# Bench\n\n${asMarkdown(done)}`);
    writeFileSync(join(folder, 'report.json'), `${JSON.stringify(done, null, 2)}\n`);
  }
}

async function end(code: number): Promise<never> {
  await stopAll();
  process.exit(code);
}
process.on('SIGINT', () => void end(130));
process.on('SIGTERM', () => void end(143));
setTimeout(() => {
  console.error('the bench did not finish in time');
  void end(1);
}, mostMs).unref();

await bench().then(
  () => end(process.exitCode === 1 ? 1 : 0),
  (error) => {
    console.error(error);
    return end(1);
  },
);
