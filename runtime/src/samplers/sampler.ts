/**
 * A sampler turns noise into a sample by calling the network once a step. Samplers are pure: what a step
 * needs beyond the sample is in `SamplerState.history`, so a state is a checkpoint that can be stored and resumed.
 */
export interface SamplerState {
  /** The sample after the last step, any layout; same length in every step. */
  readonly x: Float32Array;
  /** What a multistep method remembers, newest first; empty at the start. */
  readonly history: readonly Float32Array[];
}

export interface Sampler {
  /** What the network is given as its timestep, one a step. */
  readonly timesteps: readonly number[];
  /** Noise levels, steps + 1 of them, for samplers that have them; empty otherwise. */
  readonly sigmas: readonly number[];
  /** Unit noise times this is the first sample. */
  readonly initNoiseSigma: number;
  /** The sample as the network wants to see it in step `i` (identity for most). */
  scaleInput(x: Float32Array, i: number): Float32Array;
  /** `output` is the network's output for `scaleInput(state.x, i)` at `timesteps[i]`, guidance applied; `noise` draws unit noise. */
  step(i: number, output: Float32Array, state: SamplerState, noise: () => Float32Array): SamplerState;
  /** The sample without noise that `output` means in step `i`, as a preview shows it; may be `output` itself. */
  predict(i: number, output: Float32Array, x: Float32Array): Float32Array;
}

/** One class of diffusers' schedulers. `create` raises `config-unsupported` for options it does not implement. */
export interface SamplerFamily {
  /** diffusers' `_class_name`. */
  readonly name: string;
  /**
   * @param items how many equal parts of `x` are samples of their own; only dynamic thresholding looks at them
   */
  create(config: Readonly<Record<string, unknown>>, steps: number, items: number): Sampler;
}
