/**
 * The linear layers and tables of a checkpoint by their canonical names, as the exporter needs them: their sizes at
 * once, their numbers later, and changes to them that move work from the graph into the weights.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';

export interface Layer {
  readonly name: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly role: LinearSpec['role'];
  /** Row-major [out, in]. */
  weight(): Promise<Float32Array>;
  bias?(): Promise<Float32Array>;
}

export interface Table {
  readonly name: string;
  readonly shape: readonly number[];
  read(): Promise<Float32Array>;
}

export class Layers {
  readonly #checkpoint: CanonicalCheckpoint;

  constructor(checkpoint: CanonicalCheckpoint) {
    this.#checkpoint = checkpoint;
  }

  linear(name: string): Layer {
    const spec = this.#checkpoint.architecture.linears.find((candidate) => candidate.name === name);
    if (!spec) throw new EdgeDitError('internal', `no linear layer ${name}`);
    const { outFeatures, inFeatures, role, bias } = spec;
    const weight = () => this.table(`${name}.weight`).read();
    return {
      name,
      outFeatures,
      inFeatures,
      role,
      weight,
      ...(bias ? { bias: () => this.table(`${name}.bias`).read() } : {}),
    };
  }

  table(name: string): Table {
    const tensor = this.#checkpoint.tensors.get(name);
    if (!tensor) throw new EdgeDitError('internal', `no tensor ${name}`);
    return tensor;
  }
}

/** The layer's output times a constant. */
export function scaled({ weight, bias, ...layer }: Layer, factor: number): Layer {
  const times = (read: () => Promise<Float32Array>) => async () => (await read()).map((value) => value * factor);
  return { ...layer, weight: times(weight), ...(bias ? { bias: times(bias) } : {}) };
}

/** The same numbers with 1 added to some of the rows of `width` that they are: a modulation's 1 + scale. */
export function plusOne(read: () => Promise<Float32Array>, width: number, rows: readonly number[]) {
  return async (): Promise<Float32Array> => {
    const values = Float32Array.from(await read());
    for (const row of rows) {
      for (let i = row * width; i < (row + 1) * width; i++) values[i] += 1;
    }
    return values;
  };
}
