/** A recipe is data: which bits each linear layer gets. Activations are int8, per token, dynamic, wherever weights are. */
import type { AttentionPrecision } from '@edge-dit/runtime/engines/engine';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';

/** 16 keeps a layer in float. */
export type WeightBits = 4 | 8 | 16;

export interface Recipe {
  readonly name: string;
  readonly summary: string;
  weightBits(layer: LinearSpec): WeightBits;
  /** How attention is computed; heads whose width is no multiple of 4 stay in float. */
  readonly attention: AttentionPrecision;
  /** Static balance of channels between weights and activations: SmoothQuant's, in ViDiT-Q's convention. Needs calibration. */
  readonly balance?: {
    /** m = max|w|^alpha / max|x|^(1 - alpha) for each input channel; x is multiplied by it, the weight divided. */
    readonly alpha: number;
  };
}

/** Kernels take four inputs at a time; layers that do not come so stay float, as the islands do. */
export function bodyBits(bits: 4 | 8): Recipe['weightBits'] {
  return ({ role, inFeatures }) => (role === 'body' && inFeatures % 4 === 0 ? bits : 16);
}
