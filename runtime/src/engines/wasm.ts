/**
 * The engine of the edge: kernels of @edge-dit/wasm-kernels over one memory. Every operation gives the same bits on
 * every host and in every variant.
 */
import { type Kernels, linearScratchBytes } from '@edge-dit/wasm-kernels';
import { EdgeDitError } from '../errors.ts';
import {
  type AttentionOptions,
  type Engine,
  type Linear,
  type LinearSource,
  matrixOf,
  type Operand,
  type Tensor,
} from './engine.ts';
import { attentionShape, codedAttention, floatAttention } from './wasm-attention.ts';
import { COLUMN_RECORD_BYTES, LINEAR_ROWS, ROW_RECORD_BYTES, roundUp8, TILE_ROWS } from './wasm-layout.ts';
import type { WasmMemory } from './wasm-memory.ts';

interface WasmTensor extends Tensor {
  readonly at: number;
  /** Bytes between rows. */
  readonly stride: number;
}

interface WasmLinear extends Linear {
  /** Panels of codes or of floats. */
  readonly panels: number;
  /** float32, a multiple of 8 of them; of float layers. */
  readonly bias: number;
  /** A record of 128 bytes a panel: scales, zeros, sums of codes, biases; of quantized layers. */
  readonly columns: number;
  /** float32 [in]; of quantized layers. */
  readonly balance: number;
}

interface Quantized {
  readonly codes: number;
  /** A record of 16 bytes a row: scale, sum, zero. */
  readonly records: number;
}

interface WasmOperand extends Operand {
  float?: WasmTensor;
  /** By balance: layers of one balance share codes. */
  readonly quantized: Map<number, Quantized>;
}

const asWasm = (tensor: Tensor) => tensor as WasmTensor;

export class WasmEngine implements Engine {
  readonly name: string;
  readonly #kernels: Kernels;
  readonly #memory: WasmMemory;
  /** Every balance once, that of ones included: layers which share it, by its values, share quantized operands. */
  readonly #balances: { values: Float32Array; at: number }[] = [];

  constructor(kernels: Kernels, memory: WasmMemory) {
    this.name = `wasm-${kernels.variant}`;
    this.#kernels = kernels;
    this.#memory = memory;
  }

  get bytes(): number {
    return this.#memory.bytes;
  }

  linear(source: LinearSource): Linear {
    return source.kind === 'float' ? this.#floatLinear(source) : this.#codedLinear(source);
  }

