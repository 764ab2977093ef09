/**
 * Builds one ONNX graph whose shapes are all known. In: operators, one call each. Out: the model's bytes. Weights are
 * declared with their sizes and read only when the graph is complete, so that one that does not fit is refused before
 * anything is read.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import {
  type OnnxAttribute,
  type OnnxConstant,
  type OnnxElementType,
  type OnnxNode,
  type OnnxValue,
  writeOnnxModel,
} from '@edge-dit/runtime/onnx/onnx-writer';

/** A value of the graph: an input, a constant or what a node gives. */
export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

export interface NodeOptions {
  /** Operator set; ONNX's own without it. */
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

type Declaration = Omit<OnnxConstant, 'bytes'>;

interface Pending {
  readonly declared: readonly Declaration[];
  read(): Promise<readonly Uint8Array[]>;
}

/** onnxruntime's own operators. */
export const MICROSOFT = 'com.microsoft';

/** Protocol buffers count a message's bytes in 31 bits; a model with its weights inside is one message. */
export const MAX_MODEL_BYTES = 2 ** 31 - 1;
/** For what is not weights: nodes, names, shapes. Networks of 512 layers need less. */
const GRAPH_BYTES = 16 << 20;

const ELEMENT_BYTES: Partial<Record<OnnxElementType, number>> = { float32: 4, uint8: 1, int8: 1, int32: 4, int64: 8 };

/** Of ONNX's own operators: the first with Gelu. */
const OPSET = 20;

export class GraphBuilder {
  readonly #inputs: OnnxValue[] = [];
  readonly #outputs: OnnxValue[] = [];
  readonly #nodes: OnnxNode[] = [];
  readonly #pending: Pending[] = [];
  /** Small constants by type, shape and content. */
  readonly #known = new Map<string, Value>();
  readonly #names = new Map<string, number>();
  #scope = '';

  /** Names the nodes that `make` adds after a part of the network, for whoever looks at the graph or profiles it. */
  within<T>(part: string, make: () => T): T {
    const outer = this.#scope;
    this.#scope = `${part}/`;
    try {
      return make();
    } finally {
      this.#scope = outer;
    }
  }

  get inputs(): readonly OnnxValue[] {
    return this.#inputs;
  }

  input(name: string, type: OnnxElementType, shape: readonly number[]): Value {
    this.#inputs.push({ name, type, dims: shape });
    return { name, shape };
  }

  /** Makes a float32 value an output under that name. */
  output(name: string, value: Value): void {
    this.#nodes.push({ op: 'Identity', name, inputs: [value.name], outputs: [name] });
    this.#outputs.push({ name, type: 'float32', dims: value.shape });
  }

  /** A node with one result of the given shape; `undefined` leaves an optional input out. */
  node(
    op: string,
    inputs: readonly (Value | undefined)[],
    shape: readonly number[],
    { domain, attributes }: NodeOptions = {},
  ): Value {
    return this.nodes(op, inputs, [shape], { domain, attributes })[0];
  }

