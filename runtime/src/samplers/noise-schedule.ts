/**
 * The discrete variance-preserving noise schedule. In: the beta options of a config. Out: alphas_cumprod, a float32
 * value for each training timestep: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise.
 * Values are rounded to float32 where PyTorch rounds them, because sigma at the noisy end is sensitive to the last
 * bits of 1 - a; the running product is kept in float64, as PyTorch keeps it.
 */
import { cos } from '../math.ts';
import { type BetaOptions, unsupported } from './sampler-config.ts';

const { fround } = Math;
/** No single step removes more than this of the signal (Nichol and Dhariwal 2021). */
const MAX_BETA = 0.999;
/** With zero terminal SNR, what sigma-based methods take for the last value: sigma is 4096 instead of infinite. */
export const NEARLY_ZERO_ALPHA = 2 ** -24;

/** @throws `config-unsupported` when `trained_betas` has another length than `num_train_timesteps` */
export function alphasCumprod(name: string, options: BetaOptions): Float32Array {
  const betas = trainBetas(name, options);
  const alphas = cumulativeProduct(betas);
  return options.rescale_betas_zero_snr ? cumulativeProduct(rescaleToZeroSnr(alphas)) : alphas;
}

/** sigma = sqrt((1 - a) / a) of each training timestep, float32, increasing. */
export function trainSigmas(alphas: Float32Array): Float32Array {
  return alphas.map((alpha) => fround(Math.sqrt(fround(fround(1 - alpha) / alpha))));
}

/**
 * As `trainSigmas`, finite with zero terminal SNR too.
 * @throws `config-unsupported` when the betas leave no signal, so that a sigma is infinite
 */
export function finiteSigmas(name: string, options: BetaOptions): Float32Array {
  const alphas = alphasCumprod(name, options);
  if (options.rescale_betas_zero_snr) alphas[alphas.length - 1] = NEARLY_ZERO_ALPHA;
  const sigmas = trainSigmas(alphas);
  const infinite = sigmas.findIndex((sigma) => !Number.isFinite(sigma));
  if (infinite >= 0) throw unsupported(name, `the betas leave no signal from timestep ${infinite} on`);
  return sigmas;
}

function trainBetas(name: string, options: BetaOptions): Float32Array {
  const count = options.num_train_timesteps;
  if (options.trained_betas !== null) {
    if (options.trained_betas.length !== count) {
      throw unsupported(
        name,
        `trained_betas has ${options.trained_betas.length} values, num_train_timesteps is ${count}`,
      );
    }
    return Float32Array.from(options.trained_betas);
  }
  switch (options.beta_schedule) {
    case 'linear':
      return floatRange(options.beta_start, options.beta_end, count);
    case 'scaled_linear':
      return floatRange(Math.sqrt(options.beta_start), Math.sqrt(options.beta_end), count).map((root) => root * root);
    case 'squaredcos_cap_v2':
      return Float32Array.from({ length: count }, (_, i) =>
        Math.min(1 - cosineAlpha((i + 1) / count) / cosineAlpha(i / count), MAX_BETA),
      );
  }
}

/** Nichol and Dhariwal 2021, equation 17. */
function cosineAlpha(t: number): number {
  const value = cos((((t + 0.008) / 1.008) * Math.PI) / 2);
  return value * value;
}

/** Evenly spaced in float32, counted from the nearer end as `torch.linspace` does. */
function floatRange(start: number, end: number, count: number): Float32Array {
  const from = fround(start);
  const to = fround(end);
  const step = fround(fround(to - from) / (count - 1));
  return Float32Array.from({ length: count }, (_, i) =>
    i < count / 2 ? from + fround(step * i) : to - fround(step * (count - 1 - i)),
  );
}

function cumulativeProduct(betas: Float32Array): Float32Array {
  let product = 1;
  return betas.map((beta) => {
    product *= fround(1 - beta);
    return product;
  });
}

/** Betas whose last alpha is 0 (Lin et al. 2024, algorithm 1). */
function rescaleToZeroSnr(alphas: Float32Array): Float32Array {
  const roots = alphas.map((alpha) => Math.sqrt(alpha));
  const first = roots[0];
  const last = roots[roots.length - 1];
  const stretch = fround(first / fround(first - last));
  const shifted = roots.map((root) => fround(fround(root - last) * stretch));
  const squares = shifted.map((root) => root * root);
  return squares.map((alpha, i) => (i === 0 ? 1 - alpha : 1 - fround(alpha / squares[i - 1])));
}
