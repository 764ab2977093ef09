/**
 * From tensors to the layers of a network in an engine's memory. Tensors come one by one, in any order; a layer is made
 * when its parts are complete, and its bytes on the host are dropped then.
 */
import type { AttentionPrecision, Engine, Linear, Tensor } from '../engines/engine.ts';
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
export const balanceName = (linear: string) => `${linear}.weight.balance`;

interface Parts {
  readonly spec: LinearSpec;
  weight?: TensorValue;
  bias?: Float32Array;
  scale?: Float32Array;
  zero?: Uint8Array;
  balance?: Float32Array;
  /** Whether the model has one. */
  readonly balanced: boolean;
}

export interface WeightLoaderOptions {
  /** Of the tensors that will come; a checkpoint's are all float, so only an artifact need say them. */
  readonly names?: ReadonlySet<string>;
  /** Default `float`. */
  readonly attention?: AttentionPrecision;
}

type Slot = (value: TensorValue, shape: readonly number[]) => void;

export class WeightLoader implements ModelWeights {
  readonly attention: AttentionPrecision;
  readonly #engine: Engine;
  readonly #linears = new Map<string, Linear>();
  readonly #tables = new Map<string, { tensor: Tensor; values: Float32Array }>();
  readonly #slots = new Map<string, Slot>();
  readonly #missing: Set<string>;

  constructor({ linears, tables }: ConfiguredArchitecture, engine: Engine, options: WeightLoaderOptions = {}) {
    const { names = new Set(), attention = 'float' } = options;
    this.attention = attention;
    this.#engine = engine;
    for (const spec of linears) this.#expectLinear(spec, names.has(balanceName(spec.name)));
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
      if (value.kind !== 'float') throw wrongKind(name, 'float', value);
      this.#tables.set(name, { tensor: this.#engine.constant(value.data, shape), values: value.data });
      this.#missing.delete(name);
    });
  }

  #expectLinear(spec: LinearSpec, balanced: boolean): void {
    const { name, outFeatures, inFeatures } = spec;
    const parts: Parts = { spec, balanced };
    this.#slots.set(`${name}.weight`, (value, got) => {
      checkShape(`${name}.weight`, got, [outFeatures, inFeatures]);
      parts.weight = value;
      this.#complete(parts);
    });
    this.#expectVector(`${name}.bias`, outFeatures, spec.bias, parts, (data) => {
      parts.bias = data;
    });
    this.#expectVector(scaleName(name), outFeatures, true, parts, (data) => {
      parts.scale = data;
    });
    this.#expectVector(balanceName(name), inFeatures, balanced, parts, (data) => {
      parts.balance = data;
    });
    this.#slots.set(zeroName(name), (value, got) => {
      checkShape(zeroName(name), got, [outFeatures]);
      if (value.kind !== 'bytes') throw wrongKind(zeroName(name), 'bytes', value);
      parts.zero = value.data;
      this.#complete(parts);
    });
  }

  #expectVector(name: string, length: number, wanted: boolean, parts: Parts, take: (data: Float32Array) => void): void {
    if (!wanted) return;
    this.#slots.set(name, (value, got) => {
      checkShape(name, got, [length]);
      if (value.kind !== 'float') throw wrongKind(name, 'float', value);
      take(value.data);
      this.#complete(parts);
    });
  }

  #complete(parts: Parts): void {
    const { spec, weight, bias, scale, zero, balance } = parts;
    if (!weight || (spec.bias && !bias) || (parts.balanced && !balance)) return;
    const { name, outFeatures, inFeatures } = spec;
    const shared = { outFeatures, inFeatures, bias };
    if (weight.kind === 'float') {
      this.#linears.set(name, this.#engine.linear({ ...shared, kind: 'float', weight: weight.data }));
    } else if (weight.kind === 'codes') {
      if (!scale || !zero) return;
      const { bits, panels } = weight;
      this.#linears.set(name, this.#engine.linear({ ...shared, kind: 'codes', bits, panels, scale, zero, balance }));
    } else {
      throw wrongKind(`${name}.weight`, 'float or codes', weight);
    }
    parts.weight = undefined;
    this.#missing.delete(name);
  }
}

function wrongKind(name: string, expected: string, { kind }: TensorValue): EdgeDitError {
  return new EdgeDitError('checkpoint-mismatch', `tensor ${name} holds ${kind}, expected ${expected}.`);
}

function checkShape(name: string, got: readonly number[], expected: readonly number[]): void {
  if (got.length !== expected.length || got.some((size, i) => size !== expected[i])) {
    throw new EdgeDitError('checkpoint-mismatch', `tensor ${name} has shape [${got}], expected [${expected}].`);
  }
}
