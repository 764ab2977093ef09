/**
 * What is done to the inputs of each linear layer before they are quantized, and undone in its weight: balance, then
 * rotation. Layers that read the same operand get the same, so that it is quantized once for all of them.
 */
import { createHash } from 'node:crypto';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { hadamardRotate } from '@edge-dit/runtime/rotation';
import { hadamardOrder } from '@edge-dit/wasm-kernels';
import type { Calibration, CalibrationGroup } from '../calibrate/calibration.ts';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { type LayerPlan, planOf, type Recipe } from '../recipes/recipe.ts';
import { balanceOf, columnMaxima, earlyMaxima } from './balance.ts';
import { errorFeedback } from './gptq.ts';
import type { InputMoments } from './quantize-weight.ts';
import { searchBalance } from './search-balance.ts';

export interface InputBalance {
  /** [in]: float16 numbers. */
  readonly balance?: Float32Array;
  /** Of the balance. */
  readonly alpha?: number;
}

export interface InputTransform extends InputBalance {
  /** The layer whose outputs have the balance already. */
  readonly folded?: string;
  /** [in]: 0 or 1, the signs of the rotation. */
  readonly rotation?: Uint8Array;
  /** Of the inputs after both. */
  readonly moments?: InputMoments;
}

export interface OutputScale {
  /** [out]. */
  readonly factors: Float32Array;
  /** [out]: added to the bias after it was multiplied. */
  readonly offsets: Float32Array;
}

export class InputTransforms {
  readonly #checkpoint: CanonicalCheckpoint;
  readonly #recipe: Recipe;
  readonly #groups = new Map<string, CalibrationGroup>();
  /** By the first layer of a group. */
  readonly #balances = new Map<string, Promise<InputBalance>>();
  /** Layers of one operand come one after another, so that the last transform is all that is worth its memory. */
  #last: { readonly key: string; readonly transform: Promise<InputTransform> } | undefined;

  constructor(checkpoint: CanonicalCheckpoint, recipe: Recipe, calibration?: Calibration) {
    this.#checkpoint = checkpoint;
    this.#recipe = recipe;
    for (const group of calibration?.groups ?? []) for (const name of group.layers) this.#groups.set(name, group);
  }

