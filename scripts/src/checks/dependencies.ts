/**
 * Dependencies point one way: examples -> functions -> runtime -> wasm-kernels; the sdk stands on runtime and
 * wasm-kernels, its command line and its benchmark on functions too. What runs on the edge never imports the sdk, nor Node.
 */
import {
  type Check,
  isBelow,
  isTest,
  isTypeScript,
  matches,
  type SourceFile,
  type Violation,
  withoutComments,
} from './source.ts';

interface Rule {
  /** Packages of this repository that may be imported. */
  readonly may: readonly string[];
  /** Packages that only tests and some folders may import. */
  readonly mayIn?: Readonly<Record<string, readonly string[]>>;
  /** Files that may import `node:`; every file, where it is not given. */
  readonly node?: readonly string[];
  /** Imports that bundles have no room for, and what to import instead. */
  readonly instead?: Readonly<Record<string, string>>;
}

const SMALL = { zod: 'zod/mini' };

const RULES: Readonly<Record<string, Rule>> = {
  'wasm-kernels': { may: [], node: ['wasm-kernels/src/emit.ts'] },
  runtime: {
    may: ['wasm-kernels'],
    mayIn: { functions: [] },
    node: ['runtime/src/stores/fs.ts', 'runtime/src/stores/fs-lock.ts', 'runtime/src/onnx/ort-node.ts'],
    instead: SMALL,
  },
  functions: {
    may: ['runtime', 'wasm-kernels'],
    mayIn: { sdk: [] },
    // The rest is in the worker's bundle.
    node: [
      'bundle-worker',
      'bundles/bundle-endpoint',
      'entries/deno',
      'jobs/file-job-store',
      'jobs/folder-lock',
      'listen',
      'playground/emit-page',
      'serve-workerd',
      'store-server',
      'targets/node',
    ].map((name) => `functions/src/${name}.ts`),
    instead: SMALL,
  },
  sdk: { may: ['runtime', 'wasm-kernels'], mayIn: { functions: ['sdk/src/bench', 'sdk/src/cli', 'sdk/src/project'] } },
  examples: { may: ['example-emoji', 'functions', 'runtime', 'sdk', 'wasm-kernels'] },
  scripts: { may: ['functions', 'runtime', 'sdk', 'wasm-kernels'] },
};

const IMPORT = /^\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/gm;
const OWN = '@edge-dit/';

export const dependencies: Check = (files) => {
  const manifests = declared(files);
  return files
    .filter((file) => isTypeScript(file) && file.path.includes('/src/'))
    .flatMap((file) => {
      const folder = file.path.slice(0, file.path.indexOf('/src/'));
      const rule = RULES[folder.split('/')[0]];
      if (!rule) return [at(file, 1, `${folder} has no rule; add it to RULES in scripts/src/checks/dependencies.ts`)];
      return [...matches(withoutComments(file.text), IMPORT)].flatMap(({ match, line }) => {
        const message = problemOf({ file, folder, rule, declares: manifests.get(folder) }, match[1] ?? match[2]);
        return message === undefined ? [] : [at(file, line, message)];
      });
    });
};

interface Importer {
  readonly file: SourceFile;
  readonly folder: string;
  readonly rule: Rule;
  /** The packages in its package.json. */
  readonly declares?: ReadonlySet<string>;
}

function problemOf({ file, folder, rule, declares }: Importer, target: string): string | undefined {
  if (target.startsWith('.')) {
    const resolved = new URL(target, `file:///${file.path}`).pathname.slice(1);
    return isBelow(resolved, folder) ? undefined : `${target} leaves ${folder}; import the other package by its name`;
  }
  // What the package's own `imports` map.
  if (target.startsWith('#')) return undefined;
  if (target.startsWith('node:')) {
    if (!rule.node || rule.node.includes(file.path) || isTest(file)) return undefined;
    return `${target} does not exist on the edge; use web APIs, or take what is needed as an argument`;
  }
  const name = target.split('/', target.startsWith('@') ? 2 : 1).join('/');
  if (name === OWN + folder || target.startsWith('cloudflare:')) return undefined;
  if (name.startsWith(OWN) && !mayImport(file, rule, name.slice(OWN.length))) {
    const allowed = rule.may.join(', ') || 'nothing';
    return `${folder} must not import ${name} here (it may: ${allowed}); move the code, or turn the dependency around`;
  }
  const smaller = rule.instead?.[target];
  if (smaller !== undefined && !isTest(file)) return `${target} is too large for a worker; import ${smaller}`;
  if (isTest(file) || !declares || declares.has(name)) return undefined;
  return `${name} is not a dependency in ${folder}/package.json; add it there`;
}

function mayImport(file: SourceFile, { may, mayIn }: Rule, other: string): boolean {
  const folders = mayIn?.[other];
  return (
    may.includes(other) || (folders !== undefined && (isTest(file) || folders.some((at) => isBelow(file.path, at))))
  );
}

function declared(files: readonly SourceFile[]): Map<string, ReadonlySet<string>> {
  const found = new Map<string, ReadonlySet<string>>();
  for (const { path, text } of files) {
    if (!path.endsWith('/package.json') || path.includes('fixtures/')) continue;
    const { dependencies, peerDependencies } = JSON.parse(text) as Record<string, Record<string, string> | undefined>;
    found.set(path.slice(0, -'/package.json'.length), new Set(Object.keys({ ...dependencies, ...peerDependencies })));
  }
  return found;
}

const at = ({ path }: SourceFile, line: number, message: string): Violation => ({ path, line, message });
