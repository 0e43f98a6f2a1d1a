import type { UserConsoleLog } from 'vitest';
import type { Reporter, SerializedError, TestModule, TestSuite, Vitest } from 'vitest/node';
import { leakIn } from './canary.ts';
import { notInstalled, type Part, parts } from './parts.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** What a test that ran in part did not do, and the line that does it. */
    leftOut?: string;
  }
}

/** Ends a run with the parts whose tests were left out, and with one line of counts that scripts can read. */
export default class Summary implements Reporter {
  #isWatching = false;
  #lines: string[] = [];
  /** Tests that printed a secret. */
  readonly #leaks: string[] = [];
  #vitest: Vitest | undefined;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
    this.#isWatching = vitest.config.watch;
    // at the exit, so that nothing (coverage, a late error) comes after it
    if (!this.#isWatching) process.once('exit', () => this.#print());
  }

  onUserConsoleLog({ content, taskId = '' }: UserConsoleLog): void {
    if (leakIn(content) === undefined) return;
    this.#leaks.push(`a secret was printed by ${this.#vitest?.state.idMap.get(taskId)?.fullName ?? 'nobody knows whom'}`);
    process.exitCode = 1;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const count = { passed: 0, failed: unhandled.length + this.#leaks.length, skipped: 0 };
    const leftOut = new Set<Part>();
    const inPart: string[] = [];
    for (const module of modules) {
      // errors of its own: it did not load, or a hook failed, and its tests did not run
      const suites: (TestModule | TestSuite)[] = [module, ...module.children.allSuites()];
      count.failed += suites.filter((suite) => suite.errors().length > 0).length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        const { leftOut: rest } = test.meta();
        if (rest !== undefined) inPart.push(rest);
        count[state === 'pending' ? 'skipped' : state]++;
        if (state !== 'skipped') continue;
        for (const part of Object.values(parts)) if (test.fullName.includes(notInstalled(part))) leftOut.add(part);
      }
    }
    this.#lines = [
      ...this.#leaks,
      ...[...leftOut].map((part) => `left out: tests that need ${part.name}: ${part.install}`),
      ...inPart.map((rest) => `left out: ${rest}`),
      `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`,
    ];
    if (this.#isWatching) this.#print();
  }

  #print(): void {
    if (this.#lines.length > 0) process.stdout.write(`${this.#lines.join('\n')}\n`);
  }
}
