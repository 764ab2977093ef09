/**
 * Balance and rotation of what a layer reads, and their inverses in its weight: x W^T stays what it was. Rotations are
 * Hadamard's with signs drawn once for all layers of a width.
 */
import { philox4x32 } from '@edge-dit/runtime/noise';
import { hadamardRotate } from '@edge-dit/runtime/rotation';
import { hadamardOrder } from '@edge-dit/wasm-kernels';
import { TREATMENTS, type Treatment } from './analysis.ts';

export const treatmentsOf = (channels: number): readonly Treatment[] =>
  hadamardOrder(channels) === undefined ? ['plain', 'balanced'] : TREATMENTS;

/** What a layer reads, [rows, channels], under a treatment. */
export function treatedActivations(values: Float32Array, balance: Float32Array, treatment: Treatment): Float32Array {
  return treated(values, balance.length, treatment, (value, channel) => value * balance[channel]);
}

/** A weight, [out, channels], that belongs to it. */
export function treatedWeight(weight: Float32Array, balance: Float32Array, treatment: Treatment): Float32Array {
  return treated(weight, balance.length, treatment, (value, channel) => value / balance[channel]);
}

function treated(
  values: Float32Array,
  channels: number,
  treatment: Treatment,
  balanced: (value: number, channel: number) => number,
): Float32Array {
  const out = values.slice();
  if (treatment === 'balanced' || treatment === 'both') {
    for (let i = 0; i < out.length; i++) out[i] = balanced(out[i], i % channels);
  }
  if (treatment === 'rotated' || treatment === 'both') {
    hadamardRotate(out.length / channels, channels, out, signsOf(channels));
  }
  return out;
}

function signsOf(channels: number): Uint8Array {
  return Uint8Array.from({ length: channels }, (_, channel) => {
    const words = Uint32Array.of(channel, channels, 0, 0);
    philox4x32(words, 0, 0);
    return words[0] & 1;
  });
}
