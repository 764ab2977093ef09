/**
 * A linear layer as ONNX models, in the forms in which onnxruntime's own tools quantize: what the layer would be if its
 * user had stayed with onnxruntime. In: the layer. Out: a model from float32 `x` [m, in] to float32 `y` [m, out].
 */
import {
  type OnnxConstant,
  type OnnxElementType,
  type OnnxGraph,
  type OnnxNode,
  writeOnnxModel,
} from '@edge-dit/runtime/onnx/onnx-writer';
import { floatWeight, type LinearLayer } from './linear-layer.ts';

export const ONNX_FORMS = ['fp32', 'int8', 'int4'] as const;
/**
 * `fp32`: MatMul. `int8`: DynamicQuantizeLinear and MatMulInteger, uint8 by int8, a scale for each output channel, as
 * `quantize_dynamic` writes it. `int4`: MatMulNBits, which onnxruntime-web computes in float whatever the accuracy_level.
 */
export type OnnxForm = (typeof ONNX_FORMS)[number];

/** Weights of MatMulNBits that share a scale and a zero point. */
const BLOCK = 32;
const CONTRIB = 'com.microsoft';
/** int8 values are this many times a 4-bit code less its zero, which is -8 to 8. */
const FINER = 8;

export function linearOnnx(layer: LinearLayer, form: OnnxForm): Uint8Array<ArrayBuffer> {
  const { nodes, constants } = BUILDERS[form](layer);
  const graph: OnnxGraph = {
    name: `linear-${form}`,
    inputs: [{ name: 'x', type: 'float32', dims: ['m', layer.inFeatures] }],
    outputs: [{ name: 'y', type: 'float32', dims: ['m', layer.outFeatures] }],
    constants: [constant('bias', 'float32', [layer.outFeatures], layer.bias), ...constants],
    nodes: [...nodes, { op: 'Add', inputs: ['product', 'bias'], outputs: ['y'] }],
  };
  return writeOnnxModel(graph, { opsets: { '': 17, [CONTRIB]: 1 } });
}

interface Product {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
}

const BUILDERS: Record<OnnxForm, (layer: LinearLayer) => Product> = {
  fp32: (layer) => ({
    nodes: [{ op: 'MatMul', inputs: ['x', 'weight'], outputs: ['product'] }],
    constants: [
      constant('weight', 'float32', [layer.inFeatures, layer.outFeatures], transposed(floatWeight(layer), layer)),
    ],
  }),
  int8: dynamicInt8,
  int4: nBits,
};

function dynamicInt8(layer: LinearLayer): Product {
  const { outFeatures, inFeatures, codes, scale, zero } = layer;
  const weight = Int8Array.from(codes, (code, i) => FINER * (code - zero[Math.floor(i / inFeatures)]));
  return {
    nodes: [
      { op: 'DynamicQuantizeLinear', inputs: ['x'], outputs: ['codes', 'step', 'zero'] },
      { op: 'MatMulInteger', inputs: ['codes', 'weight', 'zero'], outputs: ['sums'] },
      { op: 'Cast', inputs: ['sums'], outputs: ['floats'], attributes: { to: { int: 1 } } },
      { op: 'Mul', inputs: ['step', 'scale'], outputs: ['steps'] },
      { op: 'Mul', inputs: ['floats', 'steps'], outputs: ['product'] },
    ],
    constants: [
      constant('weight', 'int8', [inFeatures, outFeatures], transposed(weight, layer)),
      constant(
        'scale',
        'float32',
        [outFeatures],
        scale.map((step) => step / FINER),
      ),
    ],
  };
}

function nBits({ outFeatures, inFeatures, codes, scale, zero }: LinearLayer): Product {
  const blocks = Math.ceil(inFeatures / BLOCK);
  const packed = new Uint8Array((outFeatures * blocks * BLOCK) / 2);
  for (let i = 0; i < codes.length; i++) {
    const at = Math.floor(i / inFeatures) * blocks * BLOCK + (i % inFeatures);
    packed[at >> 1] |= codes[i] << (at & 1 ? 4 : 0);
  }
  const scales = Float32Array.from({ length: outFeatures * blocks }, (_, i) => scale[Math.floor(i / blocks)]);
  const zeroBytes = Math.ceil(blocks / 2);
  const zeros = Uint8Array.from({ length: outFeatures * zeroBytes }, (_, i) => zero[Math.floor(i / zeroBytes)] * 17);
  return {
    nodes: [
      {
        op: 'MatMulNBits',
        domain: CONTRIB,
        inputs: ['x', 'weight', 'scales', 'zeros'],
        outputs: ['product'],
        attributes: {
          K: { int: inFeatures },
          N: { int: outFeatures },
          bits: { int: 4 },
          block_size: { int: BLOCK },
        },
      },
    ],
    constants: [
      constant('weight', 'uint8', [outFeatures, blocks, BLOCK / 2], packed),
      constant('scales', 'float32', [outFeatures * blocks], scales),
      constant('zeros', 'uint8', [outFeatures * zeroBytes], zeros),
    ],
  };
}

function constant(name: string, type: OnnxElementType, dims: readonly number[], data: ArrayBufferView): OnnxConstant {
  return { name, type, dims, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** [out, in] to [in, out]. */
function transposed<T extends Float32Array | Int8Array>(values: T, { outFeatures, inFeatures }: LinearLayer): T {
  const out = values.slice() as T;
  for (let n = 0; n < outFeatures; n++) {
    for (let k = 0; k < inFeatures; k++) out[k * outFeatures + n] = values[n * inFeatures + k];
  }
  return out;
}
