import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isEdgeDitError } from '../errors.ts';
import { MAX_MANIFEST_BYTES } from './limits.ts';
import { parseManifest, serializeManifest } from './manifest.ts';

const folder = fileURLToPath(new URL('../../fixtures/format-v1/manifests', import.meta.url));
const golden = readFileSync(`${folder}/${readdirSync(folder)[0]}`, 'utf8');
const utf8 = (text: string) => new TextEncoder().encode(text);

// biome-ignore lint/suspicious/noExplicitAny: tests break the manifest in every way that JSON can
type Anything = any;

/** Asserts that the golden manifest, changed, is refused with a message that matches. */
function refused(change: (manifest: Anything) => void, message: RegExp): void {
  const manifest = JSON.parse(golden);
  change(manifest);
  refusedText(JSON.stringify(manifest), message);
}

function refusedText(text: string | Uint8Array, message: RegExp): void {
  assert.throws(
    () => parseManifest(typeof text === 'string' ? utf8(text) : text),
    (error) => {
      assert.ok(isEdgeDitError(error, 'manifest-invalid'), String(error));
      assert.match(error.message, message);
      assert.ok(error.message.length < 600);
      return true;
    },
  );
}

test('every field is checked, and the message names it', () => {
  refused((m) => delete m.tensors, /tensors: /);
  refused((m) => (m.format = 'other'), /format: /);
  refused((m) => (m.version = 2), /version: got 2, this reader knows 1; update edge-dit/);
  refused((m) => (m.model = '../x'), /model: must be a model name/);
  refused((m) => (m.more = 1), /more: unknown in version 1; own keys start with "x-"/);
  refused((m) => (m.sampler = {}), /sampler\._class_name/);
  refused((m) => (m.defaults.steps = 0), /defaults\.steps/);
  refused((m) => (m.defaults.steps = 1001), /defaults\.steps/);
  refused((m) => (m.pipeline.space = 'time'), /pipeline\.space/);
  refused((m) => (m.pipeline.conditioning.type = 'none'), /pipeline\.conditioning\.type/);
  refused((m) => (m.pipeline.extra = 1), /pipeline: .*extra/);
  refused((m) => (m.shards[1].sha256 = m.shards[1].sha256.toUpperCase()), /shards\[1\]\.sha256: must be 64 lower-case/);
  refused((m) => (m.quantization.layers[1].weightBits = 0), /quantization\.layers\[1\]\.weightBits/);
});

test('every place, length and shape is checked', () => {
  refused((m) => (m.tensors[1].offset = 100), /tensors\[1\]\.offset: must be a multiple of 64/);
  refused((m) => (m.tensors[0].offset = 0), /tensors\[0\]\.offset/);
  refused((m) => (m.tensors[0].offset = -64), /tensors\[0\]\.offset/);
  refused((m) => (m.tensors[1].offset = 64), /tensors\[1\]\.offset: 64 is within the tensor before, which ends at 88/);
  refused((m) => (m.tensors[3].offset = 320), /tensors\[3\]\.length: ends at 327, beyond its shard of 320/);
  refused((m) => (m.tensors[0].length = 25), /tensors\[0\]\.length: got 25, f32 of \[2,3\] takes 24/);
  refused((m) => (m.tensors[4].length = 45), /tensors\[4\]\.length: got 45, u8-8x4 of \[9,5\] takes 128/);
  refused((m) => (m.tensors[0].shape = [2, 3.5]), /tensors\[0\]\.shape\[1\]/);
  refused((m) => (m.tensors[0].shape = [0]), /tensors\[0\]\.shape\[0\]/);
  refused((m) => (m.tensors[0].shape = new Array(9).fill(1)), /tensors\[0\]\.shape: /);
  refused(
    (m) => (m.tensors[0].shape = new Array(8).fill(2 ** 25)),
    /tensors\[0\]\.shape: .* more than 33554432 elements/,
  );
  refused((m) => (m.tensors[4].shape = [45]), /tensors\[4\]\.encoding: a panel encoding needs a shape \[N, K\]/);
  refused((m) => (m.tensors[0].encoding = 'f33'), /tensors\[0\]\.encoding: unknown encoding "f33"; did you mean "f32"/);
  refused((m) => (m.tensors[5].shard = 2), /tensors\[5\]\.shard: got 2 of 2/);
  refused((m) => (m.tensors[0].shard = 1), /tensors\[0\]\.shard/);
  refused((m) => m.shards.push(m.shards[0]), /shards: 3 listed, tensors use 2/);
  refused((m) => m.tensors.reverse(), /tensors\[0\]/);
  refused((m) => (m.tensors = []), /tensors: a model has at least one/);
  refused((m) => (m.tensors[1].name = m.tensors[0].name), /tensors\[1\]\.name: "embed.weight" is used twice/);
  refused((m) => (m.tensors[1].name = '__proto__'), /tensors\[1\]\.name/);
  refused((m) => (m.shards[0].length = 2 ** 24 + 64), /shards\[0\]\.length/);
  refused((m) => (m.shards[0].length = 319), /shards\[0\]\.length: must be a multiple of 64/);
});

