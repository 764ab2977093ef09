/** `edge-dit calibrate`: a checkpoint's folder and conditions in, a calibration file out. */
import { availableParallelism } from 'node:os';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { type Command, Option } from 'commander';
import { calibrateToFile } from '../../calibrate/calibrate-to-file.ts';
import { defaultConditions, parseConditions } from '../../calibrate/default-conditions.ts';
import { evenly } from '../../calibrate/evenly.ts';
import { type Checkpoint, openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { prepareFolder, readUserFile } from '../files.ts';
import { integer, number } from '../option-values.ts';
import type { Progress } from '../output.ts';
import { counted, plural } from '../quantities.ts';
import type { Session } from '../session.ts';

interface CalibrateFlags extends ConditionFlags {
  readonly out: string;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  readonly moments?: true;
  readonly threads: number;
  readonly saveEvery: number;
  readonly restart?: true;
}

export interface ConditionFlags {
  readonly prompts?: string;
  readonly classes?: string;
  readonly count?: number;
}

export function addCalibrate(program: Command, session: Session): Command {
  const command = program
    .command('calibrate')
    .summary('record what the layers of a checkpoint read')
    .description(
      'Runs the float network over its own sampler and records, for every linear layer, step and channel, what it reads, in a file that quantize and analyze take. The same settings give the same bytes. When it is stopped, the same command continues it.',
    )
    .argument('<checkpoint>', "the pipeline's folder")
    .requiredOption('--out <file>', 'the calibration file to write, for instance calibration.safetensors');
  return withConditions(command)
    .option('--steps <n>', 'steps of the sampler', integer(1, 1000), 10)
    .option('--guidance <scale>', 'as requests will have it; 1 for none', number(0, 100), 3)
    .option('--seed <n>', 'of the noise, and of the choice of tokens', integer(0, 2 ** 31), 0)
    .option('--moments', 'second moments too, which recipes with GPTQ need; the file is larger')
    .option('--threads <n>', 'each holds the network in float32', integer(1, 256), availableParallelism())
    .option('--save-every <seconds>', 'how much a stop may lose', integer(0, 3600), 20)
    .option('--restart', 'forget what an earlier command did')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit calibrate examples/emoji/model --out calibration.safetensors --steps 20 --moments`,
    )
    .action((checkpoint: string, flags: CalibrateFlags) => run(checkpoint, flags, session));
}

/** Options by which commands are told what to run the network on; of how many conditions, when nobody says. */
export function withConditions(command: Command, usual?: number): Command {
  return command
    .addOption(
      new Option(
        '--prompts <file>',
        'prompts, one a line (default: calibration_prompts.txt of the checkpoint)',
      ).conflicts('classes'),
    )
    .option(
      '--classes <list>',
      'classes, separated by commas, of a model of classes (default: up to 32, evenly spaced)',
    )
    .option('--count <n>', 'only so many of them, evenly spaced', integer(1, 65_536), usual);
}

/** @throws `invalid-argument` when there are none */
export async function readConditions(
  { prompts, classes, count }: ConditionFlags,
  checkpoint: Checkpoint,
): Promise<(string | number)[]> {
  const { geometry } = architectureByName(checkpoint.architecture).configure(checkpoint.config);
  const conditions = await (async () => {
    if (prompts !== undefined) {
      const text = new TextDecoder().decode(await readUserFile('--prompts', prompts));
      return parseConditions(text, geometry, `--prompts: ${prompts}`);
    }
    if (classes === undefined) return defaultConditions(checkpoint, geometry);
    if (geometry.conditioning.kind === 'class')
      return parseConditions(classes.replace(/,/g, '\n'), geometry, '--classes');
    throw new EdgeDitError('invalid-argument', '--classes: this model takes prompts; give some with --prompts.');
  })();
  if (conditions) return evenly(conditions, count);
  throw new EdgeDitError(
    'invalid-argument',
    `checkpoint "${checkpoint.path}" has no calibration_prompts.txt, or no text encoder; give prompts with --prompts.`,
  );
}

async function run(path: string, flags: CalibrateFlags, { output, signal }: Session): Promise<void> {
  const { out, steps, guidance, seed, moments = false, threads, saveEvery, restart } = flags;
  await prepareFolder('--out', out);
  const checkpoint = await openCheckpoint(path);
  let bar: Progress | undefined;
  try {
    const conditions = await readConditions(flags, checkpoint);
    let resumed = 0;
    const calibration = await calibrateToFile({
      checkpoint,
      conditions,
      steps,
      guidance,
      seed,
      moments,
      threads,
      out,
      restart,
      saveEvery: 1000 * saveEvery,
      signal,
      onResume: (done, total) => {
        resumed = done;
        output.note(`continuing ${out}.partial: ${done} of ${plural(total, 'condition')} done`);
      },
      onStep: (done, total) => {
        bar ??= output.progress('calibrating', total, 'steps', done - 1);
        bar.update(done);
      },
    });
    bar?.stop();
    const { sha256, groups } = calibration;
    const tokens = groups.reduce((sum, group) => sum + (group.moments?.rows ?? 0), 0);
    output.result({
      json: {
        out,
        sha256,
        conditions: conditions.length,
        resumed,
        steps,
        guidance,
        seed,
        moments,
        groups: groups.map(({ layers, channels, moments }) => ({ layers, channels, tokens: moments?.rows ?? 0 })),
      },
      text: [
        `Wrote ${out}: ${plural(conditions.length, 'condition')} of ${plural(steps, 'step')}, guidance ${guidance}`,
        `  layers   ${counted(groups.flatMap(({ layers }) => layers).length)} in ${counted(groups.length)} groups that read the same`,
        ...(moments ? [`  moments  of ${counted(tokens)} tokens`] : []),
        `  SHA-256  ${sha256}`,
      ],
      brief: [out],
    });
  } finally {
    bar?.stop();
    await checkpoint.close();
  }
}
