/** Which parts of a quantized layer the loader takes, and what it makes of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ActivationBits, LinearSource } from '../engines/engine.ts';
import { ReferenceEngine } from '../engines/reference.ts';
import { panelsFromCodes } from '../format/encodings.ts';
import type { TensorRecord } from '../format/manifest.ts';
import { MemoryStore } from '../stores/memory.ts';
import { loadModel } from './load-model.ts';
import {
  balanceName,
  groupsName,
  rotationName,
  scaleName,
  type TensorValue,
  WeightLoader,
  zeroName,
} from './weights.ts';

const SPEC = { name: 'a', outFeatures: 9, inFeatures: 48, bias: false, group: 'start', role: 'body' } as const;

/** Remembers the layers that it is given. */
class Recorder extends ReferenceEngine {
  readonly sources: LinearSource[] = [];
  override linear(source: LinearSource) {
    this.sources.push(source);
    return super.linear(source);
  }
}

type Parts = Record<string, { shape: number[]; value: TensorValue }>;
const bytes = (shape: number[], fill: number): Parts[string] => {
  const length = shape.reduce((a, b) => a * b);
  return { shape, value: { kind: 'bytes', data: new Uint8Array(length).fill(fill) } };
};
const floats = (shape: number[], fill: number): Parts[string] => {
  const length = shape.reduce((a, b) => a * b);
  return { shape, value: { kind: 'float', data: new Float32Array(length).fill(fill) } };
};
const weight = (bits: 4 | 5 | 6 | 8): Parts[string] => {
  const codes = Uint8Array.from({ length: 9 * 48 }, (_, i) => i % (1 << bits));
  return { shape: [9, 48], value: { kind: 'codes', bits, panels: panelsFromCodes(codes, 9, 48, bits) } };
};
const plain = (bits: 4 | 5 | 6 | 8): Parts => {
  return { 'a.weight': weight(bits), [scaleName('a')]: floats([9], 0.5), [zeroName('a')]: bytes([9], 3) };
};

function load(parts: Parts, activationBits?: ActivationBits) {
  const engine = new Recorder();
  const loader = new WeightLoader({ linears: [SPEC], tables: [] }, engine, {
    names: new Set(Object.keys(parts)),
    activationBits: activationBits && new Map([['a', activationBits]]),
  });
  for (const [name, { shape, value }] of Object.entries(parts)) loader.add(name, shape, value);
  loader.finish();
  assert.equal(engine.sources.length, 1);
  return engine.sources[0];
}

test('every part of a layer of codes reaches the engine, whichever comes last', () => {
  const all: Parts = {
    ...plain(5),
    [groupsName('a')]: bytes([2, 3, 16], 3),
    [rotationName('a')]: bytes([48], 1),
    [balanceName('a')]: floats([48], 2),
  };
  const names = Object.keys(all);
  for (const last of names) {
    const order = [...names.filter((name) => name !== last), last];
    const source = load(Object.fromEntries(order.map((name) => [name, all[name]])), 6);
    assert.ok(source.kind === 'codes');
    assert.equal(source.bits, 5);
    assert.equal(source.groups?.size, 16);
    assert.equal(source.groups.records.length, 2 * 3 * 16);
    assert.deepEqual(source.rotation, new Uint8Array(48).fill(1));
    assert.deepEqual(source.balance, new Float32Array(48).fill(2));
    assert.equal(source.activationBits, 6);
  }
  const bare = load(plain(8));
  assert.ok(bare.kind === 'codes' && !bare.groups && !bare.rotation && bare.activationBits === undefined);
});

const refused = (parts: Parts, message: RegExp, activationBits?: ActivationBits) =>
  assert.throws(() => load(parts, activationBits), { code: 'checkpoint-mismatch', message });

test('groups are refused where their shape is not one, and where codes could expand beyond 127', () => {
  refused({ ...plain(4), [groupsName('a')]: bytes([1, 3, 16], 1) }, /groups has shape \[1,3,16\]/);
  refused({ ...plain(4), [groupsName('a')]: bytes([2, 3, 8], 1) }, /groups has shape/);
  for (const count of [5, 24, 48]) {
    refused({ ...plain(4), [groupsName('a')]: bytes([2, count, 16], 1) }, /not of a multiple of 4/);
  }
  const records = new Uint8Array(2 * 3 * 16);
  const groups: Parts[string] = { shape: [2, 3, 16], value: { kind: 'bytes', data: records } };
  records.set([8, 7], 33);
  records.set([7], 41);
  load({ ...plain(4), [groupsName('a')]: groups });
  refused({ ...plain(5), [groupsName('a')]: groups }, /beyond 127, at byte 33/);
  records[41] = 8;
  refused({ ...plain(4), [groupsName('a')]: groups }, /beyond 127, at byte 33/);
});

test('parts of quantized layers are refused where there is nothing for them', () => {
  const float: Parts = { 'a.weight': floats([9, 48], 1) };
  assert.equal(load(float).kind, 'float');
  refused({ ...float, [balanceName('a')]: floats([48], 1) }, /layer a is in float/);
  refused({ ...float, [groupsName('a')]: bytes([2, 3, 16], 1) }, /layer a is in float/);
  refused({ ...plain(4), [rotationName('a')]: bytes([48], 1) }, /layer a is in float/, 'float');
  load({ ...plain(4), [groupsName('a')]: bytes([2, 3, 16], 1) }, 'float');
  refused({ 'a.weight': weight(4), [zeroName('a')]: bytes([9], 1) }, /the model lacks a/);
  refused({ ...plain(4), [zeroName('a')]: floats([9], 1) }, /zero holds float, expected bytes/);
});

test('a rotation is refused by the name of the layer, where its inputs have none', () => {
  const engine = new ReferenceEngine();
  const linears = [{ ...SPEC, name: 'blocks.3.ff', inFeatures: 100 }];
  const loader = new WeightLoader({ linears, tables: [] }, engine, { names: new Set([rotationName('blocks.3.ff')]) });
  const panels = new Uint8Array(16 * 100);
  loader.add('blocks.3.ff.weight', [9, 100], { kind: 'codes', bits: 8, panels });
  assert.throws(() => loader.add(rotationName('blocks.3.ff'), [100], bytes([100], 1).value), {
    code: 'config-unsupported',
    message: /blocks\.3\.ff.*100 inputs/,
  });
});

test('a manifest says the width of activations; one that is none is refused', async () => {
  const tensors: TensorRecord[] = [];
  const manifest = (activationBits: number, weightBits = 4) =>
    ({
      architecture: 'DiTTransformer2DModel',
      config: { num_layers: 1, num_embeds_ada_norm: 4, norm_type: 'ada_norm_zero', sample_size: 4 },
      tensors,
      shards: [],
      quantization: { layers: [{ name: 'proj_out_1', weightBits, activationBits }] },
    }) as unknown as Parameters<typeof loadModel>[1];
  const code = async (...args: Parameters<typeof manifest>) => {
    const failure = await loadModel(new MemoryStore(), manifest(...args), new ReferenceEngine()).catch(
      (error) => error,
    );
    return `${failure.code}: ${failure.message}`;
  };
  for (const bits of [4, 8, 32]) assert.match(await code(bits), /^checkpoint-mismatch: the model lacks/);
  for (const bits of [3, 9, 16]) assert.match(await code(bits), /^manifest-invalid: .*proj_out_1.*4 to 8/);
  assert.match(await code(16, 16), /^checkpoint-mismatch: the model lacks/);
});