test('files and pipeline agree', () => {
  refused((m) => (m.files[0].parts[0].length = 33), /files\[0\]\.parts\[0\]\.length: got 33, expected 34/);
  refused((m) => m.files[0].parts.push(m.files[0].parts[0]), /files\[0\]\.parts: got 2, 34 bytes are 1 parts/);
  refused((m) => (m.files[0].length = 2 ** 40), /files\[0\]\.length/);
  refused((m) => (m.files[0].name = 'a/b'), /files\[0\]\.name/);
  refused((m) => m.files.push(m.files[0]), /files\[1\]\.name: "tokenizer.json" is used twice/);
  refused(
    (m) => (m.pipeline.conditioning.textEncoder = 'no.onnx'),
    /pipeline\.conditioning\.textEncoder: "no.onnx" is not/,
  );
  refused((m) => (m.pipeline.space = 'latent'), /pipeline\.vae: missing, but the space is latent/);
  refused(
    (m) => (m.pipeline.conditioning = { type: 'class', count: 3, names: ['a'] }),
    /pipeline\.conditioning\.names: got 1 for 3 classes/,
  );
});

test('text that is not plain JSON is refused before it can cost anything', () => {
  refusedText('', /not JSON/);
  refusedText('[]', /\(top\): must be an object/);
  refusedText('null', /\(top\): must be an object/);
  refusedText(`\uFEFF${golden}`, /not JSON/);
  refusedText(Uint8Array.from([0x22, 0xff, 0x22]), /not JSON in UTF-8/);
  refusedText(golden.replace('"b":2', '"b":1e999'), /x-note\.b: a number beyond the range of doubles/);
  refusedText(golden.replace('"b":2', '"__proto__":{"polluted":1}'), /x-note: the key "__proto__" is not accepted/);
  refusedText(golden.replace('"b":2', '"\\u005f_proto__":1'), /the key "__proto__" is not accepted/);
  assert.equal(({} as Anything).polluted, undefined);
  refusedText(new Uint8Array(MAX_MANIFEST_BYTES + 1), /8388609 bytes, at most 8388608/);
  refusedText(utf8('['.repeat(MAX_MANIFEST_BYTES)), /nested more than 32 deep/);
  refusedText(utf8(`[${'{},'.repeat(MAX_MANIFEST_BYTES / 3 - 1)}0]`), /more than 1048576 values/);
  refusedText(golden.replace('"tensors":[', `"tensors":[${'0,'.repeat(70_000)}`), /tensors: .*65536/);
  refusedText(golden.replace('"shape":[2,3]', `"shape":[${'0,'.repeat(900_000)}1]`), /tensors\[0\]\.shape: /);
});

test('equal manifests give equal bytes, whatever the order of their keys', () => {
  const shuffle = (value: Anything): Anything => {
    if (Array.isArray(value)) return value.map(shuffle);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, item]) => [key, shuffle(item)]),
    );
  };
  const manifest = parseManifest(utf8(golden));
  assert.equal(new TextDecoder().decode(serializeManifest(shuffle(manifest))), golden);
  assert.deepEqual(parseManifest(serializeManifest({ ...manifest, license: undefined })).license, undefined);
  assert.throws(() => serializeManifest({ ...manifest, defaults: { steps: 0, guidance: 1 } }), /defaults\.steps/);
  assert.throws(() => serializeManifest({ ...manifest, config: { a: Number.NaN } }), /NaN cannot be written/);
});

const SIGNATURE = {
  algorithm: 'Ed25519',
  key: '0'.repeat(64),
  issued: '2026-01-01T00:00:00Z',
  sequence: 1,
  value: '0'.repeat(128),
};

test('a signature has its form, whoever made it', () => {
  const with_ = (change: Anything) => (m: Anything) => (m.signature = { ...SIGNATURE, ...change });
  refused(with_({ algorithm: 'ed25519' }), /signature\.algorithm: expected "Ed25519"/);
  refused(with_({ key: 'A'.repeat(64) }), /signature\.key: must be 64 lower-case hex digits/);
  refused(with_({ value: '0'.repeat(126) }), /signature\.value: must be 128 lower-case hex digits/);
  refused(with_({ expires: 'tomorrow' }), /signature\.expires: must be a time such as/);
  refused(with_({ sequence: 0 }), /signature\.sequence/);
  refused(with_({ sequence: 2 ** 53 }), /signature\.sequence/);
  refused(with_({ more: 1 }), /signature: .*more/);
});

test('signature and x- keys are carried along', () => {
  const manifest = { ...JSON.parse(golden), signature: SIGNATURE, 'x-mine': [1] };
  const parsed = parseManifest(utf8(JSON.stringify(manifest)));
  assert.deepEqual(parsed.signature, SIGNATURE);
  assert.deepEqual(parsed['x-mine'], [1]);
});

test('a manifest of many tensors is parsed in seconds', { timeout: 10_000 }, () => {
  const manifest = JSON.parse(golden);
  const count = 40_000;
  manifest.shards = [{ sha256: '0'.repeat(64), length: 64 * (count + 1) }];
  manifest.tensors = Array.from({ length: count }, (_, i) => ({
    name: `blocks.${i}`,
    shape: [2, 3],
    encoding: 'f16',
    shard: 0,
    offset: 64 * (i + 1),
    length: 12,
  }));
  assert.equal(parseManifest(utf8(JSON.stringify(manifest))).tensors.length, count);
});
