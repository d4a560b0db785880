import { defineConfig } from 'tsdown';

const common = { platform: 'neutral', target: 'es2022', clean: false } as const;
const js = () => ({ js: '.js', dts: '.d.ts' });

export default defineConfig([
  {
    ...common,
    entry: {
      index: 'src/index.ts',
      react: 'src/react.tsx',
      'shared-token': 'src/shared-token.ts',
      debug: 'src/debug.ts',
      hidden: 'src/hidden.ts',
      iterate: 'src/iterate.ts',
      migrate: 'src/migrate.ts',
      shared: 'src/shared.ts',
      tanstack: 'src/tanstack.ts',
      'shared-worker': 'src/shared-worker.ts',
    },
    format: 'esm',
    dts: true,
    deps: { neverBundle: ['react', 'react/jsx-runtime', '@tanstack/query-core'] },
    outExtensions: js,
  },
  // For pages without a bundler; the size of the client is measured by these files.
  {
    ...common,
    entry: { wsgateway: 'src/index.ts' },
    format: 'esm',
    dts: false,
    minify: true,
    outDir: 'dist/min',
    outExtensions: js,
    outputOptions: { chunkFileNames: '[name].js' },
  },
  // For the console page of the gateway, which is one file: a script that defines `wsgateway`.
  {
    ...common,
    entry: { client: 'src/index.ts' },
    format: 'iife',
    globalName: 'wsgateway',
    dts: false,
    minify: true,
    outDir: 'dist/console',
    outputOptions: { codeSplitting: false, entryFileNames: 'client.js' },
  },
]);
