/** A recipe is data: what each linear layer becomes. Activations are quantized per token, dynamically, wherever weights are. */
import type { ActivationBits, AttentionPrecision, CodeBits } from '@edge-dit/runtime/engines/engine';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';

export interface LayerPlan {
  /** Of a weight. */
  readonly bits: CodeBits;
  /** Consecutive inputs that share a step; all inputs of an output where absent, and where it does not divide them. */
  readonly group?: number;
  /** How far codes reach: to the smallest and largest weight (default), or as far as makes the squared error least. */
  readonly range?: 'extremes' | 'least-squares';
  /** Each weight by itself (default), or GPTQ (arXiv 2210.17323), which needs calibration and rounds plainly without. */
  readonly rounding?: 'nearest' | 'gptq';
  /** Default 8; `float` keeps the activations and quantizes the weight alone. */
  readonly activationBits?: ActivationBits;
  /** Static balance of channels between weights and activations. Needs calibration, and is left out without. */
  readonly balance?: BalancePlan;
  /** Rotates the inputs by a random Hadamard matrix, after the balance; left out where there is none for so many inputs. */
  readonly rotation?: boolean;
}

export interface BalancePlan {
  /**
   * m = max|w|^alpha / max|x|^(1 - alpha) for each input channel; x is multiplied by it, the weight divided. `search`
   * takes the alpha with the least estimated error, or none, for each input.
   */
  readonly alpha: number | 'search';
  /** Share of the steps, from the first, whose maxima count; 1 where absent. ViDiT-Q takes the first of them. */
  readonly steps?: number;
}

export interface MixedPlan {
  /** Bytes of all that is stored, in shares of the transformer's in float16. */
  readonly budget: number;
  /** Widths to choose from, two or more: default 4, 5, 6 and 8. Groups of inputs are left to 4 and 5 bits. */
  readonly bits?: readonly CodeBits[];
}

export interface Recipe {
  readonly name: string;
  readonly summary: string;
  /** How many conditions and steps a calibration has that nobody gave. */
  readonly calibration?: { readonly conditions: number; readonly steps: number };
  /** How attention is computed; heads whose width is no multiple of 4 stay in float. */
  readonly attention: AttentionPrecision;
  /** Layers of the blocks. */
  readonly body?: LayerPlan;
  /** Has the widths of the blocks' layers searched, instead of those of their plans. */
  readonly mixed?: MixedPlan;
  /** The linears of adaLN, which are a third of a DiT. */
  readonly modulation?: LayerPlan;
  /** Other plans, or changes to them, for layers by the pattern of their names; later ones win. `float` keeps a layer in float16. */
  readonly exceptions?: readonly { readonly layers: RegExp; readonly plan: Partial<LayerPlan> | 'float' }[];
}

/** What a recipe makes of a layer; undefined keeps it in float16, as islands are unless an exception names them. */
export function planOf(recipe: Recipe, { name, role, inFeatures }: LinearSpec): LayerPlan | undefined {
  // Kernels take four inputs at a time.
  if (inFeatures % 4 !== 0) return undefined;
  let plan = role === 'island' ? undefined : recipe[role];
  for (const exception of recipe.exceptions ?? []) {
    if (!exception.layers.test(name)) continue;
    plan = exception.plan === 'float' ? undefined : { bits: 8, ...plan, ...exception.plan };
  }
  return plan;
}

/** Whether anything in a recipe wants a calibration, and whether that needs second moments. */
export function calibrationNeeds(recipe: Recipe, linears: readonly LinearSpec[]): { any: boolean; moments: boolean } {
  const plans = linears.flatMap((spec) => planOf(recipe, spec) ?? []);
  const moments = plans.some(
    ({ rounding, range, balance }) => rounding === 'gptq' || range === 'least-squares' || balance?.alpha === 'search',
  );
  return { any: moments || plans.some(({ balance }) => balance !== undefined), moments };
}
