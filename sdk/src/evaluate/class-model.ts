/**
 * How good the pictures of a class-conditional model are, by a classifier of real ones: pictures of seeds 0.. with the
 * classes in turn go through the model and the classifier, one record each into a file of the folder; figures are of the
 * records. Broken off and started again, it loses the pictures that were being made.
 *
 * Frechet distances are of the features that the classifier's head reads, over pictures as bytes, as a client gets them.
 * With a few thousand pictures they have a bias that falls with their number: compare those of one number only.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { pictureOf } from '@edge-dit/runtime/picture';
import { parseSafetensors, toInt32 } from '@edge-dit/runtime/safetensors';
import { openStore } from '../stores.ts';
import { type OpenedClassifier, openClassifier } from './classifier.ts';
import { computingCodeDigest } from './computing-code.ts';
import type { ModelPlace } from './evaluate.ts';
import { FeatureFile, type FeatureRecord } from './feature-file.ts';
import { frechetDistance, type Moments, momentsOf } from './frechet.ts';
import { generatePictures } from './generate-pictures.ts';

export interface ClassEvaluationOptions {
  readonly models: readonly ModelPlace[];
  /** The model whose pictures from the same noise the others' are compared with; evaluated first. None: no such figures. */
  readonly reference?: ModelPlace;
  /** Folder of the classifier's checkpoint. */
  readonly classifier: string;
  /** Real pictures: safetensors with `images` uint8 [count, size, size, 3] and `labels`. */
  readonly tests: string;
  /** Where records are kept. */
  readonly folder: string;
  /** Default 2000. */
  readonly pictures?: number;
  /** Default 20. */
  readonly steps?: number;
  /** Default 1.5: both halves of a guided request run, and pictures stay as varied as real ones. */
  readonly guidance?: number;
  /** Pictures at once. Default: one for each core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** After each picture, and once before the first; `done` counts those of earlier runs. */
  readonly onPicture?: (model: string, done: number, total: number) => void;
}

export interface ClassFigures {
  readonly model: string;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly recipe: string | undefined;
  /** Of the shards. */
  readonly bytes: number;
  readonly bytesOfFp16: number | undefined;
  readonly pictures: number;
  /** To the real pictures. */
  readonly frechetToTests: number;
  /** To the reference's pictures of the same noise. */
  readonly frechetToReference?: number;
  /** Share of pictures which the classifier takes for the class that was asked for. */
  readonly agreesWithClass: number;
  /** Share of pictures which it takes for what it takes the reference's for. */
  readonly agreesWithReference?: number;
  /** Median; of a thread among others. */
  readonly msPerStep: number;
}

export interface ClassEvaluation {
  readonly pictures: number;
  readonly steps: number;
  readonly guidance: number;
  /** Of the real pictures: how far the classifier is to be trusted. */
  readonly tests: { readonly pictures: number; readonly accuracy: number };
  /** The reference first, where there is one. */
  readonly models: readonly ClassFigures[];
}

/** Real pictures classified at once. */
const TEST_BATCH = 20;

/**
 * @throws `invalid-argument` for a model without classes, or with others than the classifier's; what its parts raise
 */
export async function evaluateClassModels(options: ClassEvaluationOptions): Promise<ClassEvaluation> {
  const { models, reference, pictures = 2000, steps = 20, guidance = 1.5 } = options;
  const classifier = await openClassifier(options.classifier);
  const { records: real, accuracy } = await testRecords(options, classifier);
  const moments = momentsOf(real.map(({ features }) => features));
  const setting = { ...options, pictures, steps, guidance };
  const first = reference && (await modelRecords(reference, setting, classifier));
  const figures = first ? [figuresOf(first, first, moments)] : [];
  const isReference = ({ place, model }: ModelPlace) => place === reference?.place && model === reference.model;
  for (const model of models.filter((one) => !isReference(one))) {
    figures.push(figuresOf(await modelRecords(model, setting, classifier), first, moments));
  }
  return { pictures, steps, guidance, tests: { pictures: real.length, accuracy }, models: figures };
}

interface ModelRecords extends Pick<ClassFigures, 'model' | 'digest' | 'recipe' | 'bytes' | 'bytesOfFp16'> {
  readonly classes: number;
  readonly records: readonly FeatureRecord[];
}

type Setting = ClassEvaluationOptions & Required<Pick<ClassEvaluationOptions, 'pictures' | 'steps' | 'guidance'>>;

