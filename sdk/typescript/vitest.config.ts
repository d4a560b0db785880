import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'test/**/*.test.tsx'],
    globalSetup: 'test/support/build.ts',
    // Conditions are met within a second; the rest is for a machine that compiles at the same time.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Real servers and a browser share two cores with the tests.
    maxWorkers: 2,
  },
});
