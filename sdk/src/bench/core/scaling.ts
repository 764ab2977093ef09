/** A step of a random W4A8 network, for the growth of its cost: width 384 in 6 heads, as many tokens and blocks as asked. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { encodingByName } from '@edge-dit/runtime/format/encodings';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { scaleName, WeightLoader, zeroName } from '@edge-dit/runtime/models/weights';
import type { BenchHost } from './bench-host.ts';
import { openVariant } from './engines.ts';
import { interleave } from './interleave.ts';
import type { Part, TimedResult } from './parts.ts';
import { randomBytes, randomFloats } from './random-values.ts';
import { stepInputs } from './step-inputs.ts';

const HEADS = 6;
const WIDTH = 64 * HEADS;
const PATCH = 2;
const TEXT_TOKENS = 16;

type ScalingPart = Extract<Part, { kind: 'scaling' }>;

export async function runScaling(host: BenchHost, { tokens, depth, effort }: ScalingPart): Promise<TimedResult> {
  const side = Math.round(Math.sqrt(tokens));
  const engine = await openVariant(host);
  const { geometry, transformer } = randomNetwork(engine, PATCH * side, depth);
  const { sample, timesteps, conditions } = stepInputs(geometry, { batch: 1, tokens: TEXT_TOKENS });
  const session = transformer.begin(conditions);
  const name = `${side * side} tokens, ${depth} blocks`;
  const run = async () => void (await session.forward(sample, timesteps));
  return { cases: await interleave([{ name, run }], effort), checks: [] };
}

function randomNetwork(engine: Engine, sampleSize: number, depth: number) {
  const architecture = architectureByName('PixArtTransformer2DModel').configure({
    num_attention_heads: HEADS,
    attention_head_dim: WIDTH / HEADS,
    in_channels: 4,
    out_channels: 4,
    num_layers: depth,
    cross_attention_dim: WIDTH,
    sample_size: sampleSize,
    patch_size: PATCH,
    use_additional_conditions: false,
  });
  const loader = new WeightLoader(architecture, engine);
  const float = (name: string, shape: readonly number[], deviation: number) => {
    const count = shape.reduce((a, b) => a * b, 1);
    loader.add(name, shape, { kind: 'float', data: randomFloats(count, count, deviation) });
  };
  for (const { name, shape } of architecture.tables) float(name, shape, 0.02);
  for (const { name, outFeatures, inFeatures, bias, role } of architecture.linears) {
    const shape = [outFeatures, inFeatures];
    const deviation = 1 / Math.sqrt(inFeatures);
    if (role === 'body') {
      const panels = randomBytes(encodingByName('u4-8x4').byteLength(shape), outFeatures);
      loader.add(`${name}.weight`, shape, { kind: 'codes', bits: 4, panels });
      // The deviation of a random code 0 to 15 is 4.6.
      const scale = new Float32Array(outFeatures).fill(deviation / 4.6);
      loader.add(scaleName(name), [outFeatures], { kind: 'float', data: scale });
      loader.add(zeroName(name), [outFeatures], { kind: 'bytes', data: new Uint8Array(outFeatures).fill(8) });
    } else float(`${name}.weight`, shape, deviation);
    if (bias) float(`${name}.bias`, [outFeatures], 0.02);
  }
  return { geometry: architecture.geometry, transformer: architecture.build(loader.finish(), engine) };
}
