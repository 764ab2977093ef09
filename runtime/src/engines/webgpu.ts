/**
 * The engine of devices with a GPU: kernels in WGSL over buffers of one device. Weights stay in the panels in which they
 * came. What is asked for is recorded; a step of a network becomes one submission when its result is read.
 */
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
import { type ActivationForm, ActivationForms } from './webgpu/activation-forms.ts';
import { attend } from './webgpu/attention.ts';
import { ADD, COPY_ROWS, ELEMENT_THREADS } from './webgpu/elementwise.ts';
import { MOST_LAYERS, ROW_ROOM, ROW_WORDS } from './webgpu/gemm-codes.ts';
import type { GpuMemory } from './webgpu/gpu-memory.ts';
import type { GpuQueue, Groups } from './webgpu/gpu-queue.ts';
import type { Kernel } from './webgpu/kernel.ts';
import { codedLayer, floatLayer, type GpuLinear, rowGroups } from './webgpu/layers.ts';
import {
  type Gate,
  type GpuRows,
  type MultiplyHost,
  multiplyCodes,
  multiplyFloats,
  type Place,
} from './webgpu/multiply.ts';
import { rotateKernel } from './webgpu/rotate.ts';
import { rotatesInside, rowKernel } from './webgpu/row-passes.ts';

interface GpuTensor extends Tensor, Place {}

interface GpuOperand extends Operand {
  float?: GpuTensor;
  /** By the key of their form. */
  readonly quantized: Map<string, GpuRows>;
}

/** Products that read the same rows and wait to become one dispatch. */
interface Batch {
  readonly rows: GpuRows;
  readonly count: number;
  readonly layers: GpuLinear[];
  readonly outputs: GPUBuffer[];
}

const asGpu = (tensor: Tensor) => tensor as GpuTensor;

export class WebGpuEngine implements Engine {
  readonly name = 'webgpu';
  readonly #queue: GpuQueue;
  readonly #memory: GpuMemory;
  readonly #forms: ActivationForms;
  readonly #host: MultiplyHost;
  #batch: Batch | undefined;

  /**
   * @param packed the language has dot4I8Packed
   * @param software the adapter is software
   */
  constructor(queue: GpuQueue, memory: GpuMemory, { packed, software }: { packed: boolean; software: boolean }) {
    this.#queue = queue;
    this.#memory = memory;
    this.#forms = new ActivationForms(memory, queue);
    const { limits } = queue.device;
    this.#host = { limits, packed, software, dispatch: (...work) => this.#dispatch(...work) };
  }

  get bytes(): number {
    return this.#memory.bytes;
  }

