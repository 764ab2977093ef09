/** A classifier's checkpoint in an engine: pictures in, features and logits out. */
import { createHash } from 'node:crypto';
import type { Classifier, ConfiguredClassifier } from '@edge-dit/runtime/classifiers/classifier';
import { classifierByName } from '@edge-dit/runtime/classifiers/index';
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import { Meter } from '@edge-dit/runtime/meter';
import { WeightLoader } from '@edge-dit/runtime/models/weights';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { canonicalTensors } from '../checkpoint/canonical.ts';
import { type Checkpoint, openCheckpoint } from '../checkpoint/checkpoint.ts';

export interface LoadedClassifier extends Classifier {
  readonly configured: ConfiguredClassifier;
}

export async function loadClassifier(checkpoint: Checkpoint, engine: Engine): Promise<LoadedClassifier> {
  const configured = classifierByName(checkpoint.architecture).configure(checkpoint.config);
  const loader = new WeightLoader(configured, engine);
  for (const { name, shape, read } of canonicalTensors(checkpoint, configured.layout).tensors.values()) {
    loader.add(name, shape, { kind: 'float', data: await read() });
  }
  const classifier = configured.build(loader.finish(), engine);
  return { configured, classify: (pictures) => classifier.classify(pictures) };
}

export interface OpenedClassifier extends LoadedClassifier {
  /** Over the config and the tensors: another classifier's features do not compare with these. */
  readonly sha256: string;
}

/** A network for small pictures and the activations of a few dozen of them. */
const MEMORY_BYTES = 2 ** 30;

/** Opens a checkpoint folder in a wasm engine of its own. Calls take turns. */
export async function openClassifier(path: string): Promise<OpenedClassifier> {
  const checkpoint = await openCheckpoint(path);
  try {
    const { engine } = await openWasmEngine(await compileKernels(), new Meter(MEMORY_BYTES));
    const { configured, classify } = await loadClassifier(checkpoint, engine);
    let turn: Promise<unknown> = Promise.resolve();
    return {
      configured,
      sha256: await digestOf(checkpoint),
      classify(pictures) {
        // The engine's activations are one stack.
        const run = turn.then(() => classify(pictures));
        turn = run.catch(() => {});
        return run;
      },
    };
  } finally {
    await checkpoint.close();
  }
}

async function digestOf({ config, tensors, read }: Checkpoint): Promise<string> {
  const hash = createHash('sha256').update(canonicalJson(config));
  for (const name of [...tensors.keys()].sort()) {
    const { buffer, byteOffset, byteLength } = await read(name);
    hash.update(name).update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest('hex');
}
