/** The samplers, by diffusers' class names. To add one: its file and its line in the list. */
import { EdgeDitError, unknownName } from '../errors.ts';
import { ddim } from './ddim.ts';
import { dpmSolverMultistep } from './dpm-solver-multistep.ts';
import { eulerDiscrete } from './euler-discrete.ts';
import { flowMatchEuler } from './flow-match-euler.ts';
import { lcm } from './lcm.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import { unipcMultistep } from './unipc-multistep.ts';

export const samplers: readonly SamplerFamily[] = [
  ddim,
  dpmSolverMultistep,
  eulerDiscrete,
  flowMatchEuler,
  lcm,
  unipcMultistep,
];

/**
 * The sampler that a scheduler config names by `_class_name`.
 * @param steps how many times the network is called
 * @param items how many equal parts of `x` are samples of their own; only dynamic thresholding looks at them
 * @throws `unknown-name` for another class, `config-unsupported` for an option that is not implemented,
 * `invalid-argument` for a number of steps that the class does not allow
 */
export function createSampler(config: Readonly<Record<string, unknown>>, steps: number, items = 1): Sampler {
  const name = config._class_name;
  if (typeof name !== 'string') {
    throw new EdgeDitError(
      'config-unsupported',
      `sampler config: _class_name is ${typeof name}, expected a class's name`,
    );
  }
  const family = samplers.find((candidate) => candidate.name === name);
  if (family === undefined) {
    throw unknownName(
      'sampler',
      name,
      samplers.map((known) => known.name),
    );
  }
  return family.create(config, steps, items);
}
