/**
 * Bundles a worker for V8 isolates. In: an entry module. Out: ES modules and WebAssembly modules, as files and as
 * Miniflare takes them, with their sizes. A `.wasm` import becomes a module of the worker, compiled by the host.
 * What is imported dynamically gets a module of its own, so that an isolate that never needs it never runs it.
 */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type BuildFailure, build, type Plugin } from 'esbuild';
import { minify as minifyAgain } from 'terser';

export interface BundleWorkerOptions {
  /** The worker's main module, TypeScript or JavaScript. */
  readonly entry: string;
  /** Folder for the files; created. */
  readonly outdir: string;
  /** Constants of the build, such as `{ __VERSION__: '"1.0"' }`. */
  readonly define?: Readonly<Record<string, string>>;
  readonly minify?: boolean;
}

export interface WorkerModule {
  readonly type: 'ESModule' | 'CompiledWasm';
  /** Relative to `outdir`, which is the root by which the modules import each other. */
  readonly path: string;
  readonly contents: Uint8Array<ArrayBuffer>;
  readonly bytes: number;
  readonly gzipBytes: number;
}

export interface WorkerBundle {
  readonly outdir: string;
  /** The main module first. Miniflare takes these as `modules`, with `modulesRoot: '.'`. */
  readonly modules: readonly WorkerModule[];
}

/** @throws `invalid-argument` with esbuild's messages when the entry cannot be bundled */
export async function bundleWorker(options: BundleWorkerOptions): Promise<WorkerBundle> {
  const { entry, outdir, define = {}, minify = true } = options;
  const wasm = new Map<string, string>();
  const result = await build({
    entryPoints: { worker: entry },
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
    mainFields: ['module', 'main'],
    external: ['node:*', 'cloudflare:*'],
    // Isolates have no URL of their own; onnxruntime only asks that there is one.
    define: { 'import.meta.url': '"file:///worker.js"', ...define },
    minify,
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    metafile: true,
    write: true,
    logLevel: 'silent',
    plugins: [wasmModules(wasm)],
  }).catch((cause: BuildFailure) => {
    throw new EdgeDitError('invalid-argument', `cannot bundle ${entry}: ${cause.message}`, { cause });
  });
  const scripts = Object.keys(result.metafile.outputs).map((path) => relative(resolve(outdir), resolve(path)));
  scripts.sort((a, b) => Number(b === 'worker.js') - Number(a === 'worker.js') || (a < b ? -1 : 1));
  if (minify) await Promise.all(scripts.map((path) => shrink(join(outdir, path))));
  const modules = await Promise.all([
    ...scripts.map((path) => moduleOf('ESModule', path, join(outdir, path))),
    ...[...wasm].map(async ([path, source]) => {
      await copyFile(source, join(outdir, path));
      return moduleOf('CompiledWasm', path, join(outdir, path));
    }),
  ]);
  return { outdir, modules };
}

/** What was minified in this process: workers that differ in their constants share most modules. */
const shrunk = new Map<string, string>();

/**
 * Terser takes 4% more off what esbuild has minified. More than its safe defaults is not asked of it: further passes
 * take seconds for a hundred bytes, and inlining of larger functions makes the worker larger.
 */
async function shrink(path: string): Promise<void> {
  const source = await readFile(path, 'utf8');
  let code = shrunk.get(source);
  if (code === undefined) {
    ({ code = source } = await minifyAgain(source, { module: true, ecma: 2022, compress: { inline: 1 } }));
    shrunk.set(source, code);
  }
  await writeFile(path, code);
}

async function moduleOf(type: WorkerModule['type'], path: string, source: string): Promise<WorkerModule> {
  const contents = new Uint8Array(await readFile(source));
  return { type, path, contents, bytes: contents.length, gzipBytes: gzipSync(contents, { level: 9 }).length };
}

/** Leaves `.wasm` imports in place under their file name, and notes which files they are. */
function wasmModules(found: Map<string, string>): Plugin {
  return {
    name: 'wasm-modules',
    setup({ onResolve, resolve: resolvePath }) {
      onResolve({ filter: /\.wasm$/ }, async ({ path, pluginData, ...from }) => {
        if (pluginData === 'resolved') return undefined;
        const resolved = await resolvePath(path, { ...from, pluginData: 'resolved' });
        if (resolved.errors.length > 0) return resolved;
        const name = basename(resolved.path);
        const other = found.get(name);
        if (other !== undefined && other !== resolved.path) {
          return { errors: [{ text: `two WebAssembly modules are named ${name}: ${other} and ${resolved.path}` }] };
        }
        found.set(name, resolved.path);
        return { path: `./${name}`, external: true };
      });
    },
  };
}
