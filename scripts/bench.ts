// `npm run bench`: the gateway beside yardsticks, on this machine. What it prints is also written into bench-report/.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './bench/build.ts';
import { endChildren, root } from './bench/children.ts';
import { compare, comparisonSection, fallsShort } from './bench/compare.ts';
import { memorySection } from './bench/memory.ts';
import { profileSection } from './bench/profile.ts';
import { asMarkdown, type Section } from './bench/report.ts';
import type { Plan } from './bench/windows.ts';
import { workloads } from './bench/workloads.ts';

const usage = `npm run bench -- [options] [W1 W2 ...]     default: everything, in about ten minutes
  --quick               short windows, a first impression in about three minutes
  --profile             where the gateway's time goes in the named workloads, and nothing else`;

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean' }, profile: { type: 'boolean' }, help: { type: 'boolean' } },
  allowPositionals: true,
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const isQuick = values.quick ?? false;
const folder = join(root, 'bench-report');
/** Whatever hangs, the bench ends. */
const mostMs = 25 * 60_000;
const patienceMs = isQuick ? 60_000 : 9 * 60_000;

const patientUntil = Date.now() + patienceMs;
const plan: Plan = isQuick
  ? { rounds: 1, walks: 3, warmMs: 1_000, windowMs: 250, patientUntil }
  : { rounds: 3, walks: 4, warmMs: 1_500, windowMs: 400, patientUntil };

const wanted = (name: string) => positionals.length === 0 || positionals.includes(name);

async function* sections(): AsyncGenerator<Section> {
  if (values.profile) {
    for (const workload of workloads.filter(({ name }) => wanted(name))) yield await profileSection(workload, folder, 25);
    return;
  }
  for (const workload of workloads.filter(({ name }) => wanted(name))) {
    const comparison = await compare(workload, plan);
    yield comparisonSection(comparison);
    if (fallsShort(comparison)) yield await profileSection(workload, folder, 15);
  }
  if (wanted('W2')) yield await memorySection(isQuick ? 2_000 : 10_000);
}

async function end(code: number): Promise<never> {
  await endChildren();
  process.exit(code);
}
process.on('SIGINT', () => void end(130));
process.on('SIGTERM', () => void end(143));
setTimeout(() => {
  console.error('the bench did not finish in time');
  void end(1);
}, mostMs).unref();

async function bench(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  build();
  const done: Section[] = [];
  for await (const section of sections()) {
    console.log(`\n${asMarkdown([section])}`);
    done.push(section);
  }
  writeFileSync(join(folder, 'report.md'), `# Bench\n\n${asMarkdown(done)}`);
  writeFileSync(join(folder, 'report.json'), JSON.stringify(done, null, 2));
}

await bench().then(
  () => end(0),
  (error) => {
    console.error(error);
    return end(1);
  },
);
