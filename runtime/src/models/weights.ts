/**
 * From tensors to the layers of a network in an engine's memory. Tensors come one by one, in any order; a layer is made
 * when its parts are complete, and its bytes on the host are dropped then.
 */
import type { ActivationBits, AttentionPrecision, CodeBits, Engine, Linear, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import { GROUP_RECORD_BYTES, groupsOf } from '../format/code-groups.ts';
import { PANEL_COLUMNS } from '../format/encodings.ts';
import { rotationOrder } from '../rotation.ts';
import type { ConfiguredArchitecture, LinearSpec, ModelWeights, TableSpec } from './architecture.ts';

/** What a stored tensor says: numbers, or the panels of quantized codes. */
export type TensorValue =
  | { readonly kind: 'float'; readonly data: Float32Array }
  | { readonly kind: 'codes'; readonly bits: CodeBits; readonly panels: Uint8Array }
  | { readonly kind: 'bytes'; readonly data: Uint8Array };

/** Names of the tensors that stand beside the codes `<linear>.weight`. */
export const scaleName = (linear: string) => `${linear}.weight.scale`;
export const zeroName = (linear: string) => `${linear}.weight.zero`;
export const balanceName = (linear: string) => `${linear}.weight.balance`;
export const groupsName = (linear: string) => `${linear}.weight.groups`;
export const rotationName = (linear: string) => `${linear}.weight.rotation`;

export interface WeightLoaderOptions {
  /** Of the tensors that will come; a checkpoint's are all float, so only an artifact need say them. */
  readonly names?: ReadonlySet<string>;
  /** Default `float`. */
  readonly attention?: AttentionPrecision;
  /** Of the activations that quantized layers read, by the layers' names; 8 where there is none. */
  readonly activationBits?: ReadonlyMap<string, ActivationBits>;
}

type DataOf<K extends 'float' | 'bytes'> = Extract<TensorValue, { kind: K }>['data'];
type Slot = (value: TensorValue, shape: readonly number[]) => void;

export class WeightLoader implements ModelWeights {
  readonly attention: AttentionPrecision;
  readonly #engine: Engine;
  readonly #linears = new Map<string, Linear>();
  readonly #tables = new Map<string, { tensor: Tensor; values: Float32Array }>();
  readonly #slots = new Map<string, Slot>();
  readonly #missing: Set<string>;
  readonly #activationBits: WeightLoaderOptions['activationBits'];

  constructor(
    { linears, tables }: Pick<ConfiguredArchitecture, 'linears' | 'tables'>,
    engine: Engine,
    options: WeightLoaderOptions = {},
  ) {
    const { names = new Set(), attention = 'float', activationBits } = options;
    this.attention = attention;
    this.#engine = engine;
    this.#activationBits = activationBits;
    for (const spec of linears) this.#expectLinear(spec, names);
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
      const values = dataOf(name, 'float', value);
      this.#tables.set(name, { tensor: this.#engine.constant(values, shape), values });
      this.#missing.delete(name);
    });
  }

  #expectLinear(spec: LinearSpec, names: ReadonlySet<string>): void {
    const { name, outFeatures, inFeatures, bias } = spec;
    const parts = new Map<string, TensorValue>();
    const missing = new Set<string>();
    const expect = (tensor: string, needed: boolean, ...shape: number[]) => {
      if (needed) missing.add(tensor);
      this.#slots.set(tensor, (value, got) => {
        checkShape(tensor, got, shape);
        parts.set(tensor, value);
        missing.delete(tensor);
        if (missing.size === 0) this.#complete(spec, parts);
      });
    };
    expect(`${name}.weight`, true, outFeatures, inFeatures);
    if (bias) expect(`${name}.bias`, true, outFeatures);
    // Only codes need them: that they are missing is known with the weight.
    expect(scaleName(name), false, outFeatures);
    expect(zeroName(name), false, outFeatures);
    const ofInputs = [balanceName(name), rotationName(name)];
    for (const tensor of ofInputs) if (names.has(tensor)) expect(tensor, true, inFeatures);
    const groups = groupsName(name);
    if (names.has(groups)) expect(groups, true, Math.ceil(outFeatures / PANEL_COLUMNS), Number.NaN, GROUP_RECORD_BYTES);
  }

  #complete({ name, outFeatures, inFeatures }: LinearSpec, parts: Map<string, TensorValue>): void {
    const weight = parts.get(`${name}.weight`);
    if (!weight) return;
    const part = <K extends 'float' | 'bytes'>(tensor: string, kind: K): DataOf<K> | undefined => {
      const value = parts.get(tensor);
      return value && dataOf(tensor, kind, value);
    };
    const shared = { outFeatures, inFeatures, bias: part(`${name}.bias`, 'float') };
    const [scale, zero] = [part(scaleName(name), 'float'), part(zeroName(name), 'bytes')];
    const balance = part(balanceName(name), 'float');
    const rotation = part(rotationName(name), 'bytes');
    if (rotation) rotationOrder(inFeatures, name);
    const records = part(groupsName(name), 'bytes');
    const activationBits = this.#activationBits?.get(name);
    const floats = weight.kind === 'float';
    if ((floats && records) || ((floats || activationBits === 'float') && (balance || rotation))) {
      throw new EdgeDitError('checkpoint-mismatch', `layer ${name} is in float, but has tensors of quantized layers.`);
    }
    if (floats) this.#linears.set(name, this.#engine.linear({ ...shared, kind: 'float', weight: weight.data }));
    else if (weight.kind === 'bytes') throw wrongKind(`${name}.weight`, 'float or codes', weight);
    else {
      if (!scale || !zero) return;
      const groups = records && groupsOf(groupsName(name), weight.bits, records, outFeatures, inFeatures);
      const source = { ...shared, ...weight, scale, zero, balance, groups, rotation, activationBits };
      this.#linears.set(name, this.#engine.linear(source));
    }
    parts.clear();
    this.#missing.delete(name);
  }
}

function dataOf<K extends 'float' | 'bytes'>(name: string, kind: K, value: TensorValue): DataOf<K> {
  if (value.kind !== kind) throw wrongKind(name, kind, value);
  return value.data as DataOf<K>;
}

function wrongKind(name: string, expected: string, { kind }: TensorValue): EdgeDitError {
  return new EdgeDitError('checkpoint-mismatch', `tensor ${name} holds ${kind}, expected ${expected}.`);
}

/** NaN in `expected` stands for any size. */
function checkShape(name: string, got: readonly number[], expected: readonly number[]): void {
  if (got.length !== expected.length || got.some((size, i) => size !== expected[i] && expected[i] >= 0)) {
    throw new EdgeDitError('checkpoint-mismatch', `tensor ${name} has shape [${got}], expected [${expected}].`);
  }
}