  /** A node with a result for each shape. */
  nodes(
    op: string,
    inputs: readonly (Value | undefined)[],
    shapes: readonly (readonly number[])[],
    { domain, attributes }: NodeOptions = {},
  ): Value[] {
    const name = this.#unique(this.#scope + op);
    const results = shapes.map((shape, i) => ({ name: shapes.length === 1 ? name : `${name}.${i}`, shape }));
    this.#nodes.push({
      op,
      domain,
      name,
      inputs: inputs.map((input) => input?.name ?? ''),
      outputs: results.map((result) => result.name),
      attributes,
    });
    return results;
  }

  reshape(value: Value, shape: readonly number[]): Value {
    if (count(shape) !== count(value.shape)) throw internal(`${value.name} [${value.shape}] reshaped to [${shape}]`);
    if (shape.join() === value.shape.join()) return value;
    return this.node('Reshape', [value, this.int64s(shape)], shape);
  }

  transpose(value: Value, order: readonly number[]): Value {
    const shape = order.map((axis) => value.shape[axis]);
    return this.node('Transpose', [value], shape, { attributes: { perm: { ints: order } } });
  }

  /** Add, Mul and the like: shapes are broadcast from the last dimension on. */
  binary(op: 'Add' | 'Sub' | 'Mul', a: Value, b: Value): Value {
    const rank = Math.max(a.shape.length, b.shape.length);
    const shape = Array.from({ length: rank }, (_, i) => {
      const [left, right] = [a, b].map((value) => value.shape[i - rank + value.shape.length] ?? 1);
      if (left !== right && left !== 1 && right !== 1) throw internal(`${op} of [${a.shape}] and [${b.shape}]`);
      return Math.max(left, right);
    });
    return this.node(op, [a, b], shape);
  }

  /** Equal parts of one axis. */
  split(value: Value, axis: number, parts: number): Value[] {
    const shape = value.shape.map((size, i) => (i === axis ? size / parts : size));
    const sizes = this.int64s(new Array(parts).fill(shape[axis]));
    return this.nodes('Split', [value, sizes], new Array(parts).fill(shape), { attributes: { axis: { int: axis } } });
  }

  scalar(value: number): Value {
    return this.floats([value], []);
  }

  floats(values: ArrayLike<number>, shape: readonly number[]): Value {
    return this.#small('float32', shape, new Uint8Array(Float32Array.from(values).buffer));
  }

  int64s(values: readonly number[]): Value {
    return this.#small('int64', [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  /** Constants whose bytes come later, all from one reading. */
  later(
    declared: readonly { readonly name: string; readonly type: OnnxElementType; readonly shape: readonly number[] }[],
    read: () => Promise<readonly Uint8Array[]>,
  ): Value[] {
    const named = declared.map(({ name, type, shape }) => ({ name: this.#unique(name), type, dims: shape }));
    this.#pending.push({ declared: named, read });
    return named.map(({ name, dims }) => ({ name, shape: dims }));
  }

  /** One float32 constant that comes later. */
  laterFloats(name: string, shape: readonly number[], read: () => Promise<Float32Array>): Value {
    return this.later([{ name, type: 'float32', shape }], async () => [bytesOf(await read())])[0];
  }

  /**
   * Reads the weights and writes the model.
   * @param onConstant after each reading
   * @throws `config-unsupported` when the weights are beyond what one file can hold, before anything is read
   */
  async write(
    name: string,
    metadata: Readonly<Record<string, string>>,
    onConstant?: (done: number, total: number) => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    checkBytes(this.#pending);
    const constants: OnnxConstant[] = [];
    for (const [i, { declared, read }] of this.#pending.entries()) {
      const bytes = await read();
      declared.forEach((constant, j) => {
        if (bytes[j]?.length !== bytesIn(constant)) {
          throw internal(`constant ${constant.name} has ${bytes[j]?.length} bytes, declared ${bytesIn(constant)}`);
        }
        constants.push({ ...constant, bytes: bytes[j] });
      });
      onConstant?.(i + 1, this.#pending.length);
    }
    const graph = { name, inputs: this.#inputs, outputs: this.#outputs, constants, nodes: this.#nodes };
    const domains = this.#nodes.flatMap(({ domain }) => domain ?? []);
    const opsets = { '': OPSET, ...Object.fromEntries(domains.map((domain) => [domain, 1])) };
    return writeOnnxModel(graph, { opsets, metadata });
  }

  #small(type: OnnxElementType, shape: readonly number[], bytes: Uint8Array): Value {
    const key = `${type} [${shape}] ${Buffer.from(bytes).toString('base64')}`;
    let value = this.#known.get(key);
    if (!value) {
      const declared = { name: this.#unique('constant'), type, dims: shape };
      this.#pending.push({ declared: [declared], read: async () => [bytes] });
      value = { name: declared.name, shape };
      this.#known.set(key, value);
    }
    return value;
  }

  #unique(name: string): string {
    const used = this.#names.get(name) ?? 0;
    this.#names.set(name, used + 1);
    return used === 0 ? name : `${name}_${used}`;
  }
}

export const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);

function bytesIn({ name, type, dims }: Declaration): number {
  const size = ELEMENT_BYTES[type];
  if (size === undefined) throw internal(`constant ${name} is ${type}`);
  return size * count(dims);
}

function checkBytes(pending: readonly Pending[]): void {
  const bytes = pending.flatMap(({ declared }) => declared).reduce((sum, constant) => sum + bytesIn(constant), 0);
  if (bytes + GRAPH_BYTES > MAX_MODEL_BYTES) {
    throw new EdgeDitError(
      'config-unsupported',
      `the weights have ${bytes} bytes in this form; an ONNX file holds ${MAX_MODEL_BYTES} with the graph. Export a form with fewer bits.`,
    );
  }
}

const internal = (problem: string) => new EdgeDitError('internal', `ONNX export: ${problem}`);