  #codedLinear(source: Extract<LinearSource, { kind: 'codes' }>): Linear {
    const { outFeatures, inFeatures, bits } = source;
    if (inFeatures % 4 !== 0) {
      throw new EdgeDitError(
        'config-unsupported',
        `a quantized linear needs a multiple of 4 inputs, got ${inFeatures}`,
      );
    }
    const balance = this.#balance(source.balance ?? new Float32Array(inFeatures).fill(1));
    const panels = this.#memory.allocate(source.panels.length);
    this.#memory.u8(panels, source.panels.length).set(source.panels);
    const columns = this.#memory.allocate(COLUMN_RECORD_BYTES * Math.ceil(outFeatures / 8));
    const linear = { outFeatures, inFeatures, weightBits: bits, panels, bias: 0, columns, balance } as WasmLinear;
    this.#describeColumns(linear, source, this.#columnSums(linear));
    return linear;
  }

  #describeColumns(linear: WasmLinear, source: Extract<LinearSource, { kind: 'codes' }>, sums: Float32Array): void {
    const bytes = COLUMN_RECORD_BYTES * Math.ceil(linear.outFeatures / 8);
    const floats = this.#memory.f32(linear.columns, bytes / 4).fill(0);
    const integers = this.#memory.i32(linear.columns, bytes / 4);
    const shift = linear.weightBits === 8 && this.#kernels.form === 'signed' ? 128 : 0;
    for (let n = 0; n < linear.outFeatures; n++) {
      const at = (n >> 3) * (COLUMN_RECORD_BYTES / 4) + (n & 7);
      floats[at] = source.scale[n];
      integers[at + 8] = source.zero[n] - shift;
      integers[at + 16] = sums[n];
      floats[at + 24] = source.bias?.[n] ?? 0;
    }
  }

  /** The sum of each column's codes, in the form in which the kernel reads them: its own product with a row of ones. */
  #columnSums(linear: WasmLinear): Float32Array {
    const { outFeatures: n, inFeatures: k, columns, panels } = linear;
    const records = this.#memory.f32(columns, (COLUMN_RECORD_BYTES / 4) * Math.ceil(n / 8)).fill(0);
    for (let panel = 0; panel < records.length; panel += COLUMN_RECORD_BYTES / 4) records.fill(1, panel, panel + 8);
    const mark = this.mark();
    const codes = this.#memory.allocate(TILE_ROWS * k);
    const record = this.#memory.allocate(ROW_RECORD_BYTES);
    const out = this.#memory.allocate(4 * n);
    const scratch = this.#memory.allocate(linearScratchBytes(1, k / 4));
    this.#memory.u8(codes, k).fill(1);
    this.#memory.f32(record, 4).set([1, 0, 0, 0]);
    this.#kernelOf(linear)(1, n, k / 4, codes, record, panels, columns, out, 4 * n, scratch);
    // At most 65,536 codes of 255: exact in float32.
    const sums = this.#memory.f32(out, n).slice();
    this.release(mark);
    return sums;
  }

  #kernelOf({ weightBits }: Linear): Kernels['linear_u8'] {
    return weightBits === 4 ? this.#kernels.linear_u4 : this.#kernels.linear_u8;
  }

  #floatLinear({ weight, bias, outFeatures, inFeatures }: Extract<LinearSource, { kind: 'float' }>): Linear {
    const columns = roundUp8(outFeatures);
    const biases = this.#memory.allocate(4 * columns);
    this.#memory.f32(biases, columns).fill(0);
    if (bias) this.#memory.f32(biases, columns).set(bias);
    const panels = this.#memory.allocate(4 * columns * inFeatures);
    const mark = this.mark();
    const rows = this.#memory.allocate(weight.byteLength);
    this.#memory.f32(rows, weight.length).set(weight);
    this.#kernels.transpose_panels(outFeatures, inFeatures, rows, 4 * inFeatures, panels);
    this.release(mark);
    return { outFeatures, inFeatures, weightBits: 32, panels, bias: biases, columns: 0, balance: 0 } as WasmLinear;
  }

  #balance(values: Float32Array): number {
    const same = (other: Float32Array) =>
      other.length === values.length && other.every((value, i) => value === values[i]);
    const known = this.#balances.find((candidate) => same(candidate.values));
    if (known) return known.at;
    const at = this.#memory.allocate(4 * values.length);
    this.#memory.f32(at, values.length).set(values);
    this.#balances.push({ values, at });
    return at;
  }

  constant(data: Float32Array, shape: readonly number[]): Tensor {
    return this.input(data, shape);
  }

  mark(): number {
    return this.#memory.top;
  }

  release(mark: number): void {
    this.#memory.release(mark);
    while ((this.#balances.at(-1)?.at ?? -1) >= mark) this.#balances.pop();
  }

  input(data: Float32Array, shape: readonly number[]): Tensor {
    const tensor = this.#tensor(shape);
    this.#memory.f32(tensor.at, data.length).set(data);
    return tensor;
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    const { at, stride } = asWasm(tensor);
    const { rows, channels } = matrixOf(tensor);
    const out = new Float32Array(rows * channels);
    for (let i = 0; i < rows; i++) out.set(this.#memory.f32(at + i * stride, channels), i * channels);
    return out;
  }

  operand(source: Tensor, pass: Operand['pass'] = { kind: 'none' }): Operand {
    return { source, pass, quantized: new Map() } as WasmOperand;
  }

  materialize(operand: Operand): Tensor {
    const shared = operand as WasmOperand;
    return (shared.float ??= this.#pass(operand));
  }

  apply(linear: Linear, operand: Operand): Tensor {
    const { inFeatures, outFeatures, weightBits } = linear;
    const { rows, channels } = matrixOf(operand.source);
    if (channels !== inFeatures) {
      throw new EdgeDitError('internal', `a linear of ${inFeatures} inputs was given ${operand.source.shape}`);
    }
    const out = this.#tensor([...operand.source.shape.slice(0, -1), outFeatures]);
    // The operand's passes outlive this call, because other layers may share them; the output lies below them.
    if (weightBits === 32) this.#applyFloat(linear as WasmLinear, operand as WasmOperand, rows, out);
    else this.#applyCodes(linear as WasmLinear, operand as WasmOperand, rows, out);
    return out;
  }

  #applyFloat(linear: WasmLinear, operand: WasmOperand, rows: number, out: WasmTensor): void {
    const x = asWasm(this.materialize(operand));
    const tail = this.#memory.allocate(64);
    const { inFeatures: k, outFeatures: n, panels, bias } = linear;
    this.#kernels.gemm_f32(rows, n, k, x.at, x.stride, panels, 32 * k, 32, bias, out.at, 4 * n, tail);
    this.release(tail);
  }

  #applyCodes(linear: WasmLinear, operand: WasmOperand, rows: number, out: WasmTensor): void {
    const { codes, records } = this.#quantized(operand, linear.balance);
    const { inFeatures: k, outFeatures: n, panels, columns } = linear;
    const run = this.#kernelOf(linear);
    const scratch = this.#memory.allocate(linearScratchBytes(Math.min(rows, LINEAR_ROWS), k / 4));
    for (let i = 0; i < rows; i += LINEAR_ROWS) {
      const m = Math.min(LINEAR_ROWS, rows - i);
      const record = records + ROW_RECORD_BYTES * i;
      run(m, n, k / 4, codes + i * k, record, panels, columns, out.at + 4 * i * n, 4 * n, scratch);
    }
    this.release(scratch);
  }

  /** The operand as float32, after its pass. */
  #pass({ source, pass }: Operand): WasmTensor {
    const x = asWasm(source);
    if (pass.kind === 'none') return x;
    const { rows, channels } = this.#vectorized(source);
    const out = this.#tensor(source.shape);
    if (pass.kind === 'norm') {
      const { shift, scale, rowsPerVector, vectorStride } = this.#modulation(pass, rows, channels);
      this.#kernels.norm_modulate(rows, channels, x.at, shift, scale, rowsPerVector, vectorStride, pass.eps, out.at);
    } else {
      this.#kernels[pass.kind](rows, channels, x.at, out.at);
    }
    return out;
  }

  #quantized(operand: WasmOperand, balance: number): Quantized {
    const known = operand.quantized.get(balance) ?? this.#quantize(operand, balance);
    operand.quantized.set(balance, known);
    return known;
  }

  /** The operand as int8 rows, its pass fused with the quantization. */
  #quantize({ source, pass }: Operand, balance: number): Quantized {
    const { at } = pass.kind === 'silu' ? this.#pass({ source, pass }) : asWasm(source);
    const { rows, channels } = this.#vectorized(source);
    const codes = this.#memory.allocate((rows + TILE_ROWS) * channels);
    const records = this.#memory.allocate(ROW_RECORD_BYTES * rows);
    const line = this.#memory.allocate(4 * channels);
    const { norm_modulate_quantize, gelu_quantize, quantize } = this.#kernels;
    if (pass.kind === 'norm') {
      const { shift, scale, rowsPerVector, vectorStride } = this.#modulation(pass, rows, channels);
      norm_modulate_quantize(
        rows,
        channels,
        at,
        shift,
        scale,
        rowsPerVector,
        vectorStride,
        pass.eps,
        line,
        balance,
        codes,
        records,
      );
    } else {
      const run = pass.kind === 'gelu' ? gelu_quantize : quantize;
      run(rows, channels, at, 4 * channels, line, balance, codes, records);
    }
    return { codes, records };
  }

  #modulation(pass: Extract<Operand['pass'], { kind: 'norm' }>, rows: number, channels: number) {
    if (pass.modulation) {
      const [shift, scale] = [asWasm(pass.modulation.shift), asWasm(pass.modulation.scale)];
      const rowsPerVector = rows / shift.shape[0];
      return { shift: shift.at, scale: scale.at, rowsPerVector, vectorStride: shift.stride };
    }
    const zeros = this.#memory.allocate(4 * channels);
    this.#memory.f32(zeros, channels).fill(0);
    return { shift: zeros, scale: zeros, rowsPerVector: rows, vectorStride: 0 };
  }

  attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
    const shape = attentionShape(q, k, options.heads);
    const out = this.#tensor(q.shape);
    const mark = this.mark();
    const bias = this.#memory.allocate(4 * shape.columns);
    const prepare = options.precision === 'int8' ? codedAttention : floatAttention;
    const attend = prepare(this.#kernels, this.#memory, shape, bias);
    for (let b = 0; b < shape.batch; b++) {
      const biases = this.#memory.f32(bias, shape.columns).fill(0);
      if (options.keyBias) biases.set(options.keyBias.subarray(b * shape.keys, (b + 1) * shape.keys));
      biases.fill(Number.NEGATIVE_INFINITY, shape.keys);
      for (let h = 0; h < options.heads; h++) {
        const at = (tensor: Tensor, tokens: number) =>
          asWasm(tensor).at + b * tokens * shape.stride + 4 * h * shape.depth;
        attend(at(q, shape.tokens), at(k, shape.keys), at(v, shape.keys), at(out, shape.tokens));
      }
    }
    this.release(mark);
    return out;
  }

  add(x: Tensor, table: Tensor): Tensor {
    const { rows, channels } = this.#vectorized(x);
    const out = this.#tensor(x.shape);
    this.#kernels.add_rows(rows, channels, asWasm(x).at, asWasm(table).at, matrixOf(table).rows, out.at);
    return out;
  }

  accumulate(x: Tensor, y: Tensor, gate?: Tensor): void {
    const { rows, channels } = this.#vectorized(x);
    if (!gate) {
      this.#kernels.add_rows(rows, channels, asWasm(x).at, asWasm(y).at, rows, asWasm(x).at);
      return;
    }
    const { at, stride, shape } = asWasm(gate);
    this.#kernels.gated_add(rows, channels, asWasm(y).at, at, rows / shape[0], stride, asWasm(x).at);
  }

  concat(parts: readonly Tensor[]): Tensor {
    const widths = parts.map((part) => 4 * matrixOf(part).channels);
    const stride = widths.reduce((a, b) => a + b, 0);
    const out = this.#tensor([...parts[0].shape.slice(0, -1), stride / 4]);
    for (let i = 0; i < matrixOf(out).rows; i++) {
      let at = out.at + i * stride;
      for (const [p, part] of parts.entries()) {
        const { at: from, stride: partStride } = asWasm(part);
        this.#memory.u8(at, widths[p]).set(this.#memory.u8(from + i * partStride, widths[p]));
        at += widths[p];
      }
    }
    return out;
  }

  select(t: Tensor, index: number): Tensor {
    const [batch, count, channels] = t.shape;
    return {
      shape: [batch, channels],
      at: asWasm(t).at + 4 * index * channels,
      stride: 4 * count * channels,
    } as WasmTensor;
  }

  reshape(t: Tensor, shape: readonly number[]): Tensor {
    return { shape, at: asWasm(t).at, stride: 4 * shape[shape.length - 1] } as WasmTensor;
  }

  #tensor(shape: readonly number[]): WasmTensor {
    const length = shape.reduce((a, b) => a * b, 1);
    return { shape, at: this.#memory.allocate(4 * length), stride: 4 * shape[shape.length - 1] };
  }

  /** The row passes go four channels at a time. */
  #vectorized(tensor: Tensor): { rows: number; channels: number } {
    const size = matrixOf(tensor);
    if (asWasm(tensor).stride !== 4 * size.channels) {
      throw new EdgeDitError(
        'internal',
        `row operations need rows that follow each other, got a selection ${tensor.shape}`,
      );
    }
    if (size.channels % 4 !== 0) {
      throw new EdgeDitError(
        'config-unsupported',
        `row operations need a multiple of 4 channels, got ${size.channels}`,
      );
    }
    return size;
  }
}
