/** `edge-dit quantize`: a checkpoint's folder in, a published model out. */

import { basename, dirname, resolve } from 'node:path';
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { MODEL_NAME } from '@edge-dit/runtime/format/keys';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { type Command, Option } from 'commander';
import { readCalibration } from '../../calibrate/calibration-file.ts';
import { parseConditions } from '../../calibrate/default-conditions.ts';
import { type Checkpoint, openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { describeModel } from '../../describe-model.ts';
import { type BitSearchRecord, parseBitMap } from '../../mixed-precision/bit-map.ts';
import { referenceOf } from '../../model-reference.ts';
import { quantize } from '../../quantize/quantize.ts';
import { recipeByName } from '../../recipes/index.ts';
import { calibrationNeeds, type Recipe } from '../../recipes/recipe.ts';
import { openWritableStore } from '../../stores.ts';
import { cacheFolder } from '../cache-folder.ts';
import { readUserFile } from '../files.ts';
import { integer, lookup, number } from '../option-values.ts';
import { signatureLine } from '../publishing.ts';
import { longBytes, plural } from '../quantities.ts';
import { QuantizingBars } from '../quantizing-bars.ts';
import type { Session } from '../session.ts';
import { addSigningOptions, type SigningFlags, signingOf } from '../trust-options.ts';
import { describeBitMap, share, widths } from './mix.ts';

interface QuantizeFlags extends SigningFlags {
  readonly recipe: Recipe;
  readonly out: { readonly place: string; readonly store: ReturnType<typeof openWritableStore> };
  readonly name?: string;
  readonly steps: number;
  readonly guidance: number;
  readonly calibration?: string;
  readonly prompts?: string;
  readonly budget?: number;
  readonly bits?: readonly CodeBits[];
  readonly bitMap?: string;
  readonly cache: string;
  readonly license?: string;
  readonly attribution?: string;
}

export function addQuantize(program: Command, session: Session): Command {
  const command = program
    .command('quantize')
    .summary('quantize a checkpoint and publish it to a store')
    .description(
      'Quantizes a checkpoint in diffusers layout (or facebookresearch/DiT names), packs it and publishes it.',
    )
    .argument('<checkpoint>', 'folder of a pipeline or of a transformer with a scheduler config')
    .requiredOption('--recipe <name>', 'how to quantize: w8a8, w4a8 (see "edge-dit list")', lookup(recipeByName))
    .requiredOption(
      '--out <store>',
      'folder or s3://bucket/prefix',
      lookup((place) => ({ place, store: openWritableStore(place) })),
    )
    .option('--name <model>', 'name of the model (default: of the folder and the recipe)')
    .option('--steps <n>', 'steps of a request that does not say', integer(1, 1000), 20)
    .option('--guidance <scale>', 'guidance of a request that does not say', number(0, 100), 3)
    .option('--calibration <file>', 'of "edge-dit calibrate" (default: one is made, and kept in the cache)')
    .addOption(
      new Option(
        '--prompts <file>',
        'prompts (or classes) to calibrate on, one a line (default: calibration_prompts.txt of the checkpoint)',
      ).conflicts('calibration'),
    )
    .option(
      '--budget <share>',
      "search the widths of layers: all bytes, in shares of float16's, for instance 0.42",
      share,
    )
    .option('--bits <list>', 'with --budget: widths to choose from', widths)
    .addOption(new Option('--bit-map <file>', 'widths that "edge-dit mix" found').conflicts(['budget', 'bits']))
    .option('--cache <folder>', 'where calibrations and measurements are kept', cacheFolder())
    .option('--license <text>', "licence of the weights (default: of the checkpoint's model_card.json)")
    .option('--attribution <text>', "whom to name (default: of the checkpoint's model_card.json)");
  return addSigningOptions(command)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit quantize examples/emoji/model --recipe w4a8 --out ./models`,
    )
    .action((checkpoint: string, flags: QuantizeFlags) => run(checkpoint, flags, session));
}

async function run(path: string, flags: QuantizeFlags, { output, signal }: Session): Promise<void> {
  const { out, steps, guidance, cache, license, attribution } = flags;
  const recipe = mixedRecipe(flags);
  const model = flags.name ?? defaultName(path, recipe.name);
  if (!MODEL_NAME.test(model)) {
    throw new EdgeDitError(
      'invalid-argument',
      `"${model}" is not a model name (a-z, 0-9, ".", "_", "-", 100 characters at most); give one with --name.`,
    );
  }
  const sign = await signingOf(flags);
  const checkpoint = await openCheckpoint(path);
  const bars = new QuantizingBars(output);
  try {
    const published = await quantize({
      checkpoint,
      recipe,
      model,
      store: out.store,
      sign,
      defaults: { steps, guidance },
      license,
      attribution,
      calibration: await calibrationOf(flags, checkpoint),
      cache,
      bitMap:
        flags.bitMap === undefined
          ? undefined
          : parseBitMap(await readUserFile('--bit-map', flags.bitMap), `--bit-map: ${flags.bitMap}`),
      search: { onLesson: bars.onLesson, onMeasure: bars.onMeasure },
      signal,
      onCalibrate: bars.onCalibrate,
      onLayer: bars.onLayer,
    });
    bars.stop();
    const { manifest, digest, pointer, sentObjects, sentBytes, skippedObjects, skippedBytes } = published;
    const { shards, floatBytes16, ratio } = describeModel(manifest, digest);
    const reference = referenceOf(out.place, model);
    const { linears } = architectureByName(checkpoint.architecture).configure(checkpoint.config);
    const calibrated = calibrationNeeds(recipe, linears).any;
    output.result({
      json: {
        model,
        reference,
        recipe: recipe.name,
        digest,
        pointer,
        sent: { objects: sentObjects, bytes: sentBytes },
        skipped: { objects: skippedObjects, bytes: skippedBytes },
        shards: { count: shards.count, bytes: shards.bytes },
        floatBytes16,
        ratio,
        calibration: manifest.quantization?.calibration ?? null,
        mixedPrecision: manifest.quantization?.mixedPrecision ?? null,
      },
      text: [
        `${pointer === 'unchanged' ? 'Already published' : 'Published'} ${model} (${recipe.name}) to ${out.store.name}`,
        `  sent     ${plural(sentObjects, 'object')}, ${longBytes(sentBytes)}`,
        `  skipped  ${plural(skippedObjects, 'object')}, ${longBytes(skippedBytes)}: there already`,
        `  shards   ${longBytes(shards.bytes)}, ${ratio.toFixed(3)} of the float16 transformer's ${longBytes(floatBytes16)}`,
        ...(sign === undefined ? [] : [`  signed   ${signatureLine(manifest)}`]),
        ...(calibrated ? [`  calibration ${calibrationLine(manifest)}`] : []),
        ...(recipe.mixed || flags.bitMap !== undefined ? widthLines(manifest, linears) : []),
        `  digest   ${digest}`,
        `Next: edge-dit generate --model ${reference} ...`,
      ],
      brief: [reference],
    });
  } finally {
    bars.stop();
    await checkpoint.close();
  }
}

