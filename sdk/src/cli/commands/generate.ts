/** `edge-dit generate`: a published model and a prompt in, PNG files out, by the same runtime as on the edge. */
import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { threadedEngine } from '@edge-dit/runtime/engines/open-threaded-wasm';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { encodePng } from '@edge-dit/runtime/picture';
import { type Generated, type GenerateRequest, Pipeline } from '@edge-dit/runtime/pipeline';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import type { Command } from 'commander';
import { readEmbeddingFile } from '../../embedding-file.ts';
import { resolveModel } from '../../model-reference.ts';
import { spawnNodeThread, usualThreads } from '../../threads/node-threads.ts';
import { prepareFolder, readUserFile, writeUserFile } from '../files.ts';
import { byteSize, integer, number, oneOf } from '../option-values.ts';
import type { Output, Progress } from '../output.ts';
import { duration, shortBytes } from '../quantities.ts';
import type { Session } from '../session.ts';
import { addTrustOptions, type TrustFlags, trustOf } from '../trust-options.ts';

interface GenerateFlags extends TrustFlags {
  readonly model: string;
  readonly prompt?: string;
  readonly negativePrompt?: string;
  readonly embedding?: string;
  readonly class?: string;
  readonly seed: number;
  readonly steps?: number;
  readonly guidance?: number;
  readonly width?: number;
  readonly height?: number;
  readonly count: number;
  readonly out: string;
  readonly variant?: 'simd' | 'relaxed';
  readonly threads: number;
  readonly memory: number;
}

const MAX_SEED = Number.MAX_SAFE_INTEGER;
const MAX_COUNT = 1000;

