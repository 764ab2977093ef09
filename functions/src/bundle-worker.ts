/**
 * Bundles an endpoint. In: an entry module, and whether it is for an isolate or a server. Out: ES modules and WebAssembly
 * modules, as files and as Miniflare takes them, with their sizes and what these are made of. What is imported
 * dynamically gets a module of its own, so that an isolate that never needs it never runs it.
 */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type BuildFailure, type BuildOptions, build, type OnResolveResult, type Plugin } from 'esbuild';
import { minify as minifyAgain } from 'terser';

/** Packages in the older module system ask for Node's own modules by `require`. */
const REQUIRE_BANNER =
  "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);";

export interface BundleWorkerOptions {
  /** The worker's main module, TypeScript or JavaScript. */
  readonly entry: string;
  /** Folder for the files; created. */
  readonly outdir: string;
  /** Constants of the build, such as `{ __VERSION__: '"1.0"' }`. */
  readonly define?: Readonly<Record<string, string>>;
  readonly minify?: boolean;
  /** Default `isolate`. */
  readonly host?: keyof typeof HOSTS;
  /** Of the main module, without its extension. Default `worker`. */
  readonly name?: string;
  /** Folders of packages that the entry may import though none is near it. */
  readonly packageFolders?: readonly string[];
}

export interface WorkerModule {
  readonly type: 'ESModule' | 'CompiledWasm';
  /** Relative to `outdir`, which is the root by which the modules import each other. */
  readonly path: string;
  readonly contents: Uint8Array<ArrayBuffer>;
  readonly bytes: number;
  readonly gzipBytes: number;
  /** What it is made of, largest first: packages and own sources, with the bytes that esbuild left of each. */
  readonly parts: readonly BundlePart[];
}

export interface BundlePart {
  readonly source: string;
  readonly bytes: number;
}

export interface WorkerBundle {
  readonly outdir: string;
  /** The main module first. Miniflare takes these as `modules`, with `modulesRoot: '.'`. */
  readonly modules: readonly WorkerModule[];
  /** Absolute paths of the sources that are no installed package: what to watch. */
  readonly sources: readonly string[];
}

/**
 * Isolates take WebAssembly as modules that the host compiles, and have no URL of their own, of which onnxruntime only asks
 * that there is one. Servers (Node, Deno, Lambda) compile it from the file beside the bundle, when it is first imported.
 */
const HOSTS = {
  isolate: {
    extension: '.js',
    build: {
      platform: 'browser',
      conditions: ['workerd', 'worker', 'browser'],
      external: ['node:*', 'cloudflare:*'],
    },
    define: { 'import.meta.url': '"file:///worker.js"' },
  },
  server: {
    extension: '.mjs',
    build: { platform: 'node', banner: { js: REQUIRE_BANNER } },
    define: {},
  },
} satisfies Record<string, { extension: string; build: BuildOptions; define: Record<string, string> }>;

/** @throws `invalid-argument` with esbuild's messages when the entry cannot be bundled */
export async function bundleWorker(options: BundleWorkerOptions): Promise<WorkerBundle> {
  const { entry, outdir, define = {}, minify = true, host = 'isolate', name = 'worker', packageFolders = [] } = options;
  const { extension, build: settings, define: constants } = HOSTS[host];
  const wasm = new Map<string, string>();
  const result = await build({
    ...settings,
    entryPoints: { [name]: entry },
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    mainFields: ['module', 'main'],
    define: { ...constants, ...define },
    minify,
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    outExtension: { '.js': extension },
    nodePaths: [...packageFolders],
    metafile: true,
    write: true,
    logLevel: 'silent',
    plugins: [host === 'isolate' ? wasmModules(wasm) : wasmFiles(wasm)],
  }).catch((cause: BuildFailure) => {
    throw new EdgeDitError('invalid-argument', `cannot bundle ${entry}: ${cause.message}`, { cause });
  });
  const main = name + extension;
  const scripts = Object.entries(result.metafile.outputs).map(([path, { inputs }]) => ({
    path: relative(resolve(outdir), resolve(path)),
    parts: partsOf(inputs),
  }));
  scripts.sort((a, b) => Number(b.path === main) - Number(a.path === main) || (a.path < b.path ? -1 : 1));
  // Where every byte is counted.
  if (minify && host === 'isolate') await Promise.all(scripts.map(({ path }) => shrink(join(outdir, path))));
  const modules = await Promise.all([
    ...scripts.map(({ path, parts }) => moduleOf('ESModule', join(outdir, path), path, parts)),
    ...[...wasm].map(async ([path, source]) => {
      await copyFile(source, join(outdir, path));
      return moduleOf('CompiledWasm', join(outdir, path), path, []);
    }),
  ]);
  const sources = Object.keys(result.metafile.inputs)
    .filter((path) => !path.includes('node_modules/') && !path.includes(':'))
    .map((path) => resolve(path));
  return { outdir, modules, sources };
}

function partsOf(inputs: Readonly<Record<string, { readonly bytesInOutput: number }>>): BundlePart[] {
  const bytes = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const source = sourceOf(path);
    bytes.set(source, (bytes.get(source) ?? 0) + bytesInOutput);
  }
  return [...bytes]
    .filter(([, size]) => size > 0)
    .map(([source, size]) => ({ source, bytes: size }))
    .sort((a, b) => b.bytes - a.bytes);
}

/** An installed package by its name, edge-dit's own code by package and module. */
function sourceOf(path: string): string {
  const installed = path.lastIndexOf('node_modules/');
  const inside = installed < 0 ? path.replace(/^(\.\.\/)+/, '') : path.slice(installed + 'node_modules/'.length);
  if (installed < 0 || inside.startsWith('@edge-dit/')) return inside;
  return inside.split('/', inside.startsWith('@') ? 2 : 1).join('/');
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

async function moduleOf(
  type: WorkerModule['type'],
  file: string,
  path: string,
  parts: readonly BundlePart[],
): Promise<WorkerModule> {
  const contents = new Uint8Array(await readFile(file));
  const gzipBytes = gzipSync(contents, { level: 9 }).length;
  return { type, path, contents, bytes: contents.length, gzipBytes, parts };
}

/** Leaves `.wasm` imports in place under their file name, and notes which files they are. */
function wasmModules(found: Map<string, string>): Plugin {
  return wasmPlugin(found, (name) => ({ path: `./${name}`, external: true }));
}

/** Makes of a `.wasm` import a module that reads and compiles the file beside the bundle. */
function wasmFiles(found: Map<string, string>): Plugin {
  const plugin = wasmPlugin(found, (name) => ({ path: name, namespace: WASM_FILE }));
  return {
    name: plugin.name,
    setup(build) {
      plugin.setup(build);
      build.onLoad({ filter: /./, namespace: WASM_FILE }, ({ path }) => ({
        contents: `import { readFile } from 'node:fs/promises';
          export default await WebAssembly.compile(await readFile(new URL('./${path}', import.meta.url)));`,
      }));
    },
  };
}

const WASM_FILE = 'wasm-file';

function wasmPlugin(found: Map<string, string>, place: (name: string) => OnResolveResult): Plugin {
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
        return place(name);
      });
    },
  };
}
