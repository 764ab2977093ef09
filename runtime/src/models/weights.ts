/**
 * From tensors to the layers of a network in an engine's memory. Tensors come one by one, in any order; a layer is made
 * when its parts are complete, and its bytes on the host are dropped then.
 */
import type { Engine, Linear, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import type { ConfiguredArchitecture, LinearSpec, ModelWeights, TableSpec } from './architecture.ts';

/** What a stored tensor says: numbers, or the panels of quantized codes. */
export type TensorValue =
  | { readonly kind: 'float'; readonly data: Float32Array }
  | { readonly kind: 'codes'; readonly bits: 4 | 8; readonly panels: Uint8Array }
  | { readonly kind: 'bytes'; readonly data: Uint8Array };

/** Names of the tensors that stand beside the codes `<linear>.weight`. */
export const scaleName = (linear: string) => `${linear}.weight.scale`;
export const zeroName = (linear: string) => `${linear}.weight.zero`;

interface Parts {
  readonly spec: LinearSpec;
  weight?: TensorValue;
  bias?: Float32Array;
  scale?: Float32Array;
  zero?: Uint8Array;
}

type Slot = (value: TensorValue, shape: readonly number[]) => void;

export class WeightLoader implements ModelWeights {
  readonly #engine: Engine;
  readonly #linears = new Map<string, Linear>();
  readonly #tables = new Map<string, { tensor: Tensor; values: Float32Array }>();
  readonly #slots = new Map<string, Slot>();
  readonly #missing: Set<string>;

  constructor({ linears, tables }: ConfiguredArchitecture, engine: Engine) {
    this.#engine = engine;
    for (const spec of linears) this.#expectLinear(spec);
    for (const spec of tables) this.#expectTable(spec);
    this.#missing = new Set([...linears, ...tables].map(({ name }) => name));
  }

  /** Takes one tensor. Raises `checkpoint-mismatch` for a name, shape or kind that the architecture has no use for. */
  add(name: string, shape: readonly number[], value: TensorValue): void {
    const slot = this.#slots.get(name);
    if (!slot)
      throw new EdgeDitError('checkpoint-mismatch', `tensor ${name} is not one of this architecture's, or came twice.`);
    this.#slots.delete(name);
    slot(value, shape);
  }

  /** Raises `checkpoint-mismatch` naming every layer and table that is not there. */
  finish(): ModelWeights {
    if (this.#missing.size > 0) {
      throw new EdgeDitError('checkpoint-mismatch', `the model lacks ${[...this.#missing].join(', ')}.`);
    }
    return this;
  }

  linear(name: string): Linear {
    return this.#found(this.#linears.get(name), name);
  }

  table(name: string): Tensor {
    return this.#found(this.#tables.get(name), name).tensor;
  }

  values(name: string): Float32Array {
    return this.#found(this.#tables.get(name), name).values;
  }

  #found<T>(value: T | undefined, name: string): T {
    if (value === undefined) throw new EdgeDitError('internal', `no layer or table ${name}`);
    return value;
  }

  #expectTable({ name, shape }: TableSpec): void {
    this.#slots.set(name, (value, got) => {
      checkShape(name, got, shape);
      if (value.kind !== 'float')
        throw new EdgeDitError('checkpoint-mismatch', `table ${name} must be float, got ${value.kind}.`);
      this.#tables.set(name, { tensor: this.#engine.constant(value.data, shape), values: value.data });
      this.#missing.delete(name);
    });
  }

  #expectLinear(spec: LinearSpec): void {
    const { name, outFeatures, inFeatures } = spec;
    const parts: Parts = { spec };
    this.#slots.set(`${name}.weight`, (value, got) => {
      checkShape(`${name}.weight`, got, [outFeatures, inFeatures]);
      parts.weight = value;
      this.#complete(parts);
    });
    const vector = (suffix: string, take: (value: TensorValue) => boolean) => {
      this.#slots.set(suffix, (value, got) => {
        checkShape(suffix, got, [outFeatures]);
        if (!take(value))
          throw new EdgeDitError('checkpoint-mismatch', `tensor ${suffix} has the wrong kind of numbers.`);
        this.#complete(parts);
      });
    };
    if (spec.bias) vector(`${name}.bias`, (value) => value.kind === 'float' && (parts.bias = value.data) !== undefined);
    vector(scaleName(name), (value) => value.kind === 'float' && (parts.scale = value.data) !== undefined);
    vector(zeroName(name), (value) => value.kind === 'bytes' && (parts.zero = value.data) !== undefined);
  }

  #complete(parts: Parts): void {
    const { spec, weight, bias, scale, zero } = parts;
    if (!weight || (spec.bias && !bias)) return;
    const { name, outFeatures, inFeatures } = spec;
    const shared = { outFeatures, inFeatures, bias };
    if (weight.kind === 'float') {
      this.#linears.set(name, this.#engine.linear({ ...shared, kind: 'float', weight: weight.data }));
    } else if (weight.kind === 'codes') {
      if (!scale || !zero) return;
      const { bits, panels } = weight;
      this.#linears.set(name, this.#engine.linear({ ...shared, kind: 'codes', bits, panels, scale, zero }));
    } else {
      throw new EdgeDitError('checkpoint-mismatch', `tensor ${name}.weight is bytes without a meaning.`);
    }
    parts.weight = undefined;
    this.#missing.delete(name);
  }
}

function checkShape(name: string, got: readonly number[], expected: readonly number[]): void {
  if (got.length !== expected.length || got.some((size, i) => size !== expected[i])) {
    throw new EdgeDitError('checkpoint-mismatch', `tensor ${name} has shape [${got}], expected [${expected}].`);
  }
}
