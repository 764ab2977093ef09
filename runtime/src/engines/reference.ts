/**
 * The oracle: every operation in plain loops, sums in float64. The quantized linear is the contract of FORMAT.md,
 * integer by integer. Slow on purpose; other engines are compared with it.
 */
import { linearReference, quantizeReference } from '@edge-dit/wasm-kernels';
import { EdgeDitError } from '../errors.ts';
import { expandCodes } from '../format/code-groups.ts';
import { encodingByName } from '../format/encodings.ts';
import * as math from '../math.ts';
import { hadamardRotate } from '../rotation.ts';
import {
  type AttentionOptions,
  type Engine,
  type Linear,
  type LinearSource,
  matrixOf,
  type Operand,
  type Place,
  type Tensor,
} from './engine.ts';
import { codedAttention, floatAttention } from './reference-attention.ts';

interface ReferenceTensor extends Tensor {
  readonly data: Float32Array;
  /** Where the first row starts, and how far rows lie apart. */
  readonly offset: number;
  readonly stride: number;
}

type CodedSource = Extract<LinearSource, { kind: 'codes' }>;

interface ReferenceLinear extends Linear {
  readonly source: LinearSource;
  /** Row-major codes of a quantized layer, expanded where it has groups. */
  readonly codes?: Uint8Array;
}

const asReference = (tensor: Tensor) => tensor as ReferenceTensor;

function make(data: Float32Array, shape: readonly number[]): ReferenceTensor {
  return { data, shape, offset: 0, stride: shape[shape.length - 1] };
}

function gelu(x: number): number {
  const slope = 2 * Math.sqrt(2 / Math.PI);
  return x / (1 + math.exp(-slope * (x + 0.044715 * x * x * x)));
}

const ACTIVATIONS = {
  none: (x: Float32Array) => x,
  gelu: (x: Float32Array) => x.map(gelu),
  silu: (x: Float32Array) => x.map((value) => value / (1 + math.exp(-value))),
};

/** Rows as a quantized layer wants them: balanced, rotated, in codes. */
function quantizedRows(x: Float32Array, rows: number, source: CodedSource) {
  const { inFeatures, balance, rotation, activationBits: bits = 8 } = source;
  if (bits === 'float') throw new EdgeDitError('internal', 'activations that stay float were to be quantized');
  if (!rotation) return quantizeReference(x, rows, inFeatures, balance, bits);
  const rotated = balance ? x.map((value, i) => value * balance[i % inFeatures]) : x.slice();
  hadamardRotate(rows, inFeatures, rotated, rotation, 'a linear');
  return quantizeReference(rotated, rows, inFeatures, undefined, bits);
}

/** Products of float activations with the weights that codes stand for, each operation in float32, inputs in order. */
function weightOnly(x: Float32Array, rows: number, source: CodedSource, codes: Uint8Array): Float32Array {
  const { inFeatures, outFeatures, scale, zero, bias } = source;
  const weight = Float32Array.from(codes, (code, i) => {
    const n = Math.floor(i / inFeatures);
    return scale[n] * (code - zero[n]);
  });
  return Float32Array.from({ length: rows * outFeatures }, (_, i) => {
    const n = i % outFeatures;
    const row = (i - n) / outFeatures;
    let sum = 0;
    for (let k = 0; k < inFeatures; k++) {
      sum = Math.fround(sum + Math.fround(x[row * inFeatures + k] * weight[n * inFeatures + k]));
    }
    return sum + (bias?.[n] ?? 0);
  });
}

export class ReferenceEngine implements Engine {
  readonly name = 'reference';
  bytes = 0;

  linear(source: LinearSource): Linear {
    const { outFeatures, inFeatures } = source;
    const shared = { outFeatures, inFeatures, source };
    if (source.kind === 'float') {
      this.bytes += source.weight.byteLength;
      return { ...shared, weightBits: 32 } as ReferenceLinear;
    }
    this.bytes += source.panels.byteLength;
    const stored = encodingByName(`u${source.bits}-8x4`).decode(source.panels, [outFeatures, inFeatures]) as Uint8Array;
    const codes = source.groups ? expandCodes(stored, inFeatures, source.groups) : stored;
    return { ...shared, weightBits: source.bits, codes } as ReferenceLinear;
  }

  constant(data: Float32Array, shape: readonly number[]): Tensor {
    this.bytes += data.byteLength;
    return make(data.slice(), shape);
  }

  place(): Place {
    let held = 0;
    return {
      clear: () => {
        this.bytes -= held;
        held = 0;
      },
      fill: (make) => {
        const before = this.bytes;
        const made = make();
        held += this.bytes - before;
        return made;
      },
    };
  }

  mark(): number {
    return 0;
  }

  release(): void {}

  input(data: Float32Array, shape: readonly number[]): Tensor {
    return make(data.slice(), shape);
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    return this.#rows(tensor);
  }

  operand(source: Tensor, pass: Operand['pass'] = { kind: 'none' }): Operand {
    return { source, pass };
  }

