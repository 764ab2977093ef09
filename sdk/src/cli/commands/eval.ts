/** `edge-dit eval`: how far the pictures of quantized models are from those of the float network, and what they cost. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { listModels, loadManifest } from '@edge-dit/runtime/load-manifest';
import { architectureByName } from '@edge-dit/runtime/models/index';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { type Command, Option } from 'commander';
import { parseConditions } from '../../calibrate/default-conditions.ts';
import { type Checkpoint, openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { evaluate, type ModelPlace } from '../../evaluate/evaluate.ts';
import { evaluationRequests } from '../../evaluate/evaluation-requests.ts';
import { FLOAT_REFERENCE, publishFloatReference } from '../../evaluate/float-reference.ts';
import { judgeClasses } from '../../evaluate/judge-classes.ts';
import { judgeTexts } from '../../evaluate/judge-texts.ts';
import { reportTables } from '../../evaluate/report-markdown.ts';
import { saveEvaluation } from '../../evaluate/save-evaluation.ts';
import { resolveModel } from '../../model-reference.ts';
import { openStore, openWritableStore } from '../../stores.ts';
import { prepareFolder, readUserFile } from '../files.ts';
import { integer, number } from '../option-values.ts';
import type { Output, Progress } from '../output.ts';
import { plural } from '../quantities.ts';
import type { Session } from '../session.ts';

interface EvalFlags {
  readonly store?: string;
  readonly checkpoint?: string;
  readonly float?: string;
  readonly prompts?: string;
  readonly classes?: string;
  readonly count?: number;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  readonly threads: number;
  readonly sheet: number;
  readonly textAgreement?: true;
  readonly classifier?: string;
  readonly tests?: string;
  readonly classPictures: number;
  readonly out: string;
}

export function addEval(program: Command, session: Session): Command {
  return program
    .command('eval')
    .summary("compare models' pictures with the float network's")
    .description(
      'Makes the same pictures with the float32 network of a checkpoint and with quantized models of it: PSNR, SSIM, a perceptual distance, bytes, time and memory, as a table and a page of pictures. What is finished is kept in the folder: a further run goes on where the last one was, and evaluates a further model without the others.',
    )
    .argument('[models...]', '<store>/<name> or <store>#<name>; with --store, names (default: all of the store)')
    .option('--store <store>', 'the store of models that are given as names')
    .addOption(new Option('--checkpoint <folder>', 'the checkpoint that the models were made of').conflicts('float'))
    .option('--float <model>', 'compare with this published model instead, for example of the recipe f16')
    .addOption(
      new Option('--prompts <file>', 'prompts, one a line; best none that a model was calibrated on').conflicts(
        'classes',
      ),
    )
    .option('--classes <list>', 'classes by name or number, separated by commas (default: all)')
    .option('--count <n>', 'pictures; prompts come again with further seeds (default: one each)', integer(1, 100_000))
    .option('--steps <n>', 'steps of the sampler', integer(1, 1000), 20)
    .option('--guidance <scale>', 'scale of the guidance; 1 is none', number(0, 100), 3)
    .option(
      '--seed <n>',
      'seed of the first picture; the next have those that follow',
      integer(0, Number.MAX_SAFE_INTEGER),
      1,
    )
    .option('--text-agreement', 'also ask the float network whether the pictures show their prompts')
    .option('--classifier <folder>', 'also judge class models by this classifier: Frechet distances, class agreement')
    .option('--tests <file>', 'real pictures for --classifier: safetensors with images and labels')
    .option('--class-pictures <n>', 'pictures of each model that the classifier sees', integer(2, 1_000_000), 2000)
    .option('--threads <n>', 'pictures computed at once', integer(1, 256), availableParallelism())
    .option('--sheet <n>', 'pictures of each model that the page shows', integer(1, 1000), 32)
    .requiredOption('--out <folder>', 'where the report and the pictures go')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit eval --store ./models --checkpoint examples/emoji/model \\
      --prompts examples/emoji/evaluation_prompts.txt --out ./evaluation
  $ edge-dit eval ./models/cifar-w8a8 --checkpoint ./cifar10-dit --guidance 1.5 --count 100 --out ./evaluation`,
    )
    .action((models: string[], flags: EvalFlags) => run(models, flags, session));
}

async function run(names: readonly string[], flags: EvalFlags, { output, signal }: Session): Promise<void> {
  checkFlags(flags);
  const { threads, out } = flags;
  const models = await placesOf(names, flags.store, signal);
  await prepareFolder('--out', join(out, 'report.json'));
  const bars = new Bars(output);
  const checkpoint = flags.checkpoint === undefined ? undefined : await openCheckpoint(flags.checkpoint);
  try {
    const reference = await openReference(flags, checkpoint, output, signal);
    const { manifest } = await loadManifest(openStore(reference.place), reference.model, { signal });
    const requests = evaluationRequests({ ...flags, conditions: await conditionsOf(flags, manifest) });
    const folder = join(out, 'pictures');
    const onPicture = bars.of('evaluating');
    let evaluation = await evaluate({ reference, models, requests, folder, threads, signal, onPicture });
    const { computed, kept } = evaluation;
    output.note(`${plural(computed, 'picture')} computed, ${kept} kept from before`);
    if (flags.textAgreement && checkpoint) {
      evaluation = await judgeTexts({ evaluation, checkpoint, threads, signal, onPicture: bars.of('judging') });
    }
    const { classifier, tests, classPictures: pictures } = flags;
    if (classifier !== undefined && tests !== undefined) {
      const kept = { classifier, tests, pictures, folder: join(out, 'features') };
      const onPicture = (model: string, done: number, total: number) => bars.of(model)(done, total);
      evaluation = await judgeClasses({ evaluation, reference, models, ...kept, threads, signal, onPicture });
    }
    const files = await saveEvaluation(evaluation, out, flags.sheet);
    const { report } = evaluation;
    output.result({
      json: { report, computed, kept, files },
      text: [...reportTables(report), '', ...files],
      brief: [files[0]],
    });
  } finally {
    bars.stop();
    await checkpoint?.close();
  }
}

/** One bar after another, by title. */
class Bars {
  readonly #output: Output;
  #bar: Progress | undefined;
  #title: string | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  of(title: string): (done: number, total: number) => void {
    return (done, total) => {
      if (total === 0) return;
      if (this.#title !== title) {
        this.stop();
        this.#bar = this.#output.progress(title, total, 'pictures', done);
        this.#title = title;
      }
      this.#bar?.update(done);
    };
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

const refuse = (message: string) => new EdgeDitError('invalid-argument', message);

/** What needs no model to be refused. */
function checkFlags({ checkpoint, float, textAgreement, classifier, tests }: EvalFlags): void {
  if (checkpoint === undefined && float === undefined) {
    throw refuse('eval needs --checkpoint <folder> or --float <model>.');
  }
  if (textAgreement && checkpoint === undefined) {
    throw refuse('--text-agreement needs --checkpoint: its text encoder and float network judge.');
  }
  if ((classifier === undefined) !== (tests === undefined)) {
    throw refuse('--classifier and --tests go together: a classifier, and real pictures of the same classes.');
  }
}

/** With a store, names of its models, all of them without names; references otherwise. */
async function placesOf(
  names: readonly string[],
  place: string | undefined,
  signal: AbortSignal,
): Promise<ModelPlace[]> {
  if (place === undefined) {
    if (names.length === 0) throw refuse('eval needs models: <store>/<name> for each, or --store.');
    return Promise.all(names.map((name) => resolveModel(name, { signal })));
  }
  if (names.length > 0) return names.map((model) => ({ place, model }));
  const found: ModelPlace[] = [];
  const store = openStore(place);
  if (!('list' in store)) throw refuse(`--store: ${place} cannot list what it has; name the models.`);
  for await (const model of listModels(store as WritableStore)) found.push({ place, model });
  if (found.length === 0) throw refuse(`--store: ${place} holds no models.`);
  return found;
}

/** The float network of the checkpoint, published beside the pictures so that workers can load it; or a published model. */
async function openReference(
  { float, out }: EvalFlags,
  checkpoint: Checkpoint | undefined,
  output: Output,
  signal: AbortSignal,
): Promise<ModelPlace> {
  if (float !== undefined) return resolveModel(float, { signal });
  if (checkpoint === undefined) throw new EdgeDitError('internal', 'eval has neither a checkpoint nor a float model.');
  output.note('preparing the float32 network');
  const place = join(out, 'float');
  await publishFloatReference(checkpoint, openWritableStore(place), signal);
  return { place, model: FLOAT_REFERENCE };
}

async function conditionsOf({ prompts, classes }: EvalFlags, manifest: Manifest): Promise<(string | number)[]> {
  const { geometry } = architectureByName(manifest.architecture).configure(manifest.config);
  const { conditioning } = manifest.pipeline;
  if (prompts !== undefined) {
    const text = new TextDecoder().decode(await readUserFile('--prompts', prompts));
    return parseConditions(text, geometry, `--prompts: ${prompts}`);
  }
  if (conditioning.type !== 'class') throw refuse('eval needs --prompts <file> for a model of texts.');
  if (classes === undefined) return Array.from({ length: conditioning.count }, (_, i) => i);
  return classes.split(',').map((text) => {
    const name = text.trim();
    const found = conditioning.names?.indexOf(name) ?? -1;
    const index = found >= 0 ? found : /^\d+$/.test(name) ? Number(name) : Number.NaN;
    if (index < conditioning.count) return index;
    throw refuse(
      `--classes: "${name}" is not a class of this model; expected a name of its or 0 to ${conditioning.count - 1}.`,
    );
  });
}
