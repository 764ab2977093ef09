/**
 * The engine of the edge: kernels of @edge-dit/wasm-kernels over one memory. Every operation gives the same bits on
 * every host and in every variant.
 */
import type { Kernels } from '@edge-dit/wasm-kernels';
import { EdgeDitError } from '../errors.ts';
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
import { type ActivationForm, ActivationForms } from './wasm-activations.ts';
import { attentionShape, codedAttention, floatAttention } from './wasm-attention.ts';
import { ROW_RECORD_BYTES, roundUp8, TILE_ROWS } from './wasm-layout.ts';
import {
  type CodedRows,
  type CodedWeight,
  codedWeight,
  type Gate,
  multiplyCodes,
  multiplyFloats,
} from './wasm-linear.ts';
import type { WasmMemory } from './wasm-memory.ts';

interface WasmTensor extends Tensor {
  readonly at: number;
  /** Bytes between rows. */
  readonly stride: number;
}

interface WasmLinear extends Linear {
  /** Of float layers: panels of floats, and float32 biases, a multiple of 8 of them. */
  readonly panels: number;
  readonly bias: number;
  /** Of layers of codes. */
  readonly coded?: CodedWeight;
  /** Of those whose activations are codes too. */
  readonly activations?: ActivationForm;
}

interface WasmOperand extends Operand {
  float?: WasmTensor;
  /** By the key of their form. */
  readonly quantized: Map<string, CodedRows>;
}

/** Of a float weight that are brought into the order of panels at a time: a multiple of 8. */
const TRANSPOSED_ROWS = 64;

const asWasm = (tensor: Tensor) => tensor as WasmTensor;

export class WasmEngine implements Engine {
  readonly name: string;
  readonly #kernels: Kernels;
  readonly #memory: WasmMemory;
  /** Of the layers on the stack, or of the place that is being filled. */
  #forms: ActivationForms;

