/** For tests: bundles tests that are written for Node so that they run in a page, on its GPU. */
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { fileOf, type PageFile } from '../bundle-page.ts';

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const pageGpu: Plugin = {
  name: 'page-gpu',
  setup({ onResolve }) {
    onResolve({ filter: /\/testing\/node-gpu\.js$/ }, () => ({ path: local('page-gpu.js') }));
  },
};

/** By its path in the page. */
export async function bundlePageTests(): Promise<[string, PageFile]> {
  const { outputFiles } = await build({
    entryPoints: [local('page-tests.js')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
    // Packages say that importing alone does nothing; importing a test does.
    ignoreAnnotations: true,
    alias: { 'node:test': local('node-test.js'), 'node:assert/strict': local('node-assert.js') },
    plugins: [pageGpu],
  });
  const path = '/page-tests.js';
  return [path, fileOf(path, outputFiles[0].contents, true)];
}
