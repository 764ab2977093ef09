/**
 * The page as files: entry modules and static files in, what a server sends out, with sizes. The worker and its threads are
 * modules of their own; onnxruntime is a chunk that is loaded only where prompts are embedded, or latents decoded, on the device.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type BuildOptions, build } from 'esbuild';

export interface PageFile {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly gzipBytes: number;
  /** Needed by whoever embeds prompts or decodes latents on the device, and by nobody else. */
  readonly optional: boolean;
}

/** By path, such as `/page.js`. */
export type PageFiles = ReadonlyMap<string, PageFile>;

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
};

/** Comes last in the bundle's service worker: it names what is to be there without a network. */
const SERVICE_WORKER = '/service-worker.js';
const ONNXRUNTIME = '/onnxruntime.wasm';

const resolve = createRequire(import.meta.url).resolve;
const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const COMMON = {
  bundle: true,
  minify: true,
  target: 'es2022',
  platform: 'browser',
  conditions: ['browser'],
  write: false,
  outdir: '/',
  // So that the names of outputs are their paths.
  absWorkingDir: '/',
  logLevel: 'silent',
} as const satisfies BuildOptions;

/** @param entries more modules of the page, by name: what tests bring */
export async function bundlePage(entries: Readonly<Record<string, string>> = {}): Promise<PageFiles> {
  const modules = await build({
    ...COMMON,
    entryPoints: {
      page: local('page/page.js'),
      worker: resolve('@edge-dit/runtime/browser/pipeline-worker'),
      'web-thread': resolve('@edge-dit/wasm-kernels/threads/web-thread'),
      ...entries,
    },
    format: 'esm',
    splitting: true,
    chunkNames: 'chunk-[hash]',
    metafile: true,
  });
  const files = new Map<string, PageFile>();
  for (const { path, contents } of modules.outputFiles) {
    const { inputs } = modules.metafile.outputs[path.slice(1)] ?? { inputs: {} };
    files.set(
      path,
      fileOf(
        path,
        contents,
        Object.keys(inputs).some((input) => input.includes('onnxruntime-web')),
      ),
    );
  }
  const folder = new URL('../public/', import.meta.url);
  for (const name of await readdir(folder)) {
    files.set(name === 'index.html' ? '/' : `/${name}`, fileOf(name, await readFile(new URL(name, folder))));
  }
  files.set(
    ONNXRUNTIME,
    fileOf(ONNXRUNTIME, await readFile(resolve('onnxruntime-web/ort-wasm-simd-threaded.wasm')), true),
  );
  files.set(SERVICE_WORKER, await serviceWorker(files));
  return files;
}

/** Gzipped bytes of what every visitor's browser runs: both engines, no onnxruntime. */
export function scriptBytes(files: PageFiles): number {
  const needed = [...files].filter(([path, { optional }]) => path.endsWith('.js') && !optional);
  return needed.reduce((sum, [, { gzipBytes }]) => sum + gzipBytes, 0);
}

async function serviceWorker(files: PageFiles): Promise<PageFile> {
  const hash = createHash('sha256');
  for (const [path, { body }] of files) hash.update(path).update(body);
  const pathsOf = (optional: boolean) =>
    [...files].filter(([, file]) => file.optional === optional).map(([path]) => path);
  const { outputFiles } = await build({
    ...COMMON,
    entryPoints: { 'service-worker': local('page/service-worker.js') },
    format: 'iife',
    define: {
      __VERSION__: JSON.stringify(hash.digest('hex').slice(0, 16)),
      __FILES__: JSON.stringify(pathsOf(false)),
      __OPTIONAL_FILES__: JSON.stringify(pathsOf(true)),
    },
  });
  return fileOf(SERVICE_WORKER, outputFiles[0].contents);
}

export function fileOf(path: string, contents: Uint8Array, optional = false): PageFile {
  const body = new Uint8Array(contents);
  return { type: TYPES[extname(path)], body, gzipBytes: gzipSync(body, { level: 9 }).length, optional };
}
