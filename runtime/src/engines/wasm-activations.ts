/**
 * How the quantized layers of the wasm engine want their activations: each form once, so that layers of one form share
 * codes. What a form needs in memory lies there once, whichever layers of one place share it.
 */
import { hadamardFlips, hadamardScale } from '@edge-dit/wasm-kernels';
import { rotationOrder } from '../rotation.ts';
import type { LinearSource } from './engine.ts';
import type { WasmMemory } from './wasm-memory.ts';

type CodedSource = Extract<LinearSource, { kind: 'codes' }>;

/** Addresses are of float32 vectors [in], unless said otherwise. */
export interface ActivationForm {
  /** Equal for equal forms of one place, and for no others, whatever lay at their addresses before. */
  readonly key: string;
  /** What activations are multiplied by before they are quantized: of ones without a balance, 1 / sqrt(in) after a rotation. */
  readonly factors: number;
  /** 2^bits - 1. */
  readonly steps: number;
  readonly rotation?: {
    readonly order: number;
    /** What activations are multiplied by before they are rotated: the balance and the signs. */
    readonly factors: number;
    /** [order, order]: -0 where the matrix has -1, else 0. */
    readonly flips: number;
  };
}

interface Vector {
  readonly values: Float32Array;
  readonly at: number;
  /** No other has it. */
  readonly id: number;
}

let made = 0;

export class ActivationForms {
  readonly #memory: WasmMemory;
  readonly #vectors: Vector[] = [];

  constructor(memory: WasmMemory) {
    this.#memory = memory;
  }

  /** Makes what the form needs in memory, for activations of so many bits. */
  of({ inFeatures, balance, rotation }: CodedSource, bits: number): ActivationForm {
    const steps = (1 << bits) - 1;
    const uniform = (value: number) => new Float32Array(inFeatures).fill(value);
    const gains = balance ?? uniform(1);
    if (!rotation) {
      const { at, id } = this.#vector(gains);
      return { key: `${id} ${steps}`, factors: at, steps };
    }
    const order = rotationOrder(inFeatures, 'a linear');
    const signed = this.#vector(gains.map((gain, i) => (rotation[i] ? -gain : gain)));
    const flips = this.#vector(Float32Array.from(hadamardFlips(order), (flip) => (flip ? -0 : 0)));
    const factors = this.#vector(uniform(hadamardScale(inFeatures)));
    const rotated = { order, factors: signed.at, flips: flips.at };
    return { key: `rotated ${signed.id} ${steps}`, factors: factors.at, steps, rotation: rotated };
  }

  /** Forgets what lay at `mark` and above. */
  release(mark: number): void {
    while ((this.#vectors.at(-1)?.at ?? -1) >= mark) this.#vectors.pop();
  }

  #vector(values: Float32Array): Vector {
    const same = (other: Float32Array) =>
      other.length === values.length && other.every((value, i) => Object.is(value, values[i]));
    const known = this.#vectors.find((candidate) => same(candidate.values));
    if (known) return known;
    const at = this.#memory.allocate(4 * values.length);
    this.#memory.f32(at, values.length).set(values);
    const vector = { values, at, id: made++ };
    this.#vectors.push(vector);
    return vector;
  }
}
