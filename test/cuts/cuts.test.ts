import { expect, test } from 'vitest';
import { run } from './run.ts';
import { startStage } from './stage.ts';

const all = 10_000;
const cuts = process.env.TEST_REQUIRE === 'all' ? all : 2_000;

test('a socket that breaks loses nothing and doubles nothing', { timeout: 900_000 }, async ({ task }) => {
  if (cuts < all) task.meta.leftOut = `${all - cuts} of ${all} cuts: TEST_REQUIRE=all npm test`;
  const { url, store } = await startStage();
  // set it to what a run printed to have that run again, as far as the network allows
  const seed = Number(process.env.CUTS_SEED ?? Date.now() % 1_000_000);
  const { findings, excused, tally, line } = await run({ seed, cuts, clients: 64, urls: [url], store });
  console.log(line);
  expect(findings.slice(0, 20)).toEqual([]);
  expect(excused).toBe(0);
  expect(tally.cuts).toBeGreaterThanOrEqual(cuts);
});