  constructor(kernels: Kernels, memory: WasmMemory) {
    this.name = `wasm-${kernels.variant}`;
    this.#kernels = kernels;
    this.#memory = memory;
    this.#forms = new ActivationForms(memory);
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
    const { activationBits = 8 } = source;
    const activations = activationBits === 'float' ? undefined : this.#forms.of(source, activationBits);
    const coded = codedWeight(this.#kernels, this.#memory, source);
    return { outFeatures, inFeatures, weightBits: bits, coded, activations } as WasmLinear;
  }

  #floatLinear({ weight, bias, outFeatures, inFeatures }: Extract<LinearSource, { kind: 'float' }>): Linear {
    const columns = roundUp8(outFeatures);
    const biases = this.#memory.allocate(4 * columns);
    this.#memory.f32(biases, columns).fill(0);
    if (bias) this.#memory.f32(biases, columns).set(bias);
    const panels = this.#memory.allocate(4 * columns * inFeatures);
    this.#memory.scratch(() => {
      const scratch = this.#memory.allocate(4 * TRANSPOSED_ROWS * inFeatures);
      for (let row = 0; row < outFeatures; row += TRANSPOSED_ROWS) {
        const rows = weight.subarray(row * inFeatures, (row + TRANSPOSED_ROWS) * inFeatures);
        this.#memory.f32(scratch, rows.length).set(rows);
        const to = panels + 4 * row * inFeatures;
        this.#kernels.transpose_panels(
          Math.min(TRANSPOSED_ROWS, outFeatures - row),
          inFeatures,
          scratch,
          4 * inFeatures,
          to,
        );
      }
    });
    return { outFeatures, inFeatures, weightBits: 32, panels, bias: biases } as WasmLinear;
  }

  constant(data: Float32Array, shape: readonly number[]): Tensor {
    return this.input(data, shape);
  }

  place(bytes: number): Place {
    const region = this.#memory.reserve(bytes);
    let forms = new ActivationForms(this.#memory);
    return {
      clear: () => {
        region.top = region.at;
        forms = new ActivationForms(this.#memory);
      },
      fill: (make) => {
        const before = this.#forms;
        this.#forms = forms;
        try {
          return this.#memory.within(region, make);
        } finally {
          this.#forms = before;
        }
      },
    };
  }

  mark(): number {
    return this.#memory.top;
  }

  release(mark: number): void {
    this.#memory.release(mark);
    this.#forms.release(mark);
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
    const out = this.#tensor([...operand.source.shape.slice(0, -1), linear.outFeatures]);
    this.#multiply(linear as WasmLinear, operand as WasmOperand, out);
    return out;
  }

  applyInto(x: Tensor, linear: Linear, operand: Operand, gate?: Tensor): void {
    const { rows, channels } = this.#vectorized(x);
    const { at, stride, shape } = asWasm(gate ?? this.#ones(channels));
    this.#multiply(linear as WasmLinear, operand as WasmOperand, asWasm(x), { at, stride, every: rows / shape[0] });
  }

  /** A gate that changes nothing. */
  #ones(channels: number): WasmTensor {
    const ones = this.#tensor([1, channels]);
    this.#memory.f32(ones.at, channels).fill(1);
    return ones;
  }

  /**
   * Writes out, or with a gate adds gate * y to it. The operand's passes outlive this call, because other layers may
   * share them; the output lies below them.
   */
  #multiply(linear: WasmLinear, operand: WasmOperand, out: WasmTensor, gate?: Gate): void {
    const { inFeatures: k, outFeatures: n, activations, coded, panels, bias } = linear;
    const { rows, channels } = matrixOf(operand.source);
    if (channels !== k) {
      throw new EdgeDitError('internal', `a linear of ${k} inputs was given ${operand.source.shape}`);
    }
    if (coded && activations) {
      multiplyCodes(this.#memory, coded, this.#quantized(operand, activations), rows, out.at, gate);
      return;
    }
    const x = asWasm(this.materialize(operand));
    const { at } = gate ? this.#tensor(out.shape) : out;
    if (coded) multiplyFloats(this.#kernels, this.#memory, coded, x.at, x.stride, rows, at);
    else {
      const tail = this.#memory.allocate(64);
      this.#kernels.gemm_f32(rows, n, k, x.at, x.stride, panels, 32 * k, 32, bias, at, 4 * n, tail);
      this.release(tail);
    }
    if (gate) this.#kernels.gated_add(rows, n, at, gate.at, gate.every, gate.stride, out.at);
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

  #quantized(operand: WasmOperand, form: ActivationForm): CodedRows {
    const known = operand.quantized.get(form.key) ?? this.#quantize(operand, form);
    operand.quantized.set(form.key, known);
    return known;
  }

  /** The operand as int8 rows, its pass fused with the quantization where no rotation comes between them. */
  #quantize({ source, pass }: Operand, { factors, steps, rotation }: ActivationForm): CodedRows {
    const { rows, channels } = this.#vectorized(source);
    const codes = this.#memory.allocate((rows + TILE_ROWS) * channels);
    const records = this.#memory.allocate(ROW_RECORD_BYTES * (rows + TILE_ROWS));
    const line = this.#memory.allocate(4 * channels);
    const apart = rotation !== undefined || pass.kind === 'silu';
    const { at } = apart ? this.#pass({ source, pass }) : asWasm(source);
    const { norm_modulate_quantize, gelu_quantize, quantize, rotate_rows } = this.#kernels;
    if (rotation) {
      const { order } = rotation;
      const out = pass.kind === 'none' ? this.#memory.allocate(4 * rows * channels) : at;
      rotate_rows(rows, order, channels / order, at, rotation.factors, rotation.flips, line, out);
      quantize(rows, channels, out, 4 * channels, line, factors, codes, records, steps);
    } else if (pass.kind === 'norm') {
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
        factors,
        codes,
        records,
        steps,
      );
    } else {
      const run = pass.kind === 'gelu' ? gelu_quantize : quantize;
      run(rows, channels, at, 4 * channels, line, factors, codes, records, steps);
    }
    this.release(line);
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
