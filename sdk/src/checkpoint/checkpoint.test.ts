import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';
import { float32Tensor, parseSafetensors, serializeSafetensors, toFloat32 } from '@edge-dit/runtime/safetensors';
import { openCheckpoint } from './checkpoint.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const scratch = await mkdtemp(join(tmpdir(), 'edge-dit-checkpoint-'));
after(() => rm(scratch, { recursive: true }));

const weights = (tensors: Record<string, number[]>) =>
  serializeSafetensors(
    new Map(
      Object.entries(tensors).map(([name, values]) => [
        name,
        float32Tensor(Float32Array.from(values), [values.length]),
      ]),
    ),
  );

let folders = 0;
async function folderOf(files: Record<string, unknown>): Promise<string> {
  const folder = join(scratch, String(folders++));
  await mkdir(folder);
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    const bytes = content instanceof Uint8Array || typeof content === 'string' ? content : JSON.stringify(content);
    await writeFile(join(folder, name), bytes);
  }
  return folder;
}

async function refused(path: string, code: ErrorCode, ...mentions: string[]): Promise<void> {
  await assert.rejects(openCheckpoint(path), (error: unknown) => {
    assert.ok(isEdgeDitError(error, code), String(error));
    for (const mention of mentions) assert.ok(error.message.includes(mention), `"${error.message}" lacks "${mention}"`);
    return true;
  });
}

test('a pipeline in parts: configs, auxiliary files and tensors', async () => {
  const path = join(root, 'examples/emoji/model');
  const checkpoint = await openCheckpoint(path);
  try {
    assert.equal(checkpoint.architecture, 'PixArtTransformer2DModel');
    assert.equal(checkpoint.config.num_layers, 8);
    assert.equal(checkpoint.schedulerConfig?._class_name, 'FlowMatchEulerDiscreteScheduler');
    assert.equal(checkpoint.modelIndex?._class_name, 'PixArtAlphaPipeline');
    assert.deepEqual(checkpoint.files, {
      tokenizer: join(path, 'tokenizer/tokenizer.json'),
      textEncoder: join(path, 'text_encoder/model.onnx'),
      calibrationPrompts: join(path, 'calibration_prompts.txt'),
      card: join(path, 'model_card.json'),
    });
    assert.equal(new Set([...checkpoint.tensors.values()].map(({ file }) => file)).size, 3);
    const weight = checkpoint.tensors.get('proj_out.weight')!;
    assert.deepEqual([weight.dtype, [...weight.shape]], ['F16', [192, 384]]);
    const file = parseSafetensors(await readFile(join(path, 'transformer', weight.file)));
    assert.deepEqual(await checkpoint.read('proj_out.weight'), toFloat32(file.tensors.get('proj_out.weight')!));
    await assert.rejects(checkpoint.read('proj_in.weight'), (error) => isEdgeDitError(error, 'checkpoint-mismatch'));
  } finally {
    await checkpoint.close();
  }
});

test('the transformer folder of diffusers, and the folder around it', async () => {
  for (const [name, architecture] of [
    ['dit', 'DiTTransformer2DModel'],
    ['pixart-alpha', 'PixArtTransformer2DModel'],
    ['pixart-microcond', 'PixArtTransformer2DModel'],
  ]) {
    for (const path of [`runtime/fixtures/diffusers/${name}`, `runtime/fixtures/diffusers/${name}/transformer`]) {
      const checkpoint = await openCheckpoint(join(root, path));
      assert.equal(checkpoint.architecture, architecture);
      assert.equal(checkpoint.schedulerConfig, undefined);
      assert.ok(checkpoint.tensors.size > 20);
      await checkpoint.close();
    }
  }
});

