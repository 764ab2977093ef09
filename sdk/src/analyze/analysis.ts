/** What an analysis found: numbers alone, as the JSON file has them. Errors are relative: |difference| / |exact|, in L2. */

/** What is done to what a layer reads, and undone in its weight, before both are quantized. */
export const TREATMENTS = ['plain', 'balanced', 'rotated', 'both'] as const;
export type Treatment = (typeof TREATMENTS)[number];

export const BITS = [8, 6, 4] as const;
export type Bits = (typeof BITS)[number];

/** Weights and activations alone, and both together. */
export const OUTPUT_FORMS = ['W8', 'W6', 'W4', 'A8', 'A6', 'A4', 'W8A8', 'W6A6', 'W4A8'] as const;
export type OutputForm = (typeof OUTPUT_FORMS)[number];

export interface LayerErrors {
  /** Of the weight, asymmetric by output channel. */
  readonly weight: Readonly<Record<Bits, number>>;
  /** Of what the layer reads, asymmetric by token. */
  readonly activation: Readonly<Record<Bits, number>>;
  /** Of what the layer gives. */
  readonly output: Readonly<Record<OutputForm, number>>;
}

export interface AnalyzedLayer {
  readonly name: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** By treatment; rotated ones are absent where no Hadamard matrix fits. */
  readonly errors: Partial<Readonly<Record<Treatment, LayerErrors>>>;
}

/** The largest by the mean of what is compared; 1 where all are equal. */
export interface Variance {
  /** Ranges of tokens, within a step and a half of a guided request. */
  readonly token: number;
  /** Ranges of the unconditional and the conditional half. */
  readonly condition: number;
  /** Ranges of steps. */
  readonly timestep: number;
  /** Largest magnitudes of channels, within a step. */
  readonly channel: number;
}

/** What one or more layers read. */
export interface AnalyzedOperand {
  readonly layers: readonly string[];
  readonly channels: number;
  readonly variance: Variance;
  /** By treatment and step: max|x| sqrt(n) / ||x||, the mean over tokens of n channels. */
  readonly incoherence: Partial<Readonly<Record<Treatment, readonly number[]>>>;
}

/** A recipe's network that reads, in every step, what the float network reads. */
export interface TeacherForced {
  readonly recipe: string;
  /** Error of the network's output, by step. */
  readonly steps: readonly number[];
  /** Error behind each block, over all steps. */
  readonly blocks: readonly number[];
}

export interface Analysis {
  readonly format: 'edge-dit-analysis';
  readonly version: 1;
  /** SHA-256 of the checkpoint, and of the calibration. */
  readonly checkpoint: string;
  readonly calibration: string;
  readonly architecture: string;
  readonly conditions: readonly (string | number)[];
  readonly timesteps: readonly number[];
  readonly guidance: number;
  readonly seed: number;
  /** Of the balance: m = max|w|^alpha / max|x|^(1 - alpha). */
  readonly alpha: number;
  readonly layers: readonly AnalyzedLayer[];
  readonly operands: readonly AnalyzedOperand[];
  readonly recipes: readonly TeacherForced[];
}

/** The part of a network that a layer is, and in which block: `transformer_blocks.3.attn1.to_q` is attn1.to_q of 3. */
export function placeOf(layer: string): { readonly part: string; readonly block: number } {
  const [, block, part] = /^[^.]+\.(\d+)\.(.+)$/.exec(layer) ?? [];
  return part === undefined ? { part: layer, block: 0 } : { part, block: Number(block) };
}
