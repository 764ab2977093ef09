/**
 * Every member of an extension point is in its hand-written list, and so in its conformance test. Which files of such a
 * folder only support the members is said here.
 */
import { type Check, isBelow, isTest, isTypeScript, type SourceFile, type Violation } from './source.ts';

interface ExtensionPoint {
  readonly folder: string;
  /** The file that must import each member. */
  readonly list: string;
  /** Members that another file imports instead, and which. */
  readonly elsewhere?: Readonly<Record<string, string>>;
  /** Files of the folder that are no members. */
  readonly supporting: readonly string[];
}

const POINTS: readonly ExtensionPoint[] = [
  { folder: 'wasm-kernels/src/kernels', list: 'index.ts', supporting: ['exponential', 'lanes', 'row-pairs'] },
  {
    folder: 'runtime/src/models',
    list: 'index.ts',
    supporting: [
      'architecture',
      'block-products',
      'blocks',
      'checkpoint-layouts',
      'config',
      'embeddings',
      'load-model',
      'patches',
      'step-vectors',
      'weights',
    ],
  },
  { folder: 'runtime/src/engines/kinds', list: 'index.ts', supporting: ['kind'] },
  { folder: 'runtime/src/classifiers', list: 'index.ts', supporting: ['classifier', 'exact-gelu'] },
  {
    folder: 'runtime/src/samplers',
    list: 'index.ts',
    supporting: [
      'multistep-schedule',
      'noise-schedule',
      'prediction',
      'sampler',
      'sampler-config',
      'sigma-spacing',
      'timestep-spacing',
      'unipc-weights',
      'weighted-sum',
    ],
  },
  {
    folder: 'runtime/src/stores',
    // No index: a store is reached by its subpath, so that no SDK enters a bundle. The conformance test is the list;
    // it writes, so the store that only reads has its own.
    list: 'stores.test.ts',
    elsewhere: { http: 'runtime/src/fetch.test.ts', gateway: 'runtime/src/stores/gateway.test.ts' },
    supporting: [
      'body',
      'cache-api',
      'cached',
      'fs-lock',
      'opfs',
      'opfs-parts',
      'parts',
      'remembered',
      'resumable',
      'store',
      'store-cache',
      'store-error',
    ],
  },
  { folder: 'sdk/src/recipes', list: 'index.ts', supporting: ['recipe'] },
  {
    folder: 'sdk/src/export-onnx',
    list: 'index.ts',
    supporting: ['export-onnx', 'exporter', 'graph-builder', 'layers', 'linear-forms', 'transformer-parts'],
  },
  { folder: 'functions/src/bundles', list: 'index.ts', supporting: ['bundle-target', 'bundle-endpoint'] },
  { folder: 'sdk/src/cli/commands', list: 'index.ts', supporting: [] },
  // cloudflare-workers is the worker that the target workerd bundles and runs; cloudflare-gateway only hands out models.
  {
    folder: 'functions/src/targets',
    list: 'index.ts',
    supporting: ['target', 'cloudflare-workers', 'cloudflare-gateway'],
  },
];

const OWN_PATH = 'scripts/src/checks/lists.ts';

export const lists: Check = (files) => POINTS.flatMap((point) => checkPoint(point, files));

function checkPoint(point: ExtensionPoint, files: readonly SourceFile[]): Violation[] {
  const { folder, supporting, elsewhere = {} } = point;
  const inFolder = files.filter((file) => isTypeScript(file) && isBelow(file.path, folder) && !isTest(file));
  const list = `${folder}/${point.list}`;
  const textOf = (path: string) => files.find((file) => file.path === path)?.text;
  if (textOf(list) === undefined) {
    return [{ path: list, line: 1, message: `does not exist, and is the list of ${folder}; write it` }];
  }
  const nameOf = ({ path }: SourceFile) => path.slice(folder.length + 1, -'.ts'.length);
  const unlisted = inFolder.flatMap((file): Violation[] => {
    const name = nameOf(file);
    const by = elsewhere[name] ?? list;
    if (file.path === list || supporting.includes(name) || textOf(by)?.includes(`/${name}.ts'`)) return [];
    const message = `is not in ${by}: add it there; or, if it only supports members, to scripts/src/checks/lists.ts`;
    return [{ path: file.path, line: 1, message }];
  });
  const stale = [...supporting, ...Object.keys(elsewhere)]
    .filter((name) => !inFolder.some((file) => nameOf(file) === name))
    .map((name) => ({ path: OWN_PATH, line: 1, message: `${folder}/${name}.ts does not exist; remove its name here` }));
  return [...unlisted, ...stale];
}
