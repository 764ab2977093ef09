/** Each check finds what it is there for, and leaves alone what is allowed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arithmetic } from './arithmetic.ts';
import { dependencies } from './dependencies.ts';
import { errorCodes } from './error-codes.ts';
import { files } from './files.ts';
import { links } from './links.ts';
import { lists } from './lists.ts';
import type { Check } from './source.ts';

/** `path:line` of the violations in files given as path and text. */
const found = (check: Check, texts: Record<string, string>) =>
  check(Object.entries(texts).map(([path, text]) => ({ path, text }))).map(({ path, line }) => `${path}:${line}`);

/** Keeps what is written here from being an import of this file. */
const imports = (name: string, how = 'import x from') => `${how} ${JSON.stringify(name)};\n`;

test('dependencies point one way', () => {
  const manifest = { 'runtime/package.json': '{"dependencies":{"zod":"1","@edge-dit/wasm-kernels":"1"}}' };
  const wrong = [
    imports('@edge-dit/sdk/stores'),
    imports('node:fs'),
    imports('../../sdk/src/a.ts'),
    imports('hono'),
    imports('zod'),
  ];
  const right = [
    imports('@edge-dit/wasm-kernels'),
    imports('zod/mini'),
    imports('./b.ts'),
    imports('@edge-dit/runtime/c'),
  ];
  assert.deepEqual(
    found(dependencies, { ...manifest, 'runtime/src/a.ts': right.join('') + wrong.join('') }),
    [5, 6, 7, 8, 9].map((line) => `runtime/src/a.ts:${line}`),
  );
  assert.deepEqual(found(dependencies, { ...manifest, 'runtime/src/a.test.ts': wrong[1] + wrong[3] }), []);
  assert.deepEqual(found(dependencies, { 'runtime/src/a.ts': `// ${wrong[0]}` }), []);
});

test('several lines, exports and dynamic imports count', () => {
  const text = `import {\n  a,\n} from '@edge-dit/sdk';\nexport * from '@edge-dit/sdk';\nconst b = await import('@edge-dit/sdk');\n`;
  assert.deepEqual(found(dependencies, { 'functions/src/a.ts': text }), [
    'functions/src/a.ts:1',
    'functions/src/a.ts:4',
    'functions/src/a.ts:5',
  ]);
});

test('only the command line of the sdk may import functions', () => {
  const text = imports('@edge-dit/functions/app');
  assert.deepEqual(found(dependencies, { 'sdk/src/a.ts': text, 'sdk/src/cli/b.ts': text, 'sdk/src/c.test.ts': text }), [
    'sdk/src/a.ts:1',
  ]);
});

test('a member that is not in its list is found', () => {
  const path = (name: string) => `sdk/src/recipes/${name}.ts`;
  const inRecipes = (texts: Record<string, string>) =>
    found(lists, texts).filter((at) => at.startsWith('sdk/src/recipes'));
  const list = { [path('index')]: `import { a } from './a.ts';` };
  assert.deepEqual(inRecipes({ ...list, [path('a')]: '', [path('recipe')]: '' }), []);
  assert.deepEqual(inRecipes({ ...list, [path('a')]: '', [path('b')]: '' }), ['sdk/src/recipes/b.ts:1']);
  assert.deepEqual(inRecipes({ [path('a')]: '' }), ['sdk/src/recipes/index.ts:1']);
});

test('long files, empty names and paths of a machine are found', () => {
  assert.deepEqual(found(files, { 'a/long.ts': '\n'.repeat(401), 'a/fits.ts': '\n'.repeat(400) }), ['a/long.ts:401']);
  assert.deepEqual(found(files, { 'a/utils.ts': '', 'a/Caps.ts': '', 'a/fine-name.test.ts': '', 'a/wasm.d.ts': '' }), [
    'a/utils.ts:1',
    'a/Caps.ts:1',
  ]);
  const [work, home] = ['/work', '/home'];
  assert.deepEqual(found(files, { 'a.md': `x\nsee ${work}/main`, 'b.sh': `cd "${home}/me"` }), ['a.md:2', 'b.sh:1']);
  assert.deepEqual(found(files, { 'a.md': `https://x.org${home}/me, ../work/main, /tmp/x, a${work}/b` }), []);
});

test('functions that differ from engine to engine are found', () => {
  const wrong = ['Math.exp(x)', 'x ** 2', '2 ** bits', 'Math.pow(2, n)', 'list.map(Math.sin)', 'f(x) ** 0.5'];
  const right = [
    'Math.log(2)',
    '2 ** 32',
    'Math.pow(2, -3)',
    'Math.sqrt(x)',
    'math.exp(x)',
    '// Math.exp(x)',
    '/** x */',
  ];
  assert.deepEqual(
    found(arithmetic, { 'runtime/src/a.ts': [...right, ...wrong].join('\n') }),
    wrong.map((_, i) => `runtime/src/a.ts:${right.length + 1 + i}`).sort(byCall(wrong)),
  );
  assert.deepEqual(
    found(arithmetic, { 'runtime/src/a.test.ts': wrong[0], 'runtime/src/math.ts': wrong[0], 'sdk/src/a.ts': wrong[0] }),
    [],
  );
});

/** Calls are reported before powers. */
function byCall(wrong: readonly string[]) {
  const isPower = (at: string) => Number(wrong[Number(at.split(':')[1]) - 8].includes('**'));
  return (a: string, b: string) => isPower(a) - isPower(b);
}

test('an error code that nothing uses is found', () => {
  const errors = `export const ERROR_CODES = {\n  'a-b': 'x',\n  // c\n  c: 'y',\n} as const;\n`;
  const use = { 'sdk/src/a.ts': `throw new EdgeDitError('a-b', '')` };
  assert.deepEqual(found(errorCodes, { 'runtime/src/errors.ts': errors, ...use }), ['runtime/src/errors.ts:4']);
});

test('a link of a document that leads nowhere is found', () => {
  const text = 'see [a](a/b.ts#L1),\n[folder](a/), [web](https://x.org/y), [top](#top),\n[gone](a/c.ts)';
  assert.deepEqual(found(links, { 'X.md': text, 'a/b.ts': '' }), ['X.md:3']);
  assert.deepEqual(found(links, { 'a/Y.md': '[up](../X.md) [here](b.ts)', 'X.md': '', 'a/b.ts': '' }), []);
});
