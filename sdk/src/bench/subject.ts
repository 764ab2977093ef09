/**
 * The model that is measured. From a checkpoint: published in each recipe, and as ONNX files for onnxruntime. From a
 * published model: that alone, because what was quantized cannot be turned back.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchFile } from '@edge-dit/runtime/fetch-model';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import type { Store } from '@edge-dit/runtime/stores/store';
import { loadTokenizer } from '@edge-dit/runtime/text/tokenizer';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { exportOnnx } from '../export-onnx/export-onnx.ts';
import { linearForms } from '../export-onnx/linear-forms.ts';
import { quantize } from '../quantize/quantize.ts';
import { recipeByName } from '../recipes/index.ts';

export interface Subject {
  readonly name: string;
  readonly store: Store;
  /** The first is the one of which pictures are made. */
  readonly models: readonly { readonly name: string; readonly model: string; readonly tolerance: number }[];
  readonly manifest: Manifest;
  /** What makes the ONNX files. */
  readonly onnx: readonly {
    readonly name: string;
    readonly tolerance: number;
    make(): Promise<Uint8Array<ArrayBuffer>>;
  }[];
  /** Of a text. */
  readonly tokens: number;
  close(): Promise<void>;
}

/** Largest relative error of one step's output against float32, for a model that is not broken. */
const TOLERANCES: Readonly<Record<string, number>> = {
  fp32: 0,
  f16: 5e-3,
  w8a8: 0.1,
  w4a8: 0.5,
  'int8-dynamic': 0.5,
  int4: 0.5,
};
const RECIPES = ['w4a8', 'w8a8', 'f16'];
/** PixArt-alpha's, where a model has no tokenizer. */
const USUAL_TOKENS = 120;
/** Speed does not depend on it. */
const CALIBRATION = { steps: 1 };

/** @param forms only these recipes and ONNX forms */
export async function subjectFromCheckpoint(path: string, forms?: readonly string[]): Promise<Subject> {
  const wanted = (name: string) => forms === undefined || forms.includes(name);
  const checkpoint = await openCheckpoint(path);
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-bench-store-'));
  const close = async () => {
    await checkpoint.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const store = new FsStore(folder);
    const models: Subject['models'][number][] = [];
    let first: Manifest | undefined;
    for (const name of RECIPES.filter(wanted)) {
      const recipe = recipeByName(name);
      const { manifest } = await quantize({ checkpoint, recipe, model: name, store, calibration: CALIBRATION });
      first ??= manifest;
      models.push({ name, model: name, tolerance: TOLERANCES[name] });
    }
    const tokens = await tokensOf(store, first!);
    const onnx = linearForms
      .filter(({ name }) => wanted(name))
      .map((form) => ({
        name: form.name,
        tolerance: TOLERANCES[form.name],
        make: async () => (await exportOnnx({ checkpoint, form, shape: tokens > 0 ? { tokens } : {} })).bytes,
      }));
    return { name: path, store, models, manifest: first!, onnx, tokens, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export async function subjectFromModel(name: string, store: Store, model: string): Promise<Subject> {
  const { manifest } = await loadManifest(store, model);
  const models = [{ name: model, model, tolerance: 0 }];
  return { name, store, models, manifest, onnx: [], tokens: await tokensOf(store, manifest), close: async () => {} };
}

async function tokensOf(store: Store, { pipeline: { conditioning }, files }: Manifest): Promise<number> {
  if (conditioning.type === 'class') return 0;
  const record = files.find(({ name }) => name === conditioning.tokenizer);
  if (record === undefined) return USUAL_TOKENS;
  const { bytes, release } = await fetchFile(store, record);
  release();
  return loadTokenizer(JSON.parse(new TextDecoder().decode(bytes))).maxTokens;
}
