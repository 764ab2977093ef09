/**
 * Writes ONNX models. In: a graph as plain objects. Out: the bytes of its ModelProto. Field numbers are those of
 * `onnx.proto` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); bytes are the protocol buffers wire format.
 * Tensor data is copied once, into the result.
 */
import { ProtoWriter } from './proto-writer.ts';

/** TensorProto.DataType. */
const ELEMENT_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  uint4: 21,
  int4: 22,
} as const;

export type OnnxElementType = keyof typeof ELEMENT_TYPES;

/** A constant of the graph; `bytes` little-endian, row-major, two values a byte for 4-bit types (low half first). */
export interface OnnxConstant {
  readonly name: string;
  readonly type: OnnxElementType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
}

/** An input or output of the graph. A dimension is a size, or the name of one that is known when the graph is run. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxElementType;
  readonly dims: readonly (number | string)[];
}

/** Attributes say their type: 1 may be an integer or a float. */
export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: readonly number[] }
  | { readonly floats: readonly number[] }
  | { readonly strings: readonly string[] }
  | { readonly tensor: OnnxConstant };

export interface OnnxNode {
  /** Operator, such as `Conv`. */
  readonly op: string;
  /** Operator set; empty or missing for ONNX's own. */
  readonly domain?: string;
  readonly name?: string;
  /** Names of values; empty for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants: readonly OnnxConstant[];
  /** In an order in which every input is computed before it is used. */
  readonly nodes: readonly OnnxNode[];
}

export interface OnnxModelOptions {
  /** Version per operator set; the key '' is ONNX's own. Default: 17 of ONNX's own, which onnxruntime reads since 1.12. */
  readonly opsets?: Readonly<Record<string, number>>;
  readonly producer?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** ONNX 1.15, of operator set 20; onnxruntime reads it since 1.17. */
const IR_VERSION = 9;

export function writeOnnxModel(graph: OnnxGraph, options: OnnxModelOptions = {}): Uint8Array<ArrayBuffer> {
  const { opsets = { '': 17 }, producer = 'edge-dit', metadata = {} } = options;
  const model = new ProtoWriter().integer(1, IR_VERSION).string(2, producer).message(7, graphMessage(graph));
  for (const [domain, version] of Object.entries(opsets)) {
    model.message(8, new ProtoWriter().string(1, domain).integer(2, version));
  }
  for (const [key, value] of Object.entries(metadata)) {
    model.message(14, new ProtoWriter().string(1, key).string(2, value));
  }
  return model.finish();
}

function graphMessage({ name, inputs, outputs, constants, nodes }: OnnxGraph): ProtoWriter {
  const graph = new ProtoWriter();
  for (const node of nodes) graph.message(1, nodeMessage(node));
  graph.string(2, name);
  for (const constant of constants) graph.message(5, tensorMessage(constant));
  for (const value of inputs) graph.message(11, valueMessage(value));
  for (const value of outputs) graph.message(12, valueMessage(value));
  return graph;
}

function nodeMessage({ op, domain = '', name = '', inputs, outputs, attributes = {} }: OnnxNode): ProtoWriter {
  const node = new ProtoWriter();
  // An empty name stands for a left-out input, so these are written even when empty.
  for (const input of inputs) node.string(1, input);
  for (const output of outputs) node.string(2, output);
  node.string(3, name).string(4, op);
  for (const [key, value] of Object.entries(attributes)) node.message(5, attributeMessage(key, value));
  return node.string(7, domain);
}

function attributeMessage(name: string, value: OnnxAttribute): ProtoWriter {
  const attribute = new ProtoWriter().string(1, name);
  const typed = (type: number) => attribute.integer(20, type);
  if ('float' in value) return typed(1).float(2, value.float);
  if ('int' in value) return typed(2).integer(3, value.int);
  if ('string' in value) return typed(3).string(4, value.string);
  if ('tensor' in value) return typed(4).message(5, tensorMessage(value.tensor));
  if ('floats' in value) {
    for (const item of value.floats) attribute.float(7, item);
    return typed(6);
  }
  if ('ints' in value) {
    for (const item of value.ints) attribute.integer(8, item);
    return typed(7);
  }
  for (const item of value.strings) attribute.string(9, item);
  return typed(8);
}

function tensorMessage({ name, type, dims, bytes }: OnnxConstant): ProtoWriter {
  const tensor = new ProtoWriter();
  for (const size of dims) tensor.integer(1, size);
  return tensor.integer(2, ELEMENT_TYPES[type]).string(8, name).bytes(9, bytes);
}

function valueMessage({ name, type, dims }: OnnxValue): ProtoWriter {
  const shape = new ProtoWriter();
  for (const size of dims) {
    const dimension = new ProtoWriter();
    shape.message(1, typeof size === 'number' ? dimension.integer(1, size) : dimension.string(2, size));
  }
  const tensorType = new ProtoWriter().integer(1, ELEMENT_TYPES[type]).message(2, shape);
  return new ProtoWriter().string(1, name).message(2, new ProtoWriter().message(1, tensorType));
}
