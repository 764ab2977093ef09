/** A checkpoint that cannot run is refused by name, before a step of calibration and before a byte is sent. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline, SCALING, type TinyName } from '../cli/testing/tiny-pipeline.ts';
import { recipeByName } from '../recipes/index.ts';
import { describePipeline } from './describe-pipeline.ts';
import { type QuantizeOptions, quantize } from './quantize.ts';

const EMOJI = fileURLToPath(new URL('../../../examples/emoji/model', import.meta.url));
const root = await mkdtemp(join(tmpdir(), 'edge-dit-describe-'));
after(() => rm(root, { recursive: true }));

type Change = string | object | null | { readonly copyOf: string };
let count = 0;

/** A tiny pipeline with some files written, copied (`copyOf`) or, by null, removed. */
async function changed(name: TinyName, changes: Readonly<Record<string, Change>>): Promise<string> {
  const path = await makeTinyPipeline(join(root, String(count++)), name);
  for (const [file, change] of Object.entries(changes)) {
    const place = join(path, file);
    if (change === null) await rm(place, { recursive: true });
    else if (typeof change === 'object' && 'copyOf' in change) {
      await cp(change.copyOf, place, { recursive: true });
    } else {
      await mkdir(dirname(place), { recursive: true });
      await writeFile(place, typeof change === 'string' ? change : JSON.stringify(change));
    }
  }
  return path;
}

async function quantized(path: string, options: Partial<QuantizeOptions> = {}) {
  const store = new MemoryStore();
  const checkpoint = await openCheckpoint(path);
  try {
    const onCalibrate = () => assert.fail('it calibrates');
    const result = quantize({ checkpoint, recipe: recipeByName('w4a8'), model: 'm', store, onCalibrate, ...options });
    return { store, ...(await result.catch((error: unknown) => ({ error }))) };
  } finally {
    await checkpoint.close();
  }
}

async function refused(
  name: TinyName,
  changes: Readonly<Record<string, Change>>,
  code: ErrorCode,
  message: RegExp,
  options?: Partial<QuantizeOptions>,
): Promise<void> {
  const path = await changed(name, changes);
  const { store, ...result } = await quantized(path, options);
  const error = 'error' in result ? result.error : assert.fail(`published in spite of ${Object.keys(changes)}`);
  assert.ok(isEdgeDitError(error, code), String(error));
  assert.match(error.message, message);
  assert.ok(error.message.includes(dirname(path)) || code === 'manifest-invalid', `no path in "${error.message}"`);
  for await (const key of store.list('')) assert.fail(`${key} was sent`);
}

test('the sampler: none, unknown, with options that are not implemented, or for fewer steps', async () => {
  const file = 'scheduler/scheduler_config.json';
  await refused('dit', { [file]: null }, 'checkpoint-not-found', /scheduler_config\.json/);
  await refused('dit', { [file]: { clip_sample: false } }, 'checkpoint-not-found', /_class_name/);
  await refused('dit', { [file]: { _class_name: 'DDIMSchedler' } }, 'unknown-name', /did you mean "DDIMScheduler"/);
  const few = { _class_name: 'DDIMScheduler', clip_sample: false, num_train_timesteps: 10 };
  await refused('dit', { [file]: few }, 'invalid-argument', /step/);
  await refused('dit', { [file]: { ...few, prediction_type: 'x' } }, 'config-unsupported', /prediction_type/, {
    defaults: { steps: 5, guidance: 1 },
  });
});

test('tokenizer and text encoder: together, readable, and of the channels of the transformer', async () => {
  const tokenizer = { copyOf: join(EMOJI, 'tokenizer') };
  const encoder = { copyOf: join(EMOJI, 'text_encoder') };
  const name = 'pixart-alpha';
  await refused(name, { tokenizer }, 'checkpoint-mismatch', /no ONNX text encoder.*text_encoder\/model\.onnx/);
  await refused(name, { text_encoder: encoder }, 'checkpoint-mismatch', /no tokenizer.*tokenizer\/tokenizer\.json/);
  const both = { tokenizer, text_encoder: encoder };
  await refused(name, both, 'checkpoint-mismatch', /model\.onnx gives 256 channels, the transformer takes 40/);
  const json = 'tokenizer/tokenizer.json';
  await refused(name, { ...both, [json]: '{' }, 'checkpoint-malformed', /tokenizer\.json is not JSON/);
  await refused(name, { ...both, [json]: {} }, 'checkpoint-malformed', /tokenizer\.json: /);
  await refused(name, { ...both, 'text_encoder/model.onnx': 'junk' }, 'checkpoint-malformed', /model\.onnx: /);
});

