/**
 * Static balance of channels (ViDiT-Q, arXiv 2406.02540, section 3.3; SmoothQuant, arXiv 2211.10438): what is hard to
 * quantize in an activation's channel moves into the weight, once, before the weight is quantized.
 */
import { floatToHalf, halfToFloat } from '@edge-dit/runtime/format/half';
import type { Calibration } from '../calibrate/calibrate.ts';
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
    const weightMax = new Float32Array(group.channelMax.length);
    for (const name of names) raiseColumnMaxima(weightMax, await checkpoint.tensors.get(`${name}.weight`)!.read());
    const balance = balanceOf(weightMax, group.channelMax, alpha);
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

function raiseColumnMaxima(maxima: Float32Array, weight: Float32Array): void {
  weight.forEach((value, i) => {
    const k = i % maxima.length;
    maxima[k] = Math.max(maxima[k], Math.abs(value));
  });
}
