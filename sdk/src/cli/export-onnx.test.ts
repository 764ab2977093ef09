import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { runCli } from './testing/run-cli.ts';
import { FIXTURES } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-export-'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(['export-onnx', ...args], root);
const dit = join(FIXTURES, 'dit');

test('export-onnx writes a model that onnxruntime loads, and says its inputs', async () => {
  const args = [dit, '--form', 'int8-dynamic', '--out', 'new/model.onnx', '--batch', '1', '--height', '8', '--json'];
  const { code, stdout, stderr } = await cli(...args);
  assert.deepEqual([code, stderr], [0, '']);
  const { bytes, shape, inputs } = JSON.parse(stdout);
  assert.deepEqual(shape, { batch: 1, height: 8, width: 16, tokens: 0 });
  const file = await readFile(join(root, 'new/model.onnx'));
  assert.equal(file.length, bytes);
  const session = await createNodeOrtRuntime().load(file, 'model.onnx');
  assert.deepEqual(
    session.inputs,
    inputs.map(({ name }: { name: string }) => name),
  );
  await session.release();
  const text = await cli(dit, '--form', 'fp32', '--out', 'model.onnx');
  assert.match(
    text.stdout,
    /^Wrote model.onnx: DiTTransformer2DModel, fp32, .*\n {2}sample +float32 +\[2, 4, 16, 16\]/,
  );
});

test('export-onnx refuses what it cannot do', async () => {
  const cases: [string[], number, RegExp][] = [
    [
      [dit, '--form', 'int3', '--out', 'x.onnx'],
      2,
      /unknown form "int3"; did you mean "int4"\? Known: fp32, int8-dynamic, int4/,
    ],
    [[dit, '--form', 'int4'], 2, /--out/],
    [[dit, '--form', 'int4', '--out', 'x.onnx', '--batch', '0'], 2, /--batch.*integer from 1/],
    [[dit, '--form', 'int4', '--out', 'x.onnx', '--width', '7'], 2, /whole number of patches/],
    [[join(FIXTURES, 'pixart-alpha'), '--form', 'int4', '--out', 'x.onnx'], 2, /no tokenizer/],
    [['nowhere', '--form', 'int4', '--out', 'x.onnx'], 3, /checkpoint-not-found/],
  ];
  for (const [args, exitCode, message] of cases) {
    const { code, stderr } = await cli(...args);
    assert.equal(code, exitCode, stderr);
    assert.match(stderr, message);
  }
  assert.equal(existsSync(join(root, 'x.onnx')), false);
});
