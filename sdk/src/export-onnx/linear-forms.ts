/** The forms of a linear layer in ONNX: float32, int8 with dynamic activations, 4-bit weights. To add one: its line in the list. */
import { unknownName } from '@edge-dit/runtime/errors';
import { bytesOf, type GraphBuilder, MICROSOFT, type Value } from './graph-builder.ts';
import type { Layer } from './layers.ts';

export interface LinearForm {
  readonly name: string;
  readonly summary: string;
  /** x W^T + bias for every layer, all of which read x: [rows, in] to [rows, out]. */
  apply(graph: GraphBuilder, x: Value, layers: readonly Layer[]): Value[];
}

/** One Gemm, weight transposed to [in, out]. */
const fp32: LinearForm = {
  name: 'fp32',
  summary: 'float32 weights and arithmetic: Gemm',
  apply: (graph, x, layers) =>
    layers.map((layer) => {
      const { name, outFeatures, inFeatures } = layer;
      const weight = graph.laterFloats(`${name}.weight`, [inFeatures, outFeatures], async () =>
        transpose(await layer.weight(), outFeatures, inFeatures),
      );
      const bias = biasOf(graph, layer);
      return graph.within(name, () => graph.node('Gemm', [x, weight, bias], [x.shape[0], outFeatures]));
    }),
};

/**
 * Activations to uint8 by tensor, dynamic; weights int8 by output channel, symmetric; exact integer sums. The nodes
 * stand as onnxruntime's optimizer expects them: it makes one MatMulIntegerToFloat of the last five.
 */
const int8Dynamic: LinearForm = {
  name: 'int8-dynamic',
  summary: 'int8 weights by output channel, uint8 activations: DynamicQuantizeLinear and MatMulInteger',
  apply(graph, x, layers) {
    const [codes, scale, zero] = graph.nodes('DynamicQuantizeLinear', [x], [x.shape, [], []]);
    return layers.map((layer) => {
      const { name, outFeatures, inFeatures } = layer;
      const [weight, steps] = graph.later(
        [
          { name: `${name}.weight`, type: 'int8', shape: [inFeatures, outFeatures] },
          { name: `${name}.weight.scale`, type: 'float32', shape: [outFeatures] },
        ],
        async () => {
          const { codes, scale } = quantizeRows(await layer.weight(), outFeatures, inFeatures);
          return [bytesOf(transpose(codes, outFeatures, inFeatures)), bytesOf(scale)];
        },
      );
      const bias = biasOf(graph, layer);
      const shape = [x.shape[0], outFeatures];
      return graph.within(name, () => {
        const sums = graph.node('MatMulInteger', [codes, weight, zero], shape);
        const floats = graph.node('Cast', [sums], shape, { attributes: { to: { int: FLOAT } } });
        const product = graph.binary('Mul', floats, graph.binary('Mul', scale, steps));
        return bias ? graph.binary('Add', product, bias) : product;
      });
    });
  },
};

/** TensorProto.FLOAT. */
const FLOAT = 1;
/** Inputs that share a scale and a zero point in MatMulNBits. */
const BLOCK = 32;

/** onnxruntime's 4-bit weights: blocks of inputs by output channel, asymmetric; activations stay float. */
const int4: LinearForm = {
  name: 'int4',
  summary: `4-bit weights in blocks of ${BLOCK}, float32 activations: com.microsoft MatMulNBits`,
  apply: (graph, x, layers) =>
    layers.map((layer) => {
      const { name, outFeatures, inFeatures } = layer;
      const blocks = Math.ceil(inFeatures / BLOCK);
      const [weight, scale, zero] = graph.later(
        [
          { name: `${name}.weight`, type: 'uint8', shape: [outFeatures, blocks, BLOCK / 2] },
          { name: `${name}.weight.scale`, type: 'float32', shape: [outFeatures * blocks] },
          { name: `${name}.weight.zero`, type: 'uint8', shape: [outFeatures * Math.ceil(blocks / 2)] },
        ],
        async () => {
          const { codes, scale, zero } = quantizeBlocks(await layer.weight(), outFeatures, inFeatures);
          return [codes, bytesOf(scale), zero];
        },
      );
      const attributes = {
        K: { int: inFeatures },
        N: { int: outFeatures },
        bits: { int: 4 },
        block_size: { int: BLOCK },
      };
      const bias = biasOf(graph, layer);
      const inputs = [x, weight, scale, zero, ...(bias ? [undefined, bias] : [])];
      const options = { domain: MICROSOFT, attributes };
      return graph.within(name, () => graph.node('MatMulNBits', inputs, [x.shape[0], outFeatures], options));
    }),
};

export const linearForms: readonly LinearForm[] = [fp32, int8Dynamic, int4];

export function linearFormByName(name: string): LinearForm {
  const found = linearForms.find((form) => form.name === name);
  if (!found)
    throw unknownName(
      'form',
      name,
      linearForms.map((form) => form.name),
    );
  return found;
}

/** Layers outside a network's body stay float in every form, as they do in recipes: in fewer bits they are no faster. */
export function applyLayers(graph: GraphBuilder, form: LinearForm, x: Value, layers: readonly Layer[]): Value[] {
  const chosen = layers.every(({ role }) => role === 'body') ? form : fp32;
  return chosen.apply(graph, x, layers);
}

function biasOf(graph: GraphBuilder, { name, outFeatures, bias }: Layer): Value | undefined {
  return bias && graph.laterFloats(`${name}.bias`, [outFeatures], bias);
}

function transpose<T extends Float32Array | Int8Array>(values: T, rows: number, columns: number): T {
  const out = values.slice() as T;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c];
  }
  return out;
}

/** Codes -127 to 127 and a step for each row. */
function quantizeRows(weight: Float32Array, rows: number, columns: number) {
  const codes = new Int8Array(weight.length);
  const scale = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = weight.subarray(r * columns, (r + 1) * columns);
    const step = row.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / 127;
    if (step === 0) continue;
    scale[r] = step;
    row.forEach((value, c) => {
      codes[r * columns + c] = Math.round(value / step);
    });
  }
  return { codes, scale };
}

/** Codes, the earlier of two in the low half of a byte; a step and, packed likewise, a zero point for each block. */
function quantizeBlocks(weight: Float32Array, rows: number, columns: number) {
  const blocks = Math.ceil(columns / BLOCK);
  const codes = new Uint8Array((rows * blocks * BLOCK) / 2);
  const scale = new Float32Array(rows * blocks);
  const zeroBytes = Math.ceil(blocks / 2);
  const zero = new Uint8Array(rows * zeroBytes);
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < blocks; b++) {
      const values = weight.subarray(r * columns + b * BLOCK, r * columns + Math.min((b + 1) * BLOCK, columns));
      const low = Math.min(0, ...values);
      const step = (Math.max(0, ...values) - low) / 15;
      if (step === 0) continue;
      const zeroCode = Math.round(-low / step);
      scale[r * blocks + b] = step;
      zero[r * zeroBytes + (b >> 1)] |= zeroCode << (4 * (b & 1));
      values.forEach((value, k) => {
        const code = Math.min(15, Math.max(0, Math.round(value / step) + zeroCode));
        codes[((r * blocks + b) * BLOCK + k) >> 1] |= code << (4 * (k & 1));
      });
    }
  }
  return { codes, scale, zero };
}
