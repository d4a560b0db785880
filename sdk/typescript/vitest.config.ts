import { defineConfig } from 'vitest/config';

/** WebKit is a command of its own: hack/sdk webkit. */
const webkit = process.env.WSGATEWAY_SDK === 'webkit';

export default defineConfig({
  test: {
    include: webkit ? ['test/webkit/*.test.ts'] : ['test/{unit,gateway,browser}/*.test.ts', 'test/unit/*.test.tsx'],
    globalSetup: 'test/support/build.ts',
    // Conditions are met within a second; the rest is for a machine that compiles at the same time.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Real servers and a browser share two cores with the tests.
    maxWorkers: 2,
  },
});