  materialize(operand: Operand): Tensor {
    return make(this.#pass(operand), operand.source.shape);
  }

  apply(linear: Linear, operand: Operand): Tensor {
    const { source, codes } = linear as ReferenceLinear;
    const x = this.#pass(operand);
    const { inFeatures, outFeatures, bias } = source;
    const rows = x.length / inFeatures;
    const shape = [...operand.source.shape.slice(0, -1), outFeatures];
    if (operand.source.shape.at(-1) !== inFeatures) {
      throw new EdgeDitError('internal', `a linear of ${inFeatures} inputs was given ${operand.source.shape}`);
    }
    if (source.kind === 'codes' && source.activationBits === 'float') {
      return make(weightOnly(x, rows, source, codes!), shape);
    }
    if (source.kind === 'codes') {
      const weight = {
        rows: outFeatures,
        cols: inFeatures,
        codes: codes!,
        scales: source.scale,
        zeros: source.zero,
        bias,
      };
      return make(linearReference(quantizedRows(x, rows, source), weight), shape);
    }
    const { weight } = source;
    const out = new Float32Array(rows * outFeatures);
    for (let i = 0; i < rows; i++) {
      const row = x.subarray(i * inFeatures, (i + 1) * inFeatures);
      for (let n = 0, at = 0; n < outFeatures; n++) {
        let sum = 0;
        for (let k = 0; k < inFeatures; k++) sum += row[k] * weight[at++];
        out[i * outFeatures + n] = sum + (bias?.[n] ?? 0);
      }
    }
    return make(out, shape);
  }

  applyInto(x: Tensor, linear: Linear, operand: Operand, gate?: Tensor): void {
    const y = asReference(this.apply(linear, operand)).data;
    const { data } = asReference(x);
    const { rows, channels } = matrixOf(x);
    const factor = gate && asReference(gate);
    const rowsPerGate = gate ? rows / matrixOf(gate).rows : rows;
    for (let i = 0; i < rows; i++) {
      for (let c = 0; c < channels; c++) {
        const g = factor ? factor.data[factor.offset + Math.floor(i / rowsPerGate) * factor.stride + c] : 1;
        data[i * channels + c] += Math.fround(g * y[i * channels + c]);
      }
    }
  }

  attention(q: Tensor, k: Tensor, v: Tensor, { heads, keyBias, precision }: AttentionOptions): Tensor {
    const [batch, tokens, width] = q.shape;
    const keys = k.shape[1];
    const depth = width / heads;
    const attend = precision === 'int8' ? codedAttention : floatAttention;
    const out = new Float32Array(batch * tokens * width);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        const head = (tensor: Tensor, rows: number) => {
          const { data } = asReference(tensor);
          return Float32Array.from({ length: rows * depth }, (_, i) => {
            return data[(b * rows + Math.floor(i / depth)) * width + h * depth + (i % depth)];
          });
        };
        const bias = keyBias?.subarray(b * keys, (b + 1) * keys) ?? new Float32Array(keys);
        const result = attend({ q: head(q, tokens), k: head(k, keys), v: head(v, keys), bias, depth });
        for (let i = 0; i < tokens; i++) {
          out.set(result.subarray(i * depth, (i + 1) * depth), (b * tokens + i) * width + h * depth);
        }
      }
    }
    return make(out, q.shape);
  }

  add(x: Tensor, table: Tensor): Tensor {
    const [a, b] = [this.#rows(x), this.#rows(table)];
    return make(
      a.map((value, i) => value + b[i % b.length]),
      x.shape,
    );
  }

  concat(parts: readonly Tensor[]): Tensor {
    const { rows } = matrixOf(parts[0]);
    const datas = parts.map((part) => this.#rows(part));
    const total = datas.reduce((sum, data) => sum + data.length / rows, 0);
    const out = new Float32Array(rows * total);
    for (let i = 0; i < rows; i++) {
      let at = i * total;
      for (const data of datas) {
        const channels = data.length / rows;
        out.set(data.subarray(i * channels, (i + 1) * channels), at);
        at += channels;
      }
    }
    return make(out, [...parts[0].shape.slice(0, -1), total]);
  }

  select(t: Tensor, index: number): Tensor {
    const [batch, count, channels] = t.shape;
    const { data, offset } = asReference(t);
    return {
      data,
      shape: [batch, channels],
      offset: offset + index * channels,
      stride: count * channels,
    } as ReferenceTensor;
  }

  reshape(t: Tensor, shape: readonly number[]): Tensor {
    const { data, offset } = asReference(t);
    return { data, shape, offset, stride: shape[shape.length - 1] } as ReferenceTensor;
  }

  #rows(tensor: Tensor): Float32Array {
    const { data, offset, stride } = asReference(tensor);
    const { rows, channels } = matrixOf(tensor);
    const out = new Float32Array(rows * channels);
    for (let i = 0; i < rows; i++)
      out.set(data.subarray(offset + i * stride, offset + i * stride + channels), i * channels);
    return out;
  }

  #pass({ source, pass }: Operand): Float32Array {
    const x = this.#rows(source);
    if (pass.kind !== 'norm') return ACTIVATIONS[pass.kind](x);
    const { rows, channels } = matrixOf(source);
    const shift = pass.modulation && asReference(pass.modulation.shift);
    const scale = pass.modulation && asReference(pass.modulation.scale);
    const rowsPerVector = shift ? rows / shift.shape[0] : rows;
    for (let i = 0; i < rows; i++) {
      const row = x.subarray(i * channels, (i + 1) * channels);
      const vector = Math.floor(i / rowsPerVector);
      let mean = 0;
      for (const value of row) mean += value / channels;
      let variance = 0;
      for (const value of row) variance += ((value - mean) * (value - mean)) / channels;
      const inverse = 1 / Math.sqrt(variance + pass.eps);
      for (let c = 0; c < channels; c++) {
        const gain = scale ? 1 + scale.data[scale.offset + vector * scale.stride + c] : 1;
        const offset = shift ? shift.data[shift.offset + vector * shift.stride + c] : 0;
        row[c] = (row[c] - mean) * inverse * gain + offset;
      }
    }
    return x;
  }
}
