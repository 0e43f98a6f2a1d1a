import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    reporters: ['default', './test/support/reporter.ts'],
    // no more than ends of what hangs: a test waits for what it needs, however long that takes
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 30_000, interval: 20 } },
    setupFiles: ['./test/support/patience.ts', './test/support/leaks.ts'],
    pool: 'forks',
    // the real parts (a media server, a browser) need the other cores
    maxWorkers: 2,
  },
});