  linear(source: LinearSource): Linear {
    if (source.kind === 'float') return floatLayer(this.#memory, this.#queue, source);
    const { inFeatures, activationBits = 8 } = source;
    if (inFeatures % 4 !== 0) {
      throw new EdgeDitError(
        'config-unsupported',
        `a quantized linear needs a multiple of 4 inputs, got ${inFeatures}`,
      );
    }
    this.#flush();
    const form = activationBits === 'float' ? undefined : this.#forms.of(source, activationBits);
    return codedLayer(this.#memory, this.#queue, source, form, this.#host.packed);
  }

  constant(data: Float32Array, shape: readonly number[]): Tensor {
    const buffer = this.#memory.weights(data.byteLength);
    this.#queue.upload(buffer, data);
    return { shape, buffer, at: 0, stride: shape[shape.length - 1] } as GpuTensor;
  }

  mark(): number {
    return this.#memory.top;
  }

  release(mark: number): void {
    this.#flush();
    this.#memory.release(mark);
    this.#forms.release(mark);
  }

  input(data: Float32Array, shape: readonly number[]): Tensor {
    this.#flush();
    const tensor = this.#tensor(shape);
    this.#queue.upload(tensor.buffer, data);
    return tensor;
  }

  /** @throws `device-lost` when the GPU went away, and what else the device reports */
  async read(tensor: Tensor): Promise<Float32Array> {
    this.#flush();
    const { buffer, at, stride } = asGpu(tensor);
    const { rows, channels } = matrixOf(tensor);
    const span = rows === 0 ? 0 : (rows - 1) * stride + channels;
    const values = new Float32Array(await this.#queue.read(buffer, 4 * at, 4 * span));
    if (stride === channels) return values;
    const out = new Float32Array(rows * channels);
    for (let i = 0; i < rows; i++) out.set(values.subarray(i * stride, i * stride + channels), i * channels);
    return out;
  }

  operand(source: Tensor, pass: Operand['pass'] = { kind: 'none' }): Operand {
    return { source, pass, quantized: new Map() } as GpuOperand;
  }

  materialize(operand: Operand): Tensor {
    const shared = operand as GpuOperand;
    return (shared.float ??= this.#pass(operand));
  }

  apply(linear: Linear, operand: Operand): Tensor {
    const layer = this.#checked(linear, operand);
    const { rows } = matrixOf(operand.source);
    const shape = [...operand.source.shape.slice(0, -1), layer.outFeatures];
    if (!layer.form) {
      const x = asGpu(this.materialize(operand));
      const out = this.#tensor(shape);
      multiplyFloats(this.#host, layer, x, rows, out);
      return out;
    }
    const codes = this.#quantized(operand as GpuOperand, layer.form);
    const out = this.#tensor(shape);
    this.#join(codes, rows, layer, out.buffer);
    return out;
  }

  applyInto(x: Tensor, linear: Linear, operand: Operand, gate?: Tensor): void {
    const layer = this.#checked(linear, operand);
    const { rows } = this.#vectorized(x);
    if (layer.form) {
      const codes = this.#quantized(operand as GpuOperand, layer.form);
      multiplyCodes(this.#host, codes, rows, [layer], [asGpu(x)], gateTo(gate));
    } else {
      // The rows may be x itself, of which a product reads all before it is done with any.
      const source = asGpu(this.materialize(operand));
      const own = source.buffer === asGpu(x).buffer ? this.#copy(source) : source;
      multiplyFloats(this.#host, layer, own, rows, asGpu(x), gateTo(gate));
    }
  }

  attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
    for (const tensor of [q, k, v]) this.#vectorized(tensor);
    const out = this.#tensor(q.shape);
    const mark = this.mark();
    const tensors = { q: asGpu(q), k: asGpu(k), v: asGpu(v), out };
    attend(tensors, options, {
      ...this.#host,
      take: (bytes) => this.#memory.activations(bytes),
      upload: (buffer, data) => this.#queue.upload(buffer, data),
    });
    this.#memory.release(mark);
    return out;
  }

  add(x: Tensor, table: Tensor): Tensor {
    const { rows, channels } = this.#vectorized(x);
    this.#vectorized(table);
    const out = this.#tensor(x.shape);
    const count = (rows * channels) / 4;
    const tableCount = (matrixOf(table).rows * channels) / 4;
    const [from, other] = [asGpu(x), asGpu(table)];
    const parameters = { count, xAt: from.at / 4, tableAt: other.at / 4, tableCount };
    this.#dispatch(ADD, [from.buffer, other.buffer, out.buffer], parameters, elementGroups(count));
    return out;
  }

  concat(parts: readonly Tensor[]): Tensor {
    const stride = parts.reduce((sum, part) => sum + matrixOf(part).channels, 0);
    const out = this.#tensor([...parts[0].shape.slice(0, -1), stride]);
    let outAt = 0;
    for (const part of parts) {
      this.#copyRows(asGpu(part), out, outAt);
      outAt += matrixOf(part).channels;
    }
    return out;
  }

  select(t: Tensor, index: number): Tensor {
    const [batch, count, channels] = t.shape;
    const { buffer, at } = asGpu(t);
    return { shape: [batch, channels], buffer, at: at + index * channels, stride: count * channels } as GpuTensor;
  }

  reshape(t: Tensor, shape: readonly number[]): Tensor {
    const { buffer, at } = asGpu(t);
    return { shape, buffer, at, stride: shape[shape.length - 1] } as GpuTensor;
  }

  #tensor(shape: readonly number[]): GpuTensor {
    const length = shape.reduce((a, b) => a * b, 1);
    return { shape, buffer: this.#memory.activations(4 * length), at: 0, stride: shape[shape.length - 1] };
  }

  #copy(source: GpuTensor): GpuTensor {
    const out = this.#tensor(source.shape);
    this.#copyRows(source, out, 0);
    return out;
  }

  #copyRows(source: GpuTensor, out: GpuTensor, outAt: number): void {
    const { rows, channels } = matrixOf(source);
    const count = rows * channels;
    const parameters = { count, channels, xAt: source.at, xStride: source.stride, outAt, outStride: out.stride };
    this.#dispatch(COPY_ROWS, [source.buffer, out.buffer], parameters, elementGroups(count));
  }

  #checked(linear: Linear, { source }: Operand): GpuLinear {
    if (matrixOf(source).channels === linear.inFeatures) return linear as GpuLinear;
    throw new EdgeDitError('internal', `a linear of ${linear.inFeatures} inputs was given ${source.shape}`);
  }

  /** The operand as float32, after its pass. */
  #pass({ source, pass }: Operand): GpuTensor {
    if (pass.kind === 'none') return asGpu(source);
    this.#vectorized(source);
    const out = this.#tensor(source.shape);
    this.#runRows(source, pass, out.buffer);
    return out;
  }

  #quantized(operand: GpuOperand, form: ActivationForm): GpuRows {
    const known = operand.quantized.get(form.key) ?? this.#quantize(operand, form);
    operand.quantized.set(form.key, known);
    return known;
  }

  /** The operand as rows of codes, its pass, rotation and quantization in one kernel where the row has room in workgroup memory. */
  #quantize({ source, pass }: Operand, form: ActivationForm): GpuRows {
    const { rows, channels } = this.#vectorized(source);
    const room = Math.ceil(rows / ROW_ROOM) * ROW_ROOM;
    const words = Math.ceil(channels / 4 / ROW_WORDS) * ROW_WORDS;
    const buffer = this.#memory.activations(16 * room + 4 * room * words);
    const codes = { buffer, words, codesAt: room };
    const { rotation } = form;
    if (rotation && !rotatesInside(channels, rotation.order, this.#host.limits)) {
      const rotated = this.#rotate(this.#pass({ source, pass }), rotation);
      this.#runRows(rotated, { kind: 'none' }, buffer, { form: { key: '', steps: form.steps }, codes });
    } else this.#runRows(source, pass, buffer, { form, codes });
    return codes;
  }

  #rotate(source: GpuTensor, rotation: NonNullable<ActivationForm['rotation']>): GpuTensor {
    const { rows, channels } = matrixOf(source);
    const out = this.#tensor(source.shape);
    const inside = 4 * channels <= this.#host.limits.maxComputeWorkgroupStorageSize;
    const kernel = rotateKernel({ channels, order: rotation.order, inside });
    const buffers = [source.buffer, rotation.factors, rotation.flips, out.buffer];
    const parameters = { rows, xAt: source.at, xStride: source.stride, scale: rotation.scale };
    this.#dispatch(kernel, buffers, parameters, rowGroups(rows));
    return out;
  }

