/**
 * A classifier of pictures: what evaluations judge pictures with. Its architectures are described as those of
 * transformers are, but nothing that generates imports this folder, so no worker carries them.
 */
import type { Engine } from '../engines/engine.ts';
import type { ConfiguredArchitecture, ModelWeights } from '../models/architecture.ts';
import type { CheckpointLayout } from '../models/checkpoint-layouts.ts';

export interface Classified {
  /** What the last layer reads: [pictures, features]. */
  readonly features: Float32Array;
  /** [pictures, classes]. */
  readonly logits: Float32Array;
}

export interface Classifier {
  /** Pictures [count, 3, size, size] of values in -1..1. The same engine gives the same bits whatever their neighbours. */
  classify(pictures: Float32Array): Promise<Classified>;
}

export interface ConfiguredClassifier extends Pick<ConfiguredArchitecture, 'linears' | 'tables'> {
  readonly layout: CheckpointLayout;
  /** Height and width of a picture. */
  readonly size: number;
  readonly features: number;
  readonly classes: number;
  build(weights: ModelWeights, engine: Engine): Classifier;
}

export interface ClassifierArchitecture {
  /** Class names by which configs call it. */
  readonly names: readonly string[];
  /** Raises `config-unsupported` naming every option that is not implemented. */
  configure(config: Readonly<Record<string, unknown>>): ConfiguredClassifier;
}
