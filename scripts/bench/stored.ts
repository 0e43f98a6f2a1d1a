import { compare, remarks, resultTable } from './compare.ts';
import { bare, gateway } from './contestants.ts';
import type { Section } from './report.ts';
import { type Storage, startPostgres, startRedis } from './storages.ts';
import type { Plan } from './windows.ts';
import { workloads } from './workloads.ts';

/** Sessions on shared storages, beside sessions in memory. */
export async function* storedSections(plan: Plan): AsyncGenerator<Section> {
  const storages: Storage[] = [];
  const missing: string[] = [];
  for (const start of [startRedis, startPostgres]) {
    await start().then(
      (storage) => storages.push(storage),
      (error: Error) => missing.push(`Left out, ${start === startRedis ? 'Redis' : 'PostgreSQL'}: ${error.message}.`),
    );
  }
  try {
    const stored = storages.map(({ name, url }) => ({ ...gateway, name: `gateway on ${name}`, storage: url }));
    for (const workload of workloads.filter(({ name }) => ['W3', 'W4'].includes(name))) {
      const comparison = await compare(workload, plan, [gateway, bare, ...stored]);
      const text = [
        resultTable(comparison.results),
        '',
        ...missing,
        ...remarks(comparison),
        'Redis writes nothing to the disk, PostgreSQL every commit; both share the core of the load.',
      ].join('\n');
      yield { title: `${workload.name} on shared storage`, text, data: comparison };
    }
  } finally {
    await Promise.all(storages.map((storage) => storage.stop()));
  }
}