async function modelRecords(
  { place, model }: ModelPlace,
  setting: Setting,
  classifier: OpenedClassifier,
): Promise<ModelRecords> {
  const { pictures, steps, guidance, threads, signal, onPicture } = setting;
  const { manifest, digest } = await loadManifest(openStore(place), model, { signal });
  const { conditioning } = manifest.pipeline;
  const { classes } = classifier.configured;
  if (conditioning.type !== 'class' || conditioning.count !== classes) {
    const has = conditioning.type === 'class' ? `${conditioning.count} classes` : 'texts';
    throw new EdgeDitError('invalid-argument', `${model} is a model of ${has}, the classifier of ${classes} classes.`);
  }
  const code = await computingCodeDigest();
  const file = featureFile(setting.folder, classifier, { manifest: digest, steps, guidance, code });
  const missing = Array.from({ length: pictures }, (_, i) => i).filter((i) => !file.has(i));
  let done = pictures - missing.length;
  onPicture?.(model, done, pictures);
  await generatePictures({
    jobs: missing.map((seed) => {
      return { place, model, digest, request: { class: seed % classes, seed, steps, guidance } };
    }),
    threads,
    signal,
    async onPicture({ values, width, height, timings }, index) {
      const { rgb } = pictureOf(values, 3, height, width);
      const { features, logits } = await classifier.classify(valuesOf(rgb, width * height));
      // The caller of a run that was stopped may have opened the file again.
      if (signal?.aborted) return;
      file.add(missing[index], { features, logits, msPerStep: timings.sample / steps });
      onPicture?.(model, ++done, pictures);
    },
  });
  const bytes = manifest.shards.reduce((sum, { length }) => sum + length, 0);
  const floatBytes = manifest.quantization?.floatBytes16;
  return {
    model,
    digest,
    recipe: manifest.quantization?.recipe,
    bytes,
    bytesOfFp16: floatBytes && bytes / floatBytes,
    classes,
    records: Array.from({ length: pictures }, (_, i) => file.get(i)),
  };
}

function figuresOf(
  { classes, records, ...model }: ModelRecords,
  reference: ModelRecords | undefined,
  tests: Moments,
): ClassFigures {
  const moments = momentsOf(records.map(({ features }) => features));
  const seen = records.map(({ logits }) => largest(logits));
  const share = (expected: (i: number) => number) => seen.filter((top, i) => top === expected(i)).length / seen.length;
  return {
    ...model,
    pictures: records.length,
    frechetToTests: frechetDistance(moments, tests),
    ...(reference && {
      frechetToReference: frechetDistance(moments, momentsOf(reference.records.map(({ features }) => features))),
      agreesWithReference: share((i) => largest(reference.records[i].logits)),
    }),
    agreesWithClass: share((i) => i % classes),
    msPerStep: records.map(({ msPerStep }) => msPerStep).sort((a, b) => a - b)[records.length >> 1],
  };
}

/** What the classifier says of real pictures, and how often it is right. */
async function testRecords({ tests: path, folder, signal }: ClassEvaluationOptions, classifier: OpenedClassifier) {
  const bytes = new Uint8Array(await readFile(path));
  const { tensors } = parseSafetensors(bytes, path);
  const { size } = classifier.configured;
  const [images, stored] = [tensors.get('images'), tensors.get('labels')];
  const [count, ...shape] = images?.shape ?? [];
  if (!images || !stored || images.dtype !== 'U8' || shape.join() !== [size, size, 3].join()) {
    const message = `${path} must have uint8 images [count, ${size}, ${size}, 3] and labels; it has ${[...tensors.keys()].join(', ')}.`;
    throw new EdgeDitError('checkpoint-malformed', message);
  }
  const file = featureFile(folder, classifier, { tests: sha256(bytes) });
  const pixels = size * size;
  const { features: width, classes } = classifier.configured;
  for (let at = 0; at < count; at += TEST_BATCH) {
    if (signal?.aborted) throw new EdgeDitError('aborted', 'the evaluation was cancelled.', { cause: signal.reason });
    const indices = Array.from({ length: Math.min(TEST_BATCH, count - at) }, (_, i) => at + i);
    if (indices.every((index) => file.has(index))) continue;
    const values = new Float32Array(indices.length * 3 * pixels);
    for (const [i, index] of indices.entries()) {
      const rgb = images.bytes.subarray(3 * pixels * index, 3 * pixels * (index + 1));
      values.set(valuesOf(rgb, pixels), 3 * pixels * i);
    }
    const { features, logits } = await classifier.classify(values);
    for (const [i, index] of indices.entries()) {
      const part = (all: Float32Array, length: number) => all.subarray(i * length, (i + 1) * length);
      file.add(index, { features: part(features, width), logits: part(logits, classes), msPerStep: 0 });
    }
  }
  const labels = toInt32(stored);
  const records = Array.from({ length: count }, (_, i) => file.get(i));
  const right = records.filter(({ logits }, i) => largest(logits) === labels[i]).length;
  return { records, accuracy: right / count };
}

function featureFile(folder: string, { configured, sha256: digest }: OpenedClassifier, of: FileContent): FeatureFile {
  const setting = { features: configured.features, classes: configured.classes, of: { ...of, classifier: digest } };
  return new FeatureFile(join(folder, `${sha256(canonicalJson(setting)).slice(0, 32)}.features`), setting);
}

type FileContent = Readonly<Record<string, string | number>>;

/** Bytes of pixels, 3 each, to values [3, pixels] in -1..1. */
function valuesOf(rgb: Uint8Array, pixels: number): Float32Array {
  return Float32Array.from(
    { length: 3 * pixels },
    (_, i) => rgb[3 * (i % pixels) + Math.floor(i / pixels)] / 127.5 - 1,
  );
}

const largest = (values: Float32Array) => values.indexOf(values.reduce((a, b) => Math.max(a, b)));
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
