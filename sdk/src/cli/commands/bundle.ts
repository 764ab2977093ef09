/** `edge-dit bundle`: the endpoint as files for a place to deploy to, with what they weigh and what of it is what. */
import type { EndpointBundle } from '@edge-dit/functions/bundles/bundle-endpoint';
import type { BundleTarget } from '@edge-dit/functions/bundles/bundle-target';
import type { Command } from 'commander';
import { openProject } from '../../project/project.ts';
import { byteSize, lookup } from '../option-values.ts';
import { duration, shortBytes, table } from '../quantities.ts';
import type { Session } from '../session.ts';

interface BundleFlags {
  readonly target: string;
  readonly out: string;
  readonly entry?: string;
  readonly project?: string;
  readonly maxGzip?: number;
  readonly minify: boolean;
}

export function addBundle(program: Command, session: Session): Command {
  return program
    .command('bundle')
    .summary('write the endpoint as files to deploy')
    .description(
      'Bundles the endpoint for a place: ES modules and WebAssembly, with a report of their sizes in bundle.json. In a project of "edge-dit init" it takes settings and entry from edge-dit.json.',
    )
    .requiredOption('--target <name>', 'cloudflare-workers, node, deno or aws-lambda')
    .requiredOption('--out <folder>', 'a folder of its own; an earlier bundle in it is replaced')
    .option('--project <folder>', 'folder of an edge-dit.json (default: this folder, where it has one)')
    .option('--entry <file>', "a main module of your own instead of the target's")
    .option(
      '--max-gzip <size>',
      'exit with 1 when all modules together are more, gzipped (default: what the target takes)',
      byteSize,
    )
    .option('--no-minify', 'leave names and lines readable')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit bundle --target node --out ./server
  $ SHARDS_URL=./models MODELS=emoji-w4a8 node ./server/server.mjs`,
    )
    .action((flags: BundleFlags) => run(flags, session));
}

async function run(flags: BundleFlags, session: Session): Promise<void> {
  // esbuild and terser: imported when there is something to bundle.
  const { bundleTargetByName } = await import('@edge-dit/functions/bundles/index');
  const { bundleEndpoint } = await import('@edge-dit/functions/bundles/bundle-endpoint');
  const target = lookup(bundleTargetByName)(flags.target);
  const project = await openProject(flags.project);
  const started = performance.now();
  const bundle = await bundleEndpoint({
    target,
    outdir: flags.out,
    entry: flags.entry ?? project?.entryFor(target.name),
    variables: project?.variables,
    maxGzipBytes: flags.maxGzip,
    minify: flags.minify,
  });
  session.output.result(report(target, bundle, performance.now() - started));
  if (isTooLarge(bundle)) session.checkFailed();
}

const isTooLarge = ({ gzipBytes, maxGzipBytes = Number.POSITIVE_INFINITY }: EndpointBundle) => gzipBytes > maxGzipBytes;

/** More of them are one line: the S3 client alone has thirty. */
const LISTED_MODULES = 8;
const LISTED_PARTS = 4;

function report(target: BundleTarget, bundle: EndpointBundle, ms: number) {
  const { outdir, modules, bytes, gzipBytes, maxGzipBytes } = bundle;
  const sorted = [...modules].sort((a, b) => b.gzipBytes - a.gzipBytes);
  const [listed, rest] = [sorted.slice(0, LISTED_MODULES), sorted.slice(LISTED_MODULES)];
  const sum = (size: 'bytes' | 'gzipBytes') => rest.reduce((total, module) => total + module[size], 0);
  const row = (path: string, raw: number, gzip: number, what: string) => [
    path,
    shortBytes(raw),
    shortBytes(gzip),
    what,
  ];
  const rows = listed.map(({ path, parts, ...size }) => row(path, size.bytes, size.gzipBytes, largest(parts)));
  if (rest.length > 0) rows.push(row(`and ${rest.length} more`, sum('bytes'), sum('gzipBytes'), ''));
  rows.push(row('all', bytes, gzipBytes, maxGzipBytes === undefined ? '' : `of ${shortBytes(maxGzipBytes)} at most`));
  const tooLarge = isTooLarge(bundle)
    ? [
        `TOO LARGE: ${shortBytes(gzipBytes)} gzipped, ${shortBytes(maxGzipBytes!)} at most: the largest are ${sorted
          .slice(0, 3)
          .map((module) => `${module.path} (${shortBytes(module.gzipBytes)})`)
          .join(', ')}. Leave something out of the entry, or raise --max-gzip if the place takes more.`,
      ]
    : [];
  return {
    json: {
      ok: tooLarge.length === 0,
      target: target.name,
      folder: outdir,
      bytes,
      gzipBytes,
      maxGzipBytes: maxGzipBytes ?? null,
      modules: modules.map(({ path, type, bytes, gzipBytes, parts }) => ({ path, type, bytes, gzipBytes, parts })),
    },
    text: [
      `Bundled for ${target.name} (${target.summary}) in ${duration(ms)}: ${outdir}`,
      ...table([['module', 'bytes', 'gzip', 'mostly'], ...rows]),
      ...tooLarge,
      ...(tooLarge.length > 0 ? [] : target.next(outdir).map((command) => `Next: ${command}`)),
    ],
    brief: tooLarge.length > 0 ? tooLarge : [outdir],
  };
}

const largest = (parts: readonly { readonly source: string; readonly bytes: number }[]) =>
  parts
    .slice(0, LISTED_PARTS)
    .map(({ source, bytes }) => `${source} ${shortBytes(bytes)}`)
    .join(', ');
