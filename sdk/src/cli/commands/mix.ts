/** `edge-dit mix`: a checkpoint, a recipe and a budget of bytes in; which layer gets how many bits out. */
import { availableParallelism } from 'node:os';
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type Command, InvalidArgumentError } from 'commander';
import { readCalibration } from '../../calibrate/calibration-file.ts';
import { canonicalCheckpoint } from '../../checkpoint/canonical.ts';
import { type Checkpoint, openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { type BitSearchRecord, serializeBitMap } from '../../mixed-precision/bit-map.ts';
import { bitTable } from '../../mixed-precision/bit-table.ts';
import { CANDIDATES, searchBits } from '../../mixed-precision/search-bits.ts';
import { recipeCalibration } from '../../quantize/recipe-calibration.ts';
import { recipeByName } from '../../recipes/index.ts';
import type { Recipe } from '../../recipes/recipe.ts';
import { cacheFolder } from '../cache-folder.ts';
import { prepareFolder, writeUserFile } from '../files.ts';
import { integer, lookup, number } from '../option-values.ts';
import { longBytes, plural, table } from '../quantities.ts';
import { QuantizingBars } from '../quantizing-bars.ts';
import type { Session } from '../session.ts';
import { type ConditionFlags, readConditions, withConditions } from './calibrate.ts';

interface MixFlags extends ConditionFlags {
  readonly recipe: Recipe;
  readonly out: string;
  readonly budget?: number;
  readonly bits?: readonly CodeBits[];
  readonly calibration?: string;
  readonly cache: string;
  readonly oneMetric?: true;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  readonly threads: number;
}

export function addMix(program: Command, session: Session): Command {
  const command = program
    .command('mix')
    .summary('search which layers get how many bits under a budget')
    .description(
      'Measures what each layer of the blocks does to pictures at each width, alone in the float network, and chooses widths by an integer program: bytes are divided among the roles of layers by the error of pictures, and inside cross-attention by that of what the text puts into them. What was measured is kept: when it is stopped, the same command continues it, and one for another budget takes a moment.',
    )
    .argument('<checkpoint>', "the pipeline's folder")
    .requiredOption('--recipe <name>', 'all but the widths (see "edge-dit list")', lookup(recipeByName))
    .requiredOption('--out <file>', 'the map to write, which quantize takes as --bit-map')
    .option('--budget <share>', "all bytes, in shares of float16's, for instance 0.42 (default: the recipe's)", share)
    .option('--bits <list>', `widths to choose from (default: the recipe's, or ${CANDIDATES})`, widths)
    .option('--calibration <file>', 'of "edge-dit calibrate" (default: as quantize makes it)')
    .option('--cache <folder>', 'where measurements and calibrations are kept', cacheFolder())
    .option('--one-metric', 'judge all layers by the error of pictures');
  return withConditions(command, 8)
    .option('--steps <n>', 'steps of the sampler on the way to pictures', integer(1, 1000), 10)
    .option('--guidance <scale>', 'as requests will have it; 1 for none', number(0, 100), 3)
    .option('--seed <n>', 'of the noise', integer(0, 2 ** 31), 0)
    .option('--threads <n>', 'each holds the network in float32', integer(1, 256), availableParallelism())
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit mix examples/emoji/model --recipe vidit-q-w4a8 --budget 0.42 --out emoji-bits.json
  $ edge-dit quantize examples/emoji/model --recipe vidit-q-w4a8 --bit-map emoji-bits.json --out ./models`,
    )
    .action((checkpoint: string, flags: MixFlags) => run(checkpoint, flags, session));
}

/** The value of --budget. */
export const share = number(0.01, 1);

/** The value of --bits: widths, separated by commas. */
export function widths(text: string): readonly CodeBits[] {
  const list = [...new Set(text.split(',').map(Number))];
  const known = list.flatMap((bits) => ALL_WIDTHS.find((width) => width === bits) ?? []);
  if (known.length === list.length && list.length > 1) return known;
  throw new InvalidArgumentError(`Expected two or more of ${ALL_WIDTHS.join(', ')}, separated by commas.`);
}

const ALL_WIDTHS: readonly CodeBits[] = [4, 5, 6, 8];

async function run(path: string, flags: MixFlags, { output, signal }: Session): Promise<void> {
  const { recipe, out, cache, guidance, steps, seed, threads } = flags;
  const budget = flags.budget ?? recipe.mixed?.budget;
  if (budget === undefined) {
    throw new EdgeDitError('invalid-argument', `recipe ${recipe.name} has no budget; give one with --budget.`);
  }
  await prepareFolder('--out', out);
  const checkpoint = await openCheckpoint(path);
  const bars = new QuantizingBars(output);
  try {
    const calibration = await recipeCalibration(
      {
        checkpoint,
        recipe,
        guidance,
        cache,
        signal,
        calibration: flags.calibration === undefined ? undefined : await readCalibration(flags.calibration),
        onCalibrate: bars.onCalibrate,
      },
      canonicalCheckpoint(checkpoint).architecture,
    );
    const map = await searchBits({
      checkpoint,
      recipe,
      calibration,
      budget,
      bits: flags.bits ?? recipe.mixed?.bits,
      sample: { ...(await conditionsOf(flags, checkpoint)), steps, guidance, seed },
      decoupled: !flags.oneMetric,
      cache,
      threads,
      signal,
      onLesson: bars.onLesson,
      onMeasure: bars.onMeasure,
    });
    bars.stop();
    await writeUserFile('--out', out, serializeBitMap(map));
    output.result({
      json: { out, ...map },
      text: [
        `Wrote ${out}: ${plural(Object.keys(map.layers).length, 'layer')} of ${recipe.name}`,
        ...describeBitMap(map),
        `Next: edge-dit quantize ${path} --recipe ${recipe.name} --bit-map ${out} --out ...`,
      ],
      brief: [out],
    });
  } finally {
    bars.stop();
    await checkpoint.close();
  }
}

async function conditionsOf(flags: MixFlags, checkpoint: Checkpoint) {
  const { prompts, classes, count } = flags;
  // The search takes the calibration's where nobody names others.
  if (prompts === undefined && classes === undefined) return { count };
  return { conditions: await readConditions(flags, checkpoint), count };
}

/** The widths, and what is known of them. */
export function describeBitMap({
  layers,
  search,
}: {
  readonly layers: Readonly<Record<string, number>>;
  readonly search?: BitSearchRecord;
}): string[] {
  return [...table(bitTable(layers)), ...(search ? describeSearch(search) : [])];
}

function describeSearch({ bytes, floatBytes16, budget, candidates, roles, estimated }: BitSearchRecord): string[] {
  const percent = (of: number) => `${(100 * of).toPrecision(3)}%`;
  return [
    `  bytes    ${longBytes(bytes)}, ${(bytes / floatBytes16).toFixed(4)} of float16's; the budget is ${budget}`,
    ...roles.map(({ role, metric, layers, bytes: own }) => {
      return `  ${role}: ${plural(layers, 'layer')}, ${longBytes(own)}, judged by the ${metric}`;
    }),
    `  error    of ${candidates[0]} bits everywhere, ${percent(estimated.picture)} in pictures and ${percent(estimated.text)} in what the text does`,
  ];
}
