/**
 * Runs a checkpoint's float network on recorded inputs and compares with recorded outputs. The file's tensors are
 * `in.<argument of the original forward>`, `mid.block<i>` and `out.sample`.
 */
import { setImmediate } from 'node:timers/promises';
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Conditions } from '@edge-dit/runtime/models/architecture';
import { parseSafetensors, toFloat32, toInt32 } from '@edge-dit/runtime/safetensors';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import { loadFloatModel } from './float-model.ts';

export interface ParityReport {
  readonly engine: string;
  /** Relative L2 error of the output. */
  readonly error: number;
  /** Of every recorded intermediate value, in the order of the blocks. */
  readonly blocks: readonly { readonly name: string; readonly error: number }[];
}

/** ||a - b|| / ||b||, b being the standard. */
export function relativeError(got: Float32Array, standard: Float32Array, name = 'the standard'): number {
  if (got.length !== standard.length) {
    throw new EdgeDitError(
      'invalid-argument',
      `the network gave ${got.length} values, ${name} has ${standard.length}.`,
    );
  }
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < got.length; i++) {
    difference += (got[i] - standard[i]) ** 2;
    norm += standard[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** `name` names the recorded file in messages. Raises `invalid-argument` for a file without the tensors that it needs, `aborted` between two blocks. */
export async function parity(
  checkpoint: Checkpoint,
  io: Uint8Array,
  engine: Engine,
  signal?: AbortSignal,
  name = 'the recorded file',
): Promise<ParityReport> {
  const { tensors } = parseSafetensors(io, name);
  const find = (...names: string[]) => names.map((name) => tensors.get(name)).find((tensor) => tensor !== undefined);
  const need = (...names: string[]) => {
    const found = find(...names);
    if (!found)
      throw new EdgeDitError(
        'invalid-argument',
        `${name} has none of ${names.join(', ')}; it has ${[...tensors.keys()].join(', ')}.`,
      );
    return found;
  };
  const sample = need('in.sample', 'in.hidden_states');
  const [batch] = sample.shape;
  const [height, width] = sample.shape.slice(-2);
  const labels = find('in.class_labels');
  const context = find('in.encoder_hidden_states', 'mid.encoder_hidden_states');
  const mask = find('in.encoder_attention_mask', 'in.attention_mask');
  const resolution = find('in.added_cond_kwargs.resolution');
  const aspectRatio = find('in.added_cond_kwargs.aspect_ratio');
  const [tokens, channels] = context?.shape.slice(1) ?? [];
  const conditions: Conditions = {
    batch,
    frames: sample.shape.length === 5 ? sample.shape[2] : 1,
    height,
    width,
    labels: labels && [...toInt32(labels)],
    text: context && {
      count: batch,
      tokens,
      channels,
      data: toFloat32(context),
      mask: mask ? toInt32(mask) : new Int32Array(batch * tokens).fill(1),
    },
    resolution: resolution && toFloat32(resolution),
    aspectRatio: aspectRatio && toFloat32(aspectRatio),
  };
  const { transformer } = await loadFloatModel(checkpoint, engine);
  const blocks: { name: string; error: number }[] = [];
  const output = await transformer.begin(conditions).forward(toFloat32(sample), toFloat32(need('in.timestep')), {
    async tick() {
      await setImmediate();
      if (signal?.aborted) throw new EdgeDitError('aborted', 'the comparison was cancelled.', { cause: signal.reason });
    },
    async observe(block, tensor) {
      const recorded = find(`mid.${block}`);
      if (!recorded) return;
      blocks.push({ name: block, error: relativeError(await engine.read(tensor), toFloat32(recorded), name) });
    },
  });
  return { engine: engine.name, error: relativeError(output, toFloat32(need('out.sample')), name), blocks };
}
