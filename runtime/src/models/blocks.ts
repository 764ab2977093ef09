/** The parts that diffusion transformers share: their layers' specs, and their forward over an engine. */

import type { AttentionPrecision, Engine, Linear, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import type { InputScale, LinearSpec, ModelWeights } from './architecture.ts';

/** attn.{to_q,to_k,to_v,to_out.0}: keys and values read `contextWidth` channels. */
export function attentionLinears(
  name: string,
  width: number,
  contextWidth: number,
  bias: boolean,
  group: string,
  scaledBy?: InputScale,
): LinearSpec[] {
  const part = (suffix: string, inFeatures: number, withBias: boolean, scale = scaledBy): LinearSpec => {
    const sizes = { outFeatures: width, inFeatures, bias: withBias };
    return { name: `${name}.${suffix}`, ...sizes, group, role: 'body', scaledBy: scale };
  };
  return [
    part('to_q', width, bias),
    part('to_k', contextWidth, bias),
    part('to_v', contextWidth, bias),
    part('to_out.0', width, true, { linear: `${name}.to_v` }),
  ];
}

export function feedForwardLinears(
  name: string,
  width: number,
  hidden: number,
  group: string,
  scaledBy?: InputScale,
): LinearSpec[] {
  const shared = { bias: true, group, role: 'body' } as const;
  return [
    { name: `${name}.net.0.proj`, outFeatures: hidden, inFeatures: width, ...shared, scaledBy },
    { name: `${name}.net.2`, outFeatures: width, inFeatures: hidden, ...shared },
  ];
}

export function island(
  name: string,
  outFeatures: number,
  inFeatures: number,
  group: string,
  role: LinearSpec['role'] = 'island',
): LinearSpec {
  return { name, outFeatures, inFeatures, bias: true, group, role };
}

export function canonicalTensors(linears: readonly LinearSpec[]): { name: string; shape: readonly number[] }[] {
  return linears.flatMap(({ name, outFeatures, inFeatures, bias }) => [
    { name: `${name}.weight`, shape: [outFeatures, inFeatures] },
    ...(bias ? [{ name: `${name}.bias`, shape: [outFeatures] }] : []),
  ]);
}

export interface AttentionLayers {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly out: Linear;
  readonly precision: AttentionPrecision;
}

export function attentionLayers(weights: ModelWeights, name: string): AttentionLayers {
  const [q, k, v, out] = ['to_q', 'to_k', 'to_v', 'to_out.0'].map((part) => weights.linear(`${name}.${part}`));
  return { q, k, v, out, precision: weights.attention };
}

/** Shift, scale and gate of the two halves of a block, in the order in which adaLN gives them. */
export function modulationOf(engine: Engine, vectors: Tensor) {
  const [shift1, scale1, gate1, shift2, scale2, gate2] = [0, 1, 2, 3, 4, 5].map((i) => engine.select(vectors, i));
  return {
    attention: { modulation: { shift: shift1, scale: scale1 }, gate: gate1 },
    feedForward: { modulation: { shift: shift2, scale: scale2 }, gate: gate2 },
  };
}

export interface GatedPart {
  readonly modulation: { readonly shift: Tensor; readonly scale: Tensor };
  readonly gate: Tensor;
}

/** x += gate * attention(norm(x)); what it makes on the way is released. */
export function selfAttention(
  engine: Engine,
  x: Tensor,
  layers: AttentionLayers,
  part: GatedPart,
  heads: number,
  eps: number,
): void {
  const mark = engine.mark();
  const h = engine.operand(x, { kind: 'norm', eps, modulation: part.modulation });
  const [q, k, v] = [layers.q, layers.k, layers.v].map((layer) => engine.apply(layer, h));
  const y = engine.operand(engine.attention(q, k, v, { heads, precision: layers.precision }));
  engine.applyInto(x, layers.out, y, part.gate);
  engine.release(mark);
}

/** x += gate * W2 gelu(W1 norm(x)). */
export function feedForward(
  engine: Engine,
  x: Tensor,
  first: Linear,
  second: Linear,
  part: GatedPart,
  eps: number,
): void {
  const mark = engine.mark();
  const hidden = engine.apply(first, engine.operand(x, { kind: 'norm', eps, modulation: part.modulation }));
  engine.applyInto(x, second, engine.operand(hidden, { kind: 'gelu' }), part.gate);
  engine.release(mark);
}

/** linear_2(silu(linear_1(input))). */
export function timeMlp(engine: Engine, first: Linear, second: Linear, input: Tensor): Tensor {
  return engine.apply(second, engine.operand(engine.apply(first, engine.operand(input)), { kind: 'silu' }));
}

/** Problems of a size, or none: multiples of the patch, at least one. */
export function checkSize(height: number, width: number, patch: number): void {
  if (height < patch || width < patch || height % patch !== 0 || width % patch !== 0) {
    throw new EdgeDitError(
      'invalid-request',
      `a sample of ${height} x ${width} is not a whole number of patches of ${patch}.`,
    );
  }
}