  #runRows(
    source: Tensor,
    pass: Operand['pass'],
    out: GPUBuffer,
    quantized?: { readonly form: ActivationForm; readonly codes: GpuRows },
  ): void {
    const { rows, channels } = matrixOf(source);
    const x = asGpu(source);
    const { modulation } = pass.kind === 'norm' ? pass : {};
    const { form, codes } = quantized ?? {};
    const { rotation } = form ?? {};
    const factors = rotation?.factors ?? form?.factors;
    const kernel = rowKernel({
      pass: pass.kind,
      modulated: modulation !== undefined,
      to: form ? 'codes' : 'float',
      factors: factors !== undefined,
      rotation: rotation?.order,
      channels,
    });
    const [shift, scale] = modulation ? [asGpu(modulation.shift), asGpu(modulation.scale)] : [];
    const buffers = [x.buffer, shift?.buffer, scale?.buffer, factors, rotation?.flips, out].filter(
      (buffer) => buffer !== undefined,
    );
    const vectors = shift &&
      scale && {
        shiftAt: shift.at,
        scaleAt: scale.at,
        vectorStride: shift.stride,
        rowsOfVector: rows / shift.shape[0],
      };
    const eps = pass.kind === 'norm' ? pass.eps : 0;
    const coded = codes && form && { codesAt: codes.codesAt, words: codes.words, steps: form.steps };
    const rotated = rotation?.scale ?? 1;
    const parameters = { rows, xAt: x.at, xStride: x.stride, eps, rotated, ...vectors, ...coded };
    this.#dispatch(kernel, buffers, parameters, rowGroups(rows));
  }

  /** Waits for more products of the same rows. */
  #join(rows: GpuRows, count: number, layer: GpuLinear, output: GPUBuffer): void {
    const batch = this.#batch;
    const first = batch?.layers[0];
    const alike =
      batch &&
      first &&
      batch.rows === rows &&
      batch.layers.length < MOST_LAYERS &&
      first.outFeatures === layer.outFeatures &&
      first.coded!.bits === layer.coded!.bits &&
      first.coded!.groupFours === layer.coded!.groupFours &&
      first.coded!.grouped === layer.coded!.grouped;
    if (!alike) {
      this.#flush();
      this.#batch = { rows, count, layers: [], outputs: [] };
    }
    this.#batch!.layers.push(layer);
    this.#batch!.outputs.push(output);
  }

  #flush(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (!batch) return;
    const outputs = batch.outputs.map((buffer) => ({ buffer, at: 0 }));
    multiplyCodes(this.#host, batch.rows, batch.count, batch.layers, outputs);
  }

  #dispatch(kernel: Kernel, buffers: readonly GPUBuffer[], parameters: Record<string, number>, groups: Groups): void {
    this.#flush();
    this.#queue.dispatch(kernel, buffers, parameters, groups);
  }

  /** The row passes go four channels at a time. */
  #vectorized(tensor: Tensor): { rows: number; channels: number } {
    const size = matrixOf(tensor);
    const { stride } = asGpu(tensor);
    if (size.rows > 1 && stride !== size.channels) {
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

/** How `applyInto` adds its result. */
function gateTo(gate: Tensor | undefined): Gate {
  return gate ? { ...asGpu(gate), count: matrixOf(gate).rows } : 'add';
}

const elementGroups = (count: number) => rowGroups(Math.ceil(count / ELEMENT_THREADS));
