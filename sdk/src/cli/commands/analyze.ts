/** `edge-dit analyze`: a checkpoint's folder in, a report on where the error of its quantization comes from out. */
import type { Command } from 'commander';
import { analyze } from '../../analyze/analyze.ts';
import { analysisHtml } from '../../analyze/report/analysis-html.ts';
import { readCalibration } from '../../calibrate/calibration-file.ts';
import { openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { recipeByName } from '../../recipes/index.ts';
import type { Recipe } from '../../recipes/recipe.ts';
import { usualThreads } from '../../threads/node-threads.ts';
import { cacheFolder } from '../cache-folder.ts';
import { prepareFolder, writeUserFile } from '../files.ts';
import { integer, lookup, number } from '../option-values.ts';
import type { Progress } from '../output.ts';
import { plural } from '../quantities.ts';
import type { Session } from '../session.ts';
import { type ConditionFlags, readConditions, withConditions } from './calibrate.ts';

interface AnalyzeFlags extends ConditionFlags {
  readonly out: string;
  readonly figures?: string;
  readonly calibration?: string;
  readonly recipe: readonly Recipe[];
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  readonly cache: string;
  readonly threads: number;
}

/** Few tell enough, and each takes seconds. */
const CONDITIONS = 3;
const UNITS = { calibrating: 'steps', searching: 'measurements', sampling: 'steps', measuring: 'layers' } as const;

export function addAnalyze(program: Command, session: Session): Command {
  const recipe = lookup(recipeByName);
  const command = program
    .command('analyze')
    .summary('show where the error of quantization comes from')
    .description(
      'Measures on a few conditions how what layers read varies, what each layer loses at 8, 6 and 4 bits, plain, balanced and rotated, and what whole recipes lose in each step and block. Writes one HTML page.',
    )
    .argument('<checkpoint>', "the pipeline's folder")
    .requiredOption('--out <file>', 'the HTML file to write')
    .option('--figures <file>', 'the same figures as JSON, too')
    .option('--calibration <file>', 'of "edge-dit calibrate" (default: one on the same few conditions)')
    .option(
      '--recipe <name>',
      'whose network to run beside the float one; may be repeated',
      (name, all: Recipe[]) => [...all, recipe(name)],
      [] as Recipe[],
    )
    .option('--cache <folder>', 'where measurements are kept, for recipes that search widths', cacheFolder());
  return withConditions(command, CONDITIONS)
    .option('--steps <n>', 'steps of the sampler', integer(1, 1000), 10)
    .option('--guidance <scale>', 'as requests will have it; 1 for none', number(0, 100), 3)
    .option('--seed <n>', 'of the noise, and of the choice of tokens', integer(0, 2 ** 31), 0)
    .option('--threads <n>', 'threads; the figures do not depend on them', integer(1, 16), usualThreads())
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit analyze examples/emoji/model --recipe w8a8 --recipe w4a8 --out analysis.html`,
    )
    .action((checkpoint: string, flags: AnalyzeFlags) => run(checkpoint, flags, session));
}

async function run(path: string, flags: AnalyzeFlags, { output, signal }: Session): Promise<void> {
  const { out, figures, recipe: recipes, cache, steps, guidance, seed, threads } = flags;
  for (const [option, file] of [
    ['--out', out],
    ['--figures', figures],
  ] as const) {
    if (file !== undefined) await prepareFolder(option, file);
  }
  const checkpoint = await openCheckpoint(path);
  let bar: Progress | undefined;
  try {
    const calibration = flags.calibration === undefined ? undefined : await readCalibration(flags.calibration);
    const conditions = await readConditions(flags, checkpoint);
    let shown: string | undefined;
    const analysis = await analyze({
      checkpoint,
      conditions,
      steps,
      guidance,
      seed,
      calibration,
      recipes,
      cache,
      threads,
      signal,
      onProgress: (part, done, total) => {
        if (part !== shown) {
          bar?.stop();
          bar = output.progress(part, total, UNITS[part], done - 1);
          shown = part;
        }
        bar?.update(done);
      },
    });
    bar?.stop();
    await writeUserFile('--out', out, new TextEncoder().encode(analysisHtml(analysis)));
    const json = `${JSON.stringify(analysis, null, 1)}\n`;
    if (figures !== undefined) await writeUserFile('--figures', figures, new TextEncoder().encode(json));
    output.result({
      json: analysis,
      text: [
        `Wrote ${out}: ${plural(analysis.layers.length, 'layer')} on ${plural(conditions.length, 'condition')} of ${plural(steps, 'step')}`,
        ...analysis.recipes.map(({ recipe, steps: errors }) => {
          return `  ${recipe.padEnd(12)} relative error of a step ${Math.min(...errors).toPrecision(2)} to ${Math.max(...errors).toPrecision(2)}`;
        }),
      ],
      brief: [out],
    });
  } finally {
    bar?.stop();
    await checkpoint.close();
  }
}