/** With the budget and the widths of the command line, where they are given. */
function mixedRecipe({ recipe, budget = recipe.mixed?.budget, bits = recipe.mixed?.bits }: QuantizeFlags): Recipe {
  if (budget !== undefined) return { ...recipe, mixed: { budget, bits } };
  if (bits === undefined) return recipe;
  throw new EdgeDitError(
    'invalid-argument',
    '--bits: there is no budget to choose widths for; give one with --budget.',
  );
}

/** Of the layers of blocks. */
function widthLines({ quantization }: Manifest, linears: readonly LinearSpec[]): string[] {
  const body = new Set(linears.filter(({ role }) => role === 'body').map(({ name }) => name));
  const layers = quantization!.layers.filter(({ name }) => body.has(name));
  return describeBitMap({
    layers: Object.fromEntries(layers.map(({ name, weightBits }) => [name, weightBits])),
    search: quantization!.mixedPrecision as BitSearchRecord | undefined,
  });
}

function calibrationLine({ quantization }: Manifest): string {
  const calibration = quantization?.calibration as { conditions?: unknown[]; steps?: number } | undefined;
  if (!calibration) return 'none: no prompts to calibrate on; give some with --prompts for better pictures';
  return `${plural(calibration.conditions?.length ?? 0, 'condition')} of ${calibration.steps} steps`;
}

async function calibrationOf({ calibration, prompts }: QuantizeFlags, { architecture, config }: Checkpoint) {
  if (calibration !== undefined) return readCalibration(calibration);
  if (prompts === undefined) return undefined;
  const text = new TextDecoder().decode(await readUserFile('--prompts', prompts));
  const { geometry } = architectureByName(architecture).configure(config);
  return { conditions: parseConditions(text, geometry, `--prompts: ${prompts}`) };
}

/** Folders that say nothing of what is in them. */
const PLAIN_NAMES = ['model', 'transformer', 'checkpoint'];

/** `examples/emoji/model` and w4a8: emoji-w4a8. */
function defaultName(path: string, recipe: string): string {
  const full = resolve(path);
  const folder = PLAIN_NAMES.includes(basename(full)) ? basename(dirname(full)) : basename(full);
  const plain = folder
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '');
  return `${plain}-${recipe}`;
}