  of(spec: LinearSpec, plan: LayerPlan): Promise<InputTransform> {
    const first = this.#groups.get(spec.name)?.layers[0] ?? spec.name;
    const key = JSON.stringify([first, plan.balance, plan.rotation, plan.rounding, plan.range]);
    if (this.#last?.key !== key) this.#last = { key, transform: this.#make(spec, plan) };
    return this.#last.transform;
  }

  /**
   * What the outputs of a layer are to be multiplied by, [out], because layers that read them want a balance; for the
   * layers of adaLN, with what is to be added to the bias after that: a scale s acts as 1 + s.
   */
  async outputScale({ name, outFeatures }: LinearSpec): Promise<OutputScale | undefined> {
    let out: OutputScale | undefined;
    for (const reader of this.#checkpoint.architecture.linears) {
      if (reader.scaledBy?.linear !== name || !(await this.#folds(reader))) continue;
      const balance = (await this.#balanceOf(reader)).balance!;
      out ??= { factors: new Float32Array(outFeatures).fill(1), offsets: new Float32Array(outFeatures) };
      const { modulation } = reader.scaledBy;
      if (!modulation) out.factors.set(balance);
      else {
        out.factors.set(balance, modulation.shift * balance.length);
        out.factors.set(balance, modulation.scale * balance.length);
        out.offsets.set(
          balance.map((value) => value - 1),
          modulation.scale * balance.length,
        );
      }
    }
    return out;
  }

  /** The same for all layers of a group, whichever comes first. */
  #balanceOf(spec: LinearSpec): Promise<InputBalance> {
    const group = this.#groups.get(spec.name);
    const plan = planOf(this.#recipe, spec);
    if (!group || !plan?.balance) return Promise.resolve({});
    const [first] = group.layers;
    const known = this.#balances.get(first) ?? this.#balance(group, plan);
    this.#balances.set(first, known);
    return known;
  }

  /** Whether its balance may be left to the layer before it: whatever else reads the same must have the same. */
  async #folds({ scaledBy }: LinearSpec): Promise<boolean> {
    if (!scaledBy) return false;
    const readers = this.#checkpoint.architecture.linears.filter(
      (spec) =>
        spec.scaledBy?.linear === scaledBy.linear && spec.scaledBy.modulation?.shift === scaledBy.modulation?.shift,
    );
    const found = await Promise.all(readers.map((reader) => this.#balanceOf(reader)));
    return found.every(({ balance }) => balance !== undefined && balance === found[0].balance);
  }

  /** All but the second moments, which take long. */
  async withoutMoments(spec: LinearSpec, { rotation }: LayerPlan): Promise<Omit<InputTransform, 'moments'>> {
    const { name, inFeatures, scaledBy } = spec;
    const { balance, alpha } = await this.#balanceOf(spec);
    const first = this.#groups.get(name)?.layers[0] ?? name;
    const signs = rotation && hadamardOrder(inFeatures) !== undefined ? signsOf(first, inFeatures) : undefined;
    return {
      ...(balance ? { balance, alpha, ...((await this.#folds(spec)) ? { folded: scaledBy!.linear } : {}) } : {}),
      ...(signs ? { rotation: signs } : {}),
    };
  }

  /** Whether second moments decide over its codes. */
  usesMoments({ name }: LinearSpec, { rounding, range }: LayerPlan): boolean {
    return this.#groups.get(name)?.moments !== undefined && (rounding === 'gptq' || range === 'least-squares');
  }

  async #make(spec: LinearSpec, plan: LayerPlan): Promise<InputTransform> {
    const transform = await this.withoutMoments(spec, plan);
    if (!this.usesMoments(spec, plan)) return transform;
    const { moments } = this.#groups.get(spec.name)!;
    return { ...transform, moments: momentsOf(moments!, transform.balance, transform.rotation, plan) };
  }

  async #balance(group: CalibrationGroup, plan: LayerPlan): Promise<InputBalance> {
    const { linears } = this.#checkpoint.architecture;
    const balanced = linears.filter(
      (spec) => group.layers.includes(spec.name) && planOf(this.#recipe, spec)?.balance !== undefined,
    );
    const weights = await Promise.all(
      balanced.map(({ name }) => this.#checkpoint.tensors.get(`${name}.weight`)!.read()),
    );
    const { alpha, steps = 1 } = plan.balance!;
    const channelMax = earlyMaxima(group, steps);
    if (alpha !== 'search') {
      return { alpha, balance: balanceOf(columnMaxima(weights, group.channels), channelMax, alpha) };
    }
    const { bits, activationBits = 8, rotation = false } = plan;
    const found = searchBalance({
      weights,
      channelMax,
      importance: meanSquares(group),
      weightBits: bits,
      activationBits: activationBits === 'float' ? 0 : activationBits,
      rotation,
    });
    return found ?? {};
  }
}

/** Of the group's channels, over all steps. */
function meanSquares({ channels, steps, channelSquares, tokenRanges }: CalibrationGroup): Float32Array {
  const out = new Float32Array(channels);
  const tokens = tokenRanges.length === 0 ? 1 : tokensOf(tokenRanges);
  for (let i = 0; i < steps * channels; i++) out[i % channels] += channelSquares[i] / tokens;
  return out;
}

/** Every fifth number counts tokens: see `RANGE_FIELDS`. */
function tokensOf(tokenRanges: Float64Array): number {
  let tokens = 0;
  for (let i = 0; i < tokenRanges.length; i += 5) tokens += tokenRanges[i];
  return Math.max(1, tokens);
}

/** Signs that depend on the layer's name alone. */
function signsOf(name: string, inFeatures: number): Uint8Array {
  const signs = new Uint8Array(inFeatures);
  for (let from = 0; from < inFeatures; from += 256) {
    const bits = createHash('sha256').update(`${name}/${from}`).digest();
    for (let i = 0; i < 256 && from + i < inFeatures; i++) signs[from + i] = (bits[i >> 3] >> (i & 7)) & 1;
  }
  return signs;
}

/** The second moments of transformed inputs: R^T M H M R, for the balance M and the rotation R. */
function momentsOf(
  { rows, matrix }: NonNullable<CalibrationGroup['moments']>,
  balance: Float32Array | undefined,
  rotation: Uint8Array | undefined,
  { rounding }: LayerPlan,
): InputMoments {
  const n = Math.sqrt(matrix.length);
  const h = matrix.map((value, i) => (value / rows) * (balance ? balance[Math.floor(i / n)] * balance[i % n] : 1));
  if (rotation) {
    hadamardRotate(n, n, h, rotation);
    transpose(h, n);
    hadamardRotate(n, n, h, rotation);
  }
  const importance = Float32Array.from({ length: n }, (_, k) => h[k * n + k]);
  return { importance, ...(rounding === 'gptq' ? { feedback: errorFeedback(h, n) } : {}) };
}

function transpose(square: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const above = square[j * n + i];
      square[j * n + i] = square[i * n + j];
      square[i * n + j] = above;
    }
  }
}

/** The weight whose outputs are scaled: row-major [out, in]. */
export function scaledWeight(weight: Float32Array, inFeatures: number, scale: OutputScale | undefined): Float32Array {
  return scale ? weight.map((value, i) => value * scale.factors[Math.floor(i / inFeatures)]) : weight;
}

export function scaledBias(bias: Float32Array, scale: OutputScale | undefined): Float32Array {
  return scale ? bias.map((value, n) => value * scale.factors[n] + scale.offsets[n]) : bias;
}

/** The weight that meets transformed inputs: row-major [out, in], divided by the balance, then rotated. */
export function transformedWeight(
  weight: Float32Array,
  { name, outFeatures, inFeatures }: LinearSpec,
  { balance, rotation }: InputTransform,
): Float32Array {
  if (!balance && !rotation) return weight;
  const out = balance ? weight.map((value, i) => value / balance[i % inFeatures]) : weight.slice();
  if (rotation) hadamardRotate(outFeatures, inFeatures, out, rotation, name);
  return out;
}
