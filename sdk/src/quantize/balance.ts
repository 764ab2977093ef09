/**
 * Static balance of channels (ViDiT-Q, arXiv 2406.02540, section 3.3; SmoothQuant, arXiv 2211.10438): what is hard to
 * quantize in an activation's channel moves into the weight, once, before the weight is quantized.
 */
import { floatToHalf, halfToFloat } from '@edge-dit/runtime/format/half';
import type { Calibration, CalibrationGroup } from '../calibrate/calibration.ts';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';

/** Channels that never were larger than this count as this large, so that silence is not amplified. */
const LEAST_MAGNITUDE = 1e-3;

/** The balance of every layer in `layers` that was calibrated: float16 numbers, [in], the same for layers of one operand. */
export async function balances(
  checkpoint: CanonicalCheckpoint,
  calibration: Calibration,
  layers: ReadonlySet<string>,
  alpha: number,
): Promise<Map<string, Float32Array>> {
  const out = new Map<string, Float32Array>();
  for (const group of calibration.groups) {
    const names = group.layers.filter((name) => layers.has(name));
    if (names.length === 0) continue;
    const weights = await Promise.all(names.map((name) => checkpoint.tensors.get(`${name}.weight`)!.read()));
    const balance = balanceOf(columnMaxima(weights, group.channels), group.channelMax, alpha);
    for (const name of names) out.set(name, balance);
  }
  return out;
}

/** m = max|w|^alpha / max|x|^(1 - alpha), scaled to a geometric mean of 1, as float16. */
export function balanceOf(weightMax: Float32Array, activationMax: Float32Array, alpha: number): Float32Array {
  const logs = Array.from(weightMax, (w, k) => {
    const x = Math.max(activationMax[k], LEAST_MAGNITUDE);
    return alpha * Math.log(Math.max(w, LEAST_MAGNITUDE)) - (1 - alpha) * Math.log(x);
  });
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  return Float32Array.from(logs, (value) => halfToFloat(floatToHalf(Math.exp(value - mean))));
}

/** [in]: the largest magnitude of each column of weights [out, in]. */
export function columnMaxima(weights: readonly Float32Array[], inFeatures: number): Float32Array {
  const maxima = new Float32Array(inFeatures);
  for (const weight of weights) {
    weight.forEach((value, i) => {
      const k = i % inFeatures;
      maxima[k] = Math.max(maxima[k], Math.abs(value));
    });
  }
  return maxima;
}

/** [in]: the largest magnitudes in the first `share` of the steps. */
export function earlyMaxima({ channels, steps, stepChannelMax }: CalibrationGroup, share: number): Float32Array {
  const maxima = new Float32Array(channels);
  const end = Math.max(1, Math.round(share * steps)) * channels;
  for (let i = 0; i < end; i++) maxima[i % channels] = Math.max(maxima[i % channels], stepChannelMax[i]);
  return maxima;
}