export function addGenerate(program: Command, session: Session): Command {
  const command = program
    .command('generate')
    .summary('make a picture with a published model')
    .description('Fetches a model from its store, verifies it, and makes pictures as an edge function does.')
    .requiredOption('--model <model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .option('--prompt <text>', 'what to show')
    .option('--negative-prompt <text>', 'what guidance leads away from (default: nothing)')
    .option('--embedding <file>', 'safetensors with prompt, prompt_mask, negative, negative_mask, instead of a prompt')
    .option('--class <class>', 'name or number of a class, for models of classes')
    .option('--seed <n>', 'seed of the noise', integer(0, MAX_SEED), 1)
    .option('--steps <n>', "steps of the sampler (default: the model's)", integer(1, 1000))
    .option('--guidance <scale>', "scale of the guidance; 1 is none (default: the model's)", number(0, 100))
    .option('--width <pixels>', "width (default: the model's)", integer(1, 4096))
    .option('--height <pixels>', "height (default: the model's)", integer(1, 4096))
    .option(
      '--count <n>',
      'so many pictures, with seeds from --seed on, in a-1.png, a-2.png, ...',
      integer(1, MAX_COUNT),
      1,
    )
    .option(
      '--variant <name>',
      'kernels: simd or relaxed (default: the fastest that runs here)',
      oneOf('simd', 'relaxed'),
    )
    .option('--threads <n>', 'threads; the picture does not depend on them', integer(1, 16), usualThreads())
    .option('--memory <size>', 'limit of the memory for wasm and buffers', byteSize, 2 * 2 ** 30)
    .requiredOption('--out <file.png>', 'where to write');
  return addTrustOptions(command)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit generate --model ./models/emoji-w4a8 --prompt "red apple, fluent 3d style" --seed 1 --out apple.png
  $ edge-dit generate --model ./models/cifar-w8a8 --class ship --count 4 --out ship.png`,
    )
    .action((flags: GenerateFlags) => run(flags, session));
}

interface Picture {
  readonly path: string;
  readonly generated: Generated;
  readonly bytes: number;
  readonly sha256: string;
}

async function run(flags: GenerateFlags, { output, signal }: Session): Promise<void> {
  checkFlags(flags);
  const { store, model } = await resolveModel(flags.model, { signal });
  const meter = new Meter(flags.memory);
  const { threads } = flags;
  const pipeline = await Pipeline.open({
    store,
    model,
    trust: trustOf(flags, model),
    kernels: await compileKernels({ shared: threads > 1 }),
    variant: flags.variant,
    openEngine: threads > 1 ? threadedEngine({ threads, spawn: spawnNodeThread }) : undefined,
    meter,
    onnx: createNodeOrtRuntime,
    signal,
  });
  try {
    const request = await requestOf(flags, pipeline);
    await prepareFolder('--out', flags.out);
    const pictures: Picture[] = [];
    for (let index = 0; index < flags.count; index++) {
      const path = flags.count === 1 ? flags.out : numbered(flags.out, index + 1);
      const generated = await generate(pipeline, { ...request, seed: request.seed + index }, output, signal);
      const png = encodePng(generated);
      await writeUserFile('--out', path, png);
      pictures.push({ path, generated, bytes: png.length, sha256: createHash('sha256').update(png).digest('hex') });
    }
    report(pictures, pipeline, output);
  } finally {
    await pipeline.close();
  }
}

/** What needs no model to be refused. */
function checkFlags({ seed, count, out }: GenerateFlags): void {
  if (extname(out).toLowerCase() !== '.png') {
    throw new EdgeDitError('invalid-argument', `--out: "${out}" does not end in .png; pictures are written as PNG.`);
  }
  // Not seed + count, which rounds beyond 2^53.
  if (seed > MAX_SEED - (count - 1)) {
    throw new EdgeDitError('invalid-argument', `--seed and --count lead beyond the largest seed, ${MAX_SEED}.`);
  }
}

async function requestOf(flags: GenerateFlags, { manifest }: Pipeline): Promise<GenerateRequest> {
  const { prompt, negativePrompt, seed, steps, guidance, width, height } = flags;
  const refuse = (message: string) => new EdgeDitError('invalid-argument', message);
  const shared = { seed, steps, guidance, width, height };
  if (flags.embedding === undefined)
    return { ...shared, prompt, negativePrompt, class: classOf(flags.class, manifest) };
  if (prompt !== undefined || negativePrompt !== undefined || flags.class !== undefined) {
    throw refuse('--embedding stands for the prompts: give it without --prompt, --negative-prompt and --class.');
  }
  const { conditioning } = manifest.pipeline;
  if (conditioning.type !== 'text') throw refuse('--embedding: this model takes --class.');
  const embedding = readEmbeddingFile(await readUserFile('--embedding', flags.embedding), flags.embedding);
  if (conditioning.channels !== undefined && embedding.prompt.channels !== conditioning.channels) {
    throw refuse(
      `--embedding: ${flags.embedding} has ${embedding.prompt.channels} channels, the model takes ${conditioning.channels}.`,
    );
  }
  return { ...shared, embedding };
}

/** A name where the model has such a name, else a number. */
function classOf(text: string | undefined, { pipeline }: Pipeline['manifest']): number | string | undefined {
  const names = pipeline.conditioning.type === 'class' ? pipeline.conditioning.names : undefined;
  return text === undefined || names?.includes(text) || !/^\d+$/.test(text) ? text : Number(text);
}

async function generate(
  pipeline: Pipeline,
  request: GenerateRequest,
  output: Output,
  signal: AbortSignal,
): Promise<Generated> {
  let bar: Progress | undefined;
  let received = 0;
  try {
    return await pipeline.generate(request, {
      signal,
      onBytes: (count) => {
        bar ??= output.progress('loading', sumOf(pipeline.manifest.shards), 'bytes');
        // What streams comes more than once.
        received = Math.min(received + count, sumOf(pipeline.manifest.shards));
        bar.update(received);
      },
      onStep: (step, steps) => {
        if (step === 1) {
          bar?.stop();
          bar = output.progress(`seed ${request.seed}`, steps, 'steps');
        }
        bar?.update(step);
      },
    });
  } finally {
    bar?.stop();
  }
}

const sumOf = (shards: readonly { readonly length: number }[]) => shards.reduce((sum, { length }) => sum + length, 0);

function streamedOf({ streaming, meter }: Pipeline): string[] {
  if (!streaming?.streamed) return [];
  const { streamed, blocks, bytesEachStep } = streaming;
  const read = `${streamed} of ${blocks} blocks did not fit and were read in every step, ${shortBytes(bytesEachStep)}`;
  return [`  ${read}; a --memory above ${shortBytes(meter.budget)} makes that less`];
}

function numbered(path: string, number: number): string {
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}-${number}${extension}`;
}

function report(pictures: readonly Picture[], pipeline: Pipeline, output: Output): void {
  const { manifest, digest, meter } = pipeline;
  const { name, notes } = pipeline.engine!;
  const { steps, guidance } = pictures[0].generated;
  output.result({
    json: {
      model: manifest.model,
      digest,
      engine: name,
      engineNotes: notes,
      steps,
      guidance,
      peakBytes: meter.peak,
      memoryBytes: meter.budget,
      streaming: pipeline.streaming,
      pictures: pictures.map(({ path, bytes, sha256, generated: { seed, width, height, timings } }) => ({
        path,
        seed,
        width,
        height,
        bytes,
        sha256,
        timingsMs: timings,
      })),
    },
    text: [
      ...pictures.flatMap(({ path, bytes, generated: { seed, width, height, timings } }) => [
        `${path}  ${width} x ${height}, seed ${seed}, ${shortBytes(bytes)}`,
        `  ${Object.entries(timings)
          .map(([stage, ms]) => `${stage} ${duration(ms)}`)
          .join(', ')}`,
      ]),
      `${manifest.model}: ${steps} steps, guidance ${guidance}, ${name}, at most ${shortBytes(meter.peak)} of ${shortBytes(meter.budget)}`,
      ...streamedOf(pipeline),
      ...notes.map((note) => `  ${note}`),
    ],
    brief: pictures.map(({ path }) => path),
  });
}