test('a DiT folder with an index, a VAE pipeline and a single file of another name', async () => {
  const dit = await openCheckpoint(
    await folderOf({
      'config.json': { architecture: 'DiT', depth: 1 },
      'scheduler_config.json': { _class_name: 'DDIMScheduler' },
      'model.safetensors.index.json': { metadata: {}, weight_map: { a: 'one.safetensors', b: 'two.safetensors' } },
      'one.safetensors': weights({ a: [1, 2] }),
      'two.safetensors': weights({ b: [3] }),
    }),
  );
  assert.equal(dit.architecture, 'DiT');
  assert.equal(dit.schedulerConfig?._class_name, 'DDIMScheduler');
  assert.deepEqual([...(await dit.read('a')), ...(await dit.read('b'))], [1, 2, 3]);
  assert.equal(dit.tensors.get('b')?.file, 'two.safetensors');
  await dit.close();
  await assert.rejects(dit.read('a'));

  const latent = await openCheckpoint(
    await folderOf({
      'model_index.json': {},
      'transformer/config.json': { _class_name: 'X' },
      'transformer/ema.safetensors': weights({ a: [1] }),
      'vae/config.json': {},
      'vae/decoder.onnx': 'x',
    }),
  );
  assert.ok(latent.files.vaeDecoder?.endsWith('decoder.onnx') && latent.files.vaeConfig?.endsWith('config.json'));
  await latent.close();
});

test('what is not there is said', async () => {
  await refused(join(scratch, 'nowhere'), 'checkpoint-not-found', 'nowhere', 'model_index.json', 'config.json');
  await refused(join(root, 'package.json'), 'checkpoint-not-found', 'is a file');
  await refused(await folderOf({}), 'checkpoint-not-found', 'config.json', 'model_index.json');
  await refused(await folderOf({ 'model_index.json': {} }), 'checkpoint-not-found', 'transformer/config.json');
  const config = { _class_name: 'X' };
  await refused(await folderOf({ 'config.json': config }), 'checkpoint-not-found', 'model.safetensors');
  const pickled = await folderOf({ 'config.json': config, 'diffusion_pytorch_model.bin': 'x' });
  await refused(pickled, 'checkpoint-not-found', 'diffusion_pytorch_model.bin', 'convert them to safetensors');
});

test('contradictions are refused and all names given', async () => {
  const config = { _class_name: 'X' };
  const indexed = (weight_map: unknown, parts: Record<string, Uint8Array>) =>
    folderOf({ 'config.json': config, 'model.safetensors.index.json': { weight_map }, ...parts });
  const part = { 'p.safetensors': weights({ a: [1] }) };
  await refused(await folderOf({ 'config.json': '{' }), 'checkpoint-malformed', 'config.json', 'JSON');
  await refused(await folderOf({ 'config.json': '[]' }), 'checkpoint-malformed', 'object');
  await refused(await folderOf({ 'config.json': {} }), 'checkpoint-malformed', '_class_name');
  await refused(
    await folderOf({ 'config.json': config, 'model.safetensors': 'x' }),
    'checkpoint-malformed',
    'too short',
  );
  await refused(
    await folderOf({ 'config.json': config, 'a.safetensors': 'x', 'b.safetensors': 'x' }),
    'checkpoint-malformed',
    'a.safetensors, b.safetensors',
  );
  await refused(await indexed([], part), 'checkpoint-malformed', 'weight_map');
  await refused(await indexed({ a: 1 }, part), 'checkpoint-malformed', 'weight_map');
  const absent = { a: 'p.safetensors', b: 'p.safetensors', c: 'p.safetensors' };
  await refused(await indexed(absent, part), 'checkpoint-malformed', 'b (p.safetensors), c (p.safetensors)');
  const unlisted = { 'p.safetensors': weights({ a: [1], x: [1], y: [2] }) };
  await refused(await indexed({ a: 'p.safetensors' }, unlisted), 'checkpoint-malformed', 'x (p.safetensors), y');
  await refused(await indexed({ a: 'q.safetensors' }, part), 'checkpoint-not-found', 'q.safetensors');
  for (const name of [
    '../p.safetensors',
    '/etc/p.safetensors',
    'x\\p.safetensors',
    '.p.safetensors',
    'C:p.safetensors',
    'p.bin',
  ]) {
    await refused(await indexed({ a: name }, part), 'checkpoint-malformed', name, 'same folder');
  }
});
