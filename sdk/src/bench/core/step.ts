/**
 * One denoising step: published models in our engine, the same network in onnxruntime-web, and the ceilings. What our sessions compute
 * once for all steps is computed before the clock starts; an exported network has no such part.
 */

import type { Engine } from '@edge-dit/runtime/engines/engine';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { Meter } from '@edge-dit/runtime/meter';
import { type LoadedModel, loadModel } from '@edge-dit/runtime/models/load-model';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { type BenchHost, MEMORY_BYTES } from './bench-host.ts';
import { ceilingCases } from './ceiling.ts';
import { controlCase } from './control.ts';
import { openVariant } from './engines.ts';
import { type Case, interleave } from './interleave.ts';
import { type OrtModel, openOrtModel } from './ort-session.ts';
import type { Checked, OnnxFile, Part, PublishedModel, TimedResult } from './parts.ts';
import { checkOutput, type Output } from './relative-error.ts';
import { type StepInputs, stepInputs } from './step-inputs.ts';

type StepPart = Extract<Part, { kind: 'step' }>;

export async function runStep(host: BenchHost, { models, onnx, work, effort }: StepPart): Promise<TimedResult> {
  const cases: Case[] = [];
  const outputs: (Output & { readonly tolerance: number })[] = [];
  const opened: OrtModel[] = [];
  let inputs: StepInputs | undefined;
  try {
    for (const model of models) {
      const engine = await openVariant(host);
      const { architecture, transformer } = await loadPublished(model, engine);
      inputs ??= stepInputs(architecture.geometry, work);
      const { sample, timesteps, conditions } = inputs;
      const session = transformer.begin(conditions);
      const name = `${engine.name}/${model.name}`;
      const values = await session.forward(sample, timesteps);
      outputs.push({ name, values, tolerance: model.tolerance });
      cases.push({ name, run: async () => void (await session.forward(sample, timesteps)) });
    }
    for (const file of onnx) {
      const model = await openFile(host, file, inputs!);
      opened.push(model);
      const name = `onnxruntime/${file.name}`;
      // Copied, because the next run may write over it.
      outputs.push({ name, values: Float32Array.from(await model.run()), tolerance: file.tolerance });
      cases.push({ name, run: async () => void (await model.run()) });
    }
    const checks = checksOf(outputs);
    return { cases: await interleave([...cases, ...ceilingCases(host), await controlCase(host)], effort), checks };
  } finally {
    for (const model of opened) await model.release();
  }
}

/** Everything against the most exact of the outputs: the one whose tolerance is least. */
function checksOf(outputs: readonly (Output & { readonly tolerance: number })[]): Checked[] {
  const standard = outputs.reduce((best, output) => (output.tolerance < best.tolerance ? output : best));
  return outputs
    .filter((output) => output !== standard)
    .map((output) => checkOutput(output, standard, output.tolerance));
}

export async function loadPublished({ store, model }: PublishedModel, engine: Engine): Promise<LoadedModel> {
  const source = new HttpStore(store);
  const { manifest } = await loadManifest(source, model);
  return loadModel(source, manifest, engine, { meter: new Meter(MEMORY_BYTES) });
}

async function openFile(host: BenchHost, { name, url }: OnnxFile, { feeds }: StepInputs): Promise<OrtModel> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`[GET] the ${name} ONNX file: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  return openOrtModel(host.onnx, bytes, (wanted) => Object.fromEntries(wanted.map((input) => [input, feeds[input]])));
}
