/**
 * Noise levels that are not those of timesteps: Karras spacing, flow shifts, and the way back from a level to a
 * timestep. In and out: plain numbers in float64; callers round to float32 once, at the end.
 */
import { log, pow } from '../math.ts';
import { evenlySpaced } from './timestep-spacing.ts';

const KARRAS_RHO = 7;

/** Karras et al. 2022, equation 5, from `max` down to `min`. */
export function karrasSigmas(max: number, min: number, steps: number): number[] {
  const top = pow(max, 1 / KARRAS_RHO);
  const bottom = pow(min, 1 / KARRAS_RHO);
  return evenlySpaced(0, 1, steps).map((ramp) => pow(top + ramp * (bottom - top), KARRAS_RHO));
}

/** sigma' = s sigma / (1 + (s - 1) sigma) (Esser et al. 2024, equation 23). */
export function shiftSigma(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/** Stretches flow sigmas so that the last becomes `terminal` and a first of 1 stays. */
export function stretchToTerminal(sigmas: readonly number[], terminal: number): number[] {
  const factor = (1 - sigmas[sigmas.length - 1]) / (1 - terminal);
  return sigmas.map((sigma) => 1 - (1 - sigma) / factor);
}

/** Linear interpolation in a table at a fractional index; beyond the ends, the end. */
export function interpolate(table: Float32Array, index: number): number {
  const last = table.length - 1;
  if (index >= last) return table[last];
  if (index <= 0) return table[0];
  const below = Math.floor(index);
  return table[below] + (table[below + 1] - table[below]) * (index - below);
}

/** The fractional timestep whose sigma is `sigma`, by linear interpolation of the logarithm. */
export function sigmaToTimestep(sigma: number, logSigmas: Float32Array): number {
  const value = log(Math.max(sigma, 1e-10));
  let low = 0;
  while (low < logSigmas.length - 2 && logSigmas[low + 1] <= value) low++;
  const weight = (logSigmas[low] - value) / (logSigmas[low] - logSigmas[low + 1]);
  const bounded = Math.min(Math.max(weight, 0), 1);
  return (1 - bounded) * low + bounded * (low + 1);
}

export function logarithms(sigmas: Float32Array): Float32Array {
  return sigmas.map((sigma) => log(sigma));
}
