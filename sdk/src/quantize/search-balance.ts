/** Which balance of an input's channels loses least, by an estimate that needs no run of the network. */
import { balanceOf, columnMaxima } from './balance.ts';

export interface BalanceSearch {
  /** Row-major [out, in], of the layers that read the input. */
  readonly weights: readonly Float32Array[];
  /** [in]: the largest magnitude of each channel. */
  readonly channelMax: Float32Array;
  /** [in]: the mean square of each channel. */
  readonly importance: Float32Array;
  readonly weightBits: number;
  /** 0 where activations stay in float. */
  readonly activationBits: number;
  readonly rotation: boolean;
}

const ALPHAS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/** undefined where no balance is better than any. */
export function searchBalance(search: BalanceSearch): { alpha: number; balance: Float32Array } | undefined {
  const weightMax = columnMaxima(search.weights, search.channelMax.length);
  let least = estimatedError(search, new Float32Array(search.channelMax.length).fill(1));
  let best: { alpha: number; balance: Float32Array } | undefined;
  for (const alpha of ALPHAS) {
    const balance = balanceOf(weightMax, search.channelMax, alpha);
    const error = estimatedError(search, balance);
    if (error < least) [least, best] = [error, { alpha, balance }];
  }
  return best;
}

/**
 * Mean squared error of the outputs, up to a factor: rounding errs by a twelfth of a squared step, in each weight times
 * the mean square of its input, and in each input times the squared weights that it meets. A rotation makes of any row
 * one like Gaussian noise, whose range is in proportion to its root mean square.
 */
function estimatedError(search: BalanceSearch, balance: Float32Array): number {
  const { weights, channelMax, importance, weightBits, activationBits, rotation } = search;
  const inFeatures = balance.length;
  const gaussianRange = 2 * Math.sqrt(2 * Math.log(inFeatures));
  let energy = 0;
  let largest = 0;
  for (let k = 0; k < inFeatures; k++) {
    energy += balance[k] ** 2 * importance[k];
    largest = Math.max(largest, balance[k] * channelMax[k]);
  }
  const inputRange = rotation ? gaussianRange * Math.sqrt(energy / inFeatures) : 2 * largest;
  const inputStep = activationBits === 0 ? 0 : inputRange / (2 ** activationBits - 1);
  let error = 0;
  for (const weight of weights) {
    for (let row = 0; row < weight.length; row += inFeatures) {
      let squares = 0;
      let [low, high] = [0, 0];
      for (let k = 0; k < inFeatures; k++) {
        const w = weight[row + k] / balance[k];
        squares += w * w;
        if (w < low) low = w;
        else if (w > high) high = w;
      }
      const range = rotation ? gaussianRange * Math.sqrt(squares / inFeatures) : high - low;
      error += (range / (2 ** weightBits - 1)) ** 2 * energy + inputStep ** 2 * squares;
    }
  }
  return error;
}
