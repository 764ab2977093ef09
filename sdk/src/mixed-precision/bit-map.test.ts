import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalCheckpoint } from '../checkpoint/canonical.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { recipeByName } from '../recipes/index.ts';
import { planOf, type Recipe } from '../recipes/recipe.ts';
import { type BitMap, parseBitMap, serializeBitMap, withBitMap, withBits } from './bit-map.ts';
import { bitTable } from './bit-table.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-bit-map-'));
const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
after(async () => {
  await checkpoint.close();
  await rm(root, { recursive: true });
});
const canonical = canonicalCheckpoint(checkpoint);
const layer = 'transformer_blocks.0.attn1.to_q';
const map: BitMap = {
  format: 'edge-dit-bit-map',
  version: 1,
  architecture: 'DiTTransformer2DModel',
  layers: { [layer]: 5, 'transformer_blocks.1.ff.net.2': 8 },
};
const refusal = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(isEdgeDitError(error, code), String(error));
  assert.match(error.message, message);
  return true;
};

test('a map is written and read', () => {
  assert.deepEqual(parseBitMap(serializeBitMap(map), 'map.json'), map);
});

test('what is no map is refused by the name of its fault', () => {
  const cases: [object | string, RegExp][] = [
    ['{', /map\.json is not JSON/],
    ['[]', /map\.json is no bit map: \(top\)/],
    [{ ...map, version: 2 }, /version/],
    [{ ...map, layers: { [layer]: 7 } }, /layers\.transformer_blocks\.0\.attn1\.to_q: must be 4, 5, 6 or 8/],
    [{ ...map, layers: [layer] }, /layers/],
    [{ ...map, search: { budget: 0.4 } }, /search\.recipe/],
    [{ ...map, bits: 4 }, /bits/],
  ];
  for (const [json, message] of cases) {
    const bytes = new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json));
    assert.throws(() => parseBitMap(bytes, 'map.json'), refusal('invalid-argument', message));
  }
});

test('a map must fit the checkpoint and the recipe', () => {
  const recipe = recipeByName('w8a8');
  const apply = (changes: Partial<BitMap>, of: Recipe = recipe) =>
    withBitMap(of, { ...map, ...changes }, checkpoint, canonical);
  const refused = (message: RegExp) => refusal('checkpoint-mismatch', message);
  assert.throws(
    () => apply({ architecture: 'PixArtTransformer2DModel' }),
    refused(/is of PixArt.*, the checkpoint of DiT/),
  );
  assert.throws(() => apply({ layers: { 'blocks.0': 4 } }), refused(/names "blocks\.0", which is no linear layer/));
  assert.throws(() => apply({ layers: { proj_out_2: 4 } }), refused(/names proj_out_2, which w8a8 keeps in float/));
  assert.throws(() => apply({}, recipeByName('f16')), refused(/which f16 keeps in float/));
});

test('widths of a map win over exceptions, only for its layers; groups are for 4 and 5 bits', () => {
  const spec = (name: string) => canonical.architecture.linears.find((linear) => linear.name === name)!;
  const recipe: Recipe = {
    name: 'r',
    summary: '',
    attention: 'float',
    body: { bits: 4, group: 32, rounding: 'gptq' },
    mixed: { budget: 0.4 },
    exceptions: [{ layers: /to_q/, plan: { bits: 6 } }],
  };
  const changed = withBits(recipe, new Map(Object.entries(map.layers)));
  assert.equal(changed.mixed, undefined);
  assert.deepEqual(planOf(changed, spec(layer)), { bits: 5, group: 32, rounding: 'gptq' });
  assert.deepEqual(planOf(changed, spec('transformer_blocks.1.ff.net.2')), {
    bits: 8,
    group: undefined,
    rounding: 'gptq',
  });
  assert.equal(planOf(changed, spec('transformer_blocks.1.attn1.to_q'))?.bits, 6);
  assert.equal(planOf(changed, spec('transformer_blocks.1.attn1.to_k'))?.bits, 4);
});

test('as a table: a row for each block', () => {
  assert.deepEqual(bitTable(map.layers), [
    ['block', 'attn1.to_q', 'ff.net.2'],
    ['0', '5', '-'],
    ['1', '-', '8'],
  ]);
});
