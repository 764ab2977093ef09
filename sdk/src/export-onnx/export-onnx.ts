/** A checkpoint in, an ONNX model out: one forward of its transformer, for one batch and size. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { checkSize } from '@edge-dit/runtime/models/blocks';
import type { OnnxValue } from '@edge-dit/runtime/onnx/onnx-writer';
import { canonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { readTokenizer } from '../checkpoint/tokenizer-file.ts';
import type { ExportShape } from './exporter.ts';
import { GraphBuilder } from './graph-builder.ts';
import { exporterByName } from './index.ts';
import { Layers } from './layers.ts';
import type { LinearForm } from './linear-forms.ts';

/** A picture with guidance: one half with the condition, one without. */
const DEFAULT_BATCH = 2;

export interface ExportOptions {
  readonly checkpoint: Checkpoint;
  readonly form: LinearForm;
  /** Default: batch 2, the model's own sample size, as many tokens as its tokenizer gives. */
  readonly shape?: Partial<ExportShape>;
  readonly signal?: AbortSignal;
  /** After each weight. */
  readonly onWeight?: (done: number, total: number) => void;
}

export interface ExportedModel {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly shape: ExportShape;
  readonly inputs: readonly OnnxValue[];
}

/**
 * Inputs are named as in diffusers' forward, the output `out_sample` as in diffusers' own exports: names are unique.
 * @throws `invalid-request` for a size of no whole patches, `invalid-argument` for text without a number of tokens,
 * `config-unsupported` for more than 2 GiB, `aborted`
 */
export async function exportOnnx({
  checkpoint,
  form,
  shape: wanted = {},
  signal,
  onWeight,
}: ExportOptions): Promise<ExportedModel> {
  const exporter = exporterByName(checkpoint.architecture);
  const canonical = canonicalCheckpoint(checkpoint);
  const { sampleSize, patchSize, conditioning } = canonical.architecture.geometry;
  const { batch = DEFAULT_BATCH, height = sampleSize, width = sampleSize } = wanted;
  checkSize(height, width, patchSize);
  if (conditioning.kind === 'class' && wanted.tokens !== undefined) {
    throw new EdgeDitError('invalid-argument', `${checkpoint.architecture} reads a class: it has no tokens.`);
  }
  const tokens = conditioning.kind === 'text' ? (wanted.tokens ?? (await tokensOf(checkpoint))) : 0;
  const shape = { batch, height, width, tokens };
  const graph = new GraphBuilder();
  const shop = { graph, layers: new Layers(canonical), form };
  graph.output('out_sample', exporter.build(shop, checkpoint.config, shape));
  const metadata = { architecture: checkpoint.architecture, form: form.name };
  const bytes = await graph.write(checkpoint.architecture, metadata, (done, total) => {
    if (signal?.aborted) throw new EdgeDitError('aborted', 'the export was cancelled.', { cause: signal.reason });
    onWeight?.(done, total);
  });
  return { bytes, shape, inputs: graph.inputs };
}

async function tokensOf({ path, files }: Checkpoint): Promise<number> {
  if (!files.tokenizer) {
    throw new EdgeDitError(
      'invalid-argument',
      `checkpoint "${path}" has no tokenizer to say how many tokens a text has; say it (PixArt-alpha 120, PixArt-Sigma 300).`,
    );
  }
  return (await readTokenizer(files.tokenizer)).maxTokens;
}
