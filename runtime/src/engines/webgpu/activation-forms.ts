/**
 * How the quantized layers of the engine want their activations: each form once, so that layers of one form share codes,
 * and what a form needs lies in memory once.
 */
import { hadamardFlips, hadamardScale } from '@edge-dit/wasm-kernels';
import { rotationOrder } from '../../rotation.ts';
import type { LinearSource } from '../engine.ts';
import type { GpuMemory } from './gpu-memory.ts';
import type { GpuQueue } from './gpu-queue.ts';

type CodedSource = Extract<LinearSource, { kind: 'codes' }>;

export interface ActivationForm {
  /** Equal for equal forms, and for no others. */
  readonly key: string;
  /** 2^bits - 1. */
  readonly steps: number;
  /** [in]: what activations are multiplied by before they are quantized. */
  readonly factors?: GPUBuffer;
  readonly rotation?: {
    readonly order: number;
    readonly scale: number;
    /** [in]: the balance with the signs. */
    readonly factors: GPUBuffer;
    /** [order, order]: the sign bit where the matrix has -1. */
    readonly flips: GPUBuffer;
  };
}

interface Vector {
  readonly values: Float32Array;
  readonly buffer: GPUBuffer;
  /** Height of the stack before it. */
  readonly mark: number;
  readonly id: number;
}

export class ActivationForms {
  readonly #memory: GpuMemory;
  readonly #queue: GpuQueue;
  readonly #vectors: Vector[] = [];
  #made = 0;

  constructor(memory: GpuMemory, queue: GpuQueue) {
    this.#memory = memory;
    this.#queue = queue;
  }

  /** Makes what the form needs in memory, for activations of so many bits. */
  of({ inFeatures, balance, rotation }: CodedSource, bits: number): ActivationForm {
    const steps = (1 << bits) - 1;
    if (!rotation) {
      if (!balance) return { key: `${steps}`, steps };
      const { buffer, id } = this.#vector(balance);
      return { key: `${steps} ${id}`, steps, factors: buffer };
    }
    const order = rotationOrder(inFeatures, 'a linear');
    const signed = Float32Array.from(rotation, (flip, i) => (balance?.[i] ?? 1) * (flip ? -1 : 1));
    const factors = this.#vector(signed);
    const flips = this.#vector(Float32Array.from(hadamardFlips(order), (flip) => (flip ? -0 : 0)));
    return {
      key: `${steps} rotated ${factors.id}`,
      steps,
      rotation: { order, scale: hadamardScale(inFeatures), factors: factors.buffer, flips: flips.buffer },
    };
  }

  /** Forgets what was made at `mark` and above. */
  release(mark: number): void {
    while ((this.#vectors.at(-1)?.mark ?? -1) >= mark) this.#vectors.pop();
  }

  #vector(values: Float32Array): Vector {
    const same = (other: Float32Array) =>
      other.length === values.length && other.every((value, i) => Object.is(value, values[i]));
    const known = this.#vectors.find((candidate) => same(candidate.values));
    if (known) return known;
    const mark = this.#memory.top;
    const buffer = this.#memory.weights(4 * values.length);
    this.#queue.upload(buffer, values);
    this.#made += 1;
    const vector = { values, buffer, mark, id: this.#made };
    this.#vectors.push(vector);
    return vector;
  }
}