test('the VAE: needed for latents, readable, and with all of its config', async () => {
  const config = 'vae_decoder/config.json';
  const places = /vae_decoder\/model\.onnx.*vae_decoder\/config\.json/;
  await refused('dit', { vae_decoder: null }, 'checkpoint-not-found', places);
  const index = { 'model_index.json': { vae: ['diffusers', 'AutoencoderKL'] } };
  await refused('dit', { vae_decoder: null, ...index }, 'checkpoint-not-found', /names a vae \(AutoencoderKL\)/);
  await refused('dit', { [config]: null }, 'checkpoint-not-found', /vae_decoder\/config\.json/);
  await refused('dit', { [config]: '[' }, 'checkpoint-malformed', /config\.json is not JSON/);
  await refused('dit', { [config]: {} }, 'config-unsupported', /config\.json: .*scaling_factor/);
  await refused('dit', { [config]: { scaling_factor: SCALING } }, 'config-unsupported', /block_out_channels/);
  await refused('dit', { 'vae_decoder/model.onnx': 'junk' }, 'checkpoint-malformed', /vae_decoder\/model\.onnx: /);
  const another = { copyOf: join(EMOJI, 'text_encoder/model.onnx') };
  await refused('dit', { 'vae_decoder/model.onnx': another }, 'checkpoint-malformed', /expected one of each/);
});

test('pictures need no VAE, unless model_index.json names one', async () => {
  const path = await changed('dit', { vae_decoder: null });
  const named = await changed('dit', { vae_decoder: null, 'model_index.json': { vae: ['diffusers', 'X'] } });
  const geometry = { inChannels: 3, conditioning: { kind: 'class', classes: 10 } } as never;
  for (const [place, fine] of [
    [path, true],
    [named, false],
  ] as const) {
    const checkpoint = await openCheckpoint(place);
    const described = describePipeline(checkpoint, geometry, { steps: 20 });
    if (fine) assert.deepEqual((await described).pipeline.space, 'pixel');
    else await assert.rejects(described, /names a vae \(X\)/);
    await checkpoint.close();
  }
});

test('what the manifest would refuse is refused first', async () => {
  const long = { license: 'x'.repeat(65_537) };
  await refused('dit', {}, 'manifest-invalid', /license/, long);
  await refused('dit', {}, 'manifest-invalid', /names: got 1 for 11 classes/, { classNames: ['cat'] });
  const card = { 'model_card.json': { license: 1 } };
  await refused('dit', card, 'checkpoint-malformed', /model_card\.json: license must be a text/);
  const styles = { 'model_card.json': { prompting: { styles: ['x'.repeat(101)] } } };
  await refused('dit', styles, 'checkpoint-malformed', /model_card\.json: prompting must be an object of styles and/);
  await refused('dit', { 'model_card.json': '{' }, 'checkpoint-malformed', /model_card\.json is not JSON/);
});

test("licence and attribution are the card's, unless the caller has others", async () => {
  const path = await changed('dit', { 'model_card.json': { license: 'MIT', attribution: 'A. Author' } });
  const recipe = recipeByName('f16');
  const own = await quantized(path, { recipe });
  assert.ok('manifest' in own);
  assert.deepEqual([own.manifest.license, own.manifest.attribution], ['MIT', 'A. Author']);
  const given = await quantized(path, { recipe, license: 'Apache-2.0' });
  assert.ok('manifest' in given);
  assert.deepEqual([given.manifest.license, given.manifest.attribution], ['Apache-2.0', 'A. Author']);
});
