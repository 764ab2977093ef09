/** The networks whose steps are timed: of random weights in the sizes that people know, and the emoji model as it is published. */
import type { AttentionPrecision, CodeBits, Engine } from '@edge-dit/runtime/engines/engine';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import type { Store } from '@edge-dit/runtime/stores/store';
import { BATCH, conditionsOf, MODELS, openRandomModel, type RandomModel, stepOf } from './random-model.ts';

export interface StepModel {
  readonly name: string;
  /** Widths of weights and activations, or a recipe. */
  readonly weights: string;
  readonly attention: AttentionPrecision;
  /** The network in an engine's memory, and one step of it. */
  open(engine: Engine): Promise<() => Promise<Float32Array>>;
}

const FORMS: readonly (readonly [CodeBits, AttentionPrecision])[] = [
  [8, 'float'],
  [8, 'int8'],
  [4, 'int8'],
];

/** In the order in which they are timed. @param emoji where the model `emoji` of a recipe is published */
export function stepModels(emoji: { readonly store: Store; readonly recipe: string } | undefined): StepModel[] {
  const [small, ...large] = MODELS;
  return [
    ...(emoji ? [publishedEmoji(emoji.store, emoji.recipe)] : []),
    randomStep(small, 8, 'float'),
    ...large.flatMap((model) => FORMS.map(([bits, attention]) => randomStep(model, bits, attention))),
  ];
}

function randomStep(model: RandomModel, bits: CodeBits, attention: AttentionPrecision): StepModel {
  const open = async (engine: Engine) => openRandomModel(engine, model, bits, attention);
  return { name: model.name, weights: `W${bits}A8`, attention, open };
}

function publishedEmoji(store: Store, recipe: string): StepModel {
  const [like] = MODELS;
  const open = async (engine: Engine) => {
    const { manifest } = await loadManifest(store, 'emoji');
    const { transformer } = await loadModel(store, manifest, engine);
    return stepOf(transformer.begin(conditionsOf(like), []), like, BATCH);
  };
  return { name: 'emoji, published', weights: recipe, attention: 'float', open };
}
