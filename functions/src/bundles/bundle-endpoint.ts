/** A place to deploy to in, a folder with all that it needs out, and whether the place takes that many bytes. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { bundleWorker, type WorkerBundle } from '../bundle-worker.ts';
import type { BundleTarget } from './bundle-target.ts';

export interface BundleEndpointOptions {
  readonly target: BundleTarget;
  /** Created; what an earlier bundle left in it goes, and it must hold nothing else. */
  readonly outdir: string;
  /** Instead of the target's own module. */
  readonly entry?: string;
  /** Variables of the endpoint; those that are set where it runs come before them. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Instead of what the target takes. */
  readonly maxGzipBytes?: number;
  readonly minify?: boolean;
}

export interface EndpointBundle extends WorkerBundle {
  readonly bytes: number;
  readonly gzipBytes: number;
  /** Undefined: there is none. */
  readonly maxGzipBytes: number | undefined;
}

/** Of the bundle's folder: its modules, their sizes, and what they are made of. */
export const REPORT = 'bundle.json';

/** Where packages of edge-dit are installed, for entries in folders that have none. */
const INSTALLED = ['../../../node_modules', '../../../..'].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/** @throws EdgeDitError `invalid-argument` with esbuild's messages, or for a folder that holds other things */
export async function bundleEndpoint(options: BundleEndpointOptions): Promise<EndpointBundle> {
  const { target, outdir, entry = fileURLToPath(target.entry), variables, minify } = options;
  await clear(outdir);
  const bundle = await bundleWorker({
    entry,
    outdir,
    host: target.host,
    name: target.mainName,
    minify,
    define: { __EDGE_DIT_VARIABLES__: JSON.stringify(JSON.stringify(variables ?? {})) },
    packageFolders: INSTALLED,
  });
  const total = (size: 'bytes' | 'gzipBytes') => bundle.modules.reduce((sum, module) => sum + module[size], 0);
  const { maxGzipBytes = target.maxGzipBytes } = options;
  const report = {
    target: target.name,
    modules: bundle.modules.map(({ path, bytes, gzipBytes, parts }) => ({ path, bytes, gzipBytes, parts })),
  };
  await writeFile(join(outdir, REPORT), `${JSON.stringify(report, null, 2)}\n`);
  return { ...bundle, bytes: total('bytes'), gzipBytes: total('gzipBytes'), maxGzipBytes };
}

/** Chunks are named by their contents, so those of an earlier bundle, which its report lists, would stay beside the new ones. */
async function clear(outdir: string): Promise<void> {
  await mkdir(outdir, { recursive: true });
  const names = await readdir(outdir);
  if (names.length === 0) return;
  const old = names.includes(REPORT) ? await reportIn(outdir) : undefined;
  if (old === undefined) {
    throw new EdgeDitError(
      'invalid-argument',
      `${outdir} holds other things than a bundle; choose a folder of its own.`,
    );
  }
  await Promise.all(old.map((name) => rm(join(outdir, name), { force: true })));
}

/** Names of the files of the bundle that lies there. */
async function reportIn(outdir: string): Promise<readonly string[] | undefined> {
  try {
    const { modules } = JSON.parse(await readFile(join(outdir, REPORT), 'utf8')) as { modules: { path: string }[] };
    return modules.map(({ path }) => basename(path));
  } catch {
    return undefined;
  }
}
