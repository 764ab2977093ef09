/** The float network in a worker's engine, and the same with other weights in some layers. */
import type { Engine, Linear } from '@edge-dit/runtime/engines/engine';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import type { Transformer } from '@edge-dit/runtime/models/architecture';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { type FloatModel, loadFloatModel } from '../float-model.ts';

/** A float32 network and its activations on a developer's machine. */
const MEMORY_BYTES = 4 * 2 ** 30 - 2 ** 16;

export interface FloatNetwork {
  readonly engine: Engine;
  readonly model: FloatModel;
  /** What it makes lies above the engine's mark at the time of the call. */
  with(layers: ReadonlyMap<string, Linear>): Transformer;
}

/** @param path of a checkpoint */
export async function openFloatNetwork(path: string): Promise<FloatNetwork> {
  const checkpoint = await openCheckpoint(path);
  try {
    const { engine } = await openWasmEngine(await compileKernels(), new Meter(MEMORY_BYTES));
    const model = await loadFloatModel(checkpoint, engine);
    const { architecture, weights } = model;
    return {
      engine,
      model,
      with: (layers) =>
        architecture.build(
          {
            attention: weights.attention,
            linear: (name) => layers.get(name) ?? weights.linear(name),
            table: (name) => weights.table(name),
            values: (name) => weights.values(name),
          },
          engine,
        ),
    };
  } finally {
    await checkpoint.close();
  }
}
