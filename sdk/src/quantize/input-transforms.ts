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

export interface InputTransform {
  /** [in]: float16 numbers. */
  readonly balance?: Float32Array;
  /** Of the balance. */
  readonly alpha?: number;
  /** [in]: 0 or 1, the signs of the rotation. */
  readonly rotation?: Uint8Array;
  /** Of the inputs after both. */
  readonly moments?: InputMoments;
}

export class InputTransforms {
  readonly #checkpoint: CanonicalCheckpoint;
  readonly #recipe: Recipe;
  readonly #groups = new Map<string, CalibrationGroup>();
  /** Layers of one operand come one after another, so that the last transform is all that is worth its memory. */
  #last: { readonly key: string; readonly transform: InputTransform } | undefined;

  constructor(checkpoint: CanonicalCheckpoint, recipe: Recipe, calibration?: Calibration) {
    this.#checkpoint = checkpoint;
    this.#recipe = recipe;
    for (const group of calibration?.groups ?? []) for (const name of group.layers) this.#groups.set(name, group);
  }

  async of(spec: LinearSpec, plan: LayerPlan): Promise<InputTransform> {
    const first = this.#groups.get(spec.name)?.layers[0] ?? spec.name;
    const key = JSON.stringify([first, plan.balance, plan.rotation, plan.rounding, plan.range]);
    if (this.#last?.key !== key) this.#last = { key, transform: await this.#make(spec, plan, first) };
    return this.#last.transform;
  }

  async #make({ name, inFeatures }: LinearSpec, plan: LayerPlan, first: string): Promise<InputTransform> {
    const group = this.#groups.get(name);
    const rotation = plan.rotation && hadamardOrder(inFeatures) !== undefined ? signsOf(first, inFeatures) : undefined;
    const balance = group && plan.balance ? await this.#balance(group, plan) : undefined;
    const moments =
      group?.moments && (plan.rounding === 'gptq' || plan.range === 'least-squares')
        ? momentsOf(group.moments, balance?.balance, rotation, plan)
        : undefined;
    return { ...balance, ...(rotation ? { rotation } : {}), ...(moments ? { moments } : {}) };
  }

  async #balance(group: CalibrationGroup, plan: LayerPlan): Promise<Pick<InputTransform, 'balance' | 'alpha'>> {
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
