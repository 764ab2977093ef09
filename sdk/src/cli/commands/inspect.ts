/** `edge-dit inspect`: what a published model is, and where its bytes are. Reads the manifest only. */
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Command } from 'commander';
import { describeModel, type ModelDescription } from '../../describe-model.ts';
import { resolveModel } from '../../model-reference.ts';
import { signatureFacts, signatureLine } from '../publishing.ts';
import { counted, longBytes, plural, table } from '../quantities.ts';
import type { Session } from '../session.ts';

export function addInspect(program: Command, session: Session): Command {
  return program
    .command('inspect')
    .summary('print what a model is, its bits and its bytes')
    .description(
      'Prints a model from its manifest: architecture, bits by layer, shards, files, bytes, sampler, licence.',
    )
    .argument('<model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .option('--layers', 'list every linear layer')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit inspect ./models/emoji-w4a8
  $ edge-dit inspect s3://bucket/models#emoji-w4a8 --json`,
    )
    .action(async (reference: string, { layers = false }: { layers?: boolean }) => {
      const { store, model } = await resolveModel(reference, { signal: session.signal });
      const { manifest, digest } = await loadManifest(store, model, { signal: session.signal });
      const description = describeModel(manifest, digest);
      const signed = `  ${'signed'.padEnd(12)}  ${signatureLine(manifest)}`;
      const { layers: all, ...rest } = description;
      session.output.result({
        json: { store: store.name, ...rest, signature: signatureFacts(manifest), ...(layers ? { layers: all } : {}) },
        text: [
          `${model} in ${store.name}`,
          signed,
          ...describe(description),
          ...(layers ? layerTable(description) : []),
        ],
      });
    });
}

function describe(of: ModelDescription): string[] {
  const { shards, pipeline, defaults } = of;
  const vae = pipeline.vae;
  const space = vae ? `latents of ${vae.latentChannels} channels, decoded ${vae.spatialFactor} times larger` : 'pixels';
  const facts: [string, string | undefined][] = [
    ['digest', of.digest],
    ['architecture', `${of.architecture}, ${counted(of.parameters)} parameters`],
    ['recipe', of.recipe ?? 'none (float)'],
    ['space', space],
    ['conditioning', conditioning(pipeline.conditioning)],
    ['sampler', of.sampler._class_name],
    ['defaults', `${defaults.steps} steps, guidance ${defaults.guidance}`],
    ['licence', of.license ?? 'not stated'],
    ['attribution', of.attribution],
    ['shards', `${counted(shards.count)}, ${longBytes(shards.bytes)}`],
    ['float16', longBytes(of.floatBytes16)],
    ['ratio', `${of.ratio.toFixed(4)} (shards to the float16 transformer)`],
    ['with files', longBytes(of.totalBytes)],
  ];
  const { bits, encodings, files } = of;
  return [
    ...facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name.padEnd(12)}  ${value}`])),
    '',
    ...table([
      ['linear layers', 'weights', 'activations', 'parameters', 'bytes'],
      ...bits.map(({ weightBits, activationBits, layers, parameters, bytes }) => [
        counted(layers),
        bitsOf(weightBits),
        bitsOf(activationBits),
        counted(parameters),
        counted(bytes),
      ]),
    ]),
    '',
    ...table([
      ['encoding', 'tensors', 'bytes'],
      ...encodings.map(({ encoding, tensors, bytes }) => [encoding, counted(tensors), counted(bytes)]),
      ['headers, padding', '', counted(shards.paddingBytes)],
    ]),
    ...(files.length === 0 ? [] : ['']),
    ...(files.length === 0
      ? []
      : table([
          ['file', 'parts', 'bytes'],
          ...files.map(({ name, parts, bytes }) => [name, counted(parts), counted(bytes)]),
        ])),
  ];
}

const bitsOf = (bits: number) => (bits >= 16 ? 'float' : `int${bits}`);

function conditioning(given: ModelDescription['pipeline']['conditioning']): string {
  if (given.type === 'class') return plural(given.count, 'class').replace(/classs$/, 'classes');
  const encoder = given.textEncoder
    ? `encoded by ${given.textEncoder}`
    : 'precomputed embeddings: no encoder is shipped';
  return `text, ${given.maxTokens} tokens of ${given.channels ?? '?'} channels, ${encoder}`;
}

function layerTable({ layers }: ModelDescription): string[] {
  return [
    '',
    ...table([
      ['layer', 'shape', 'encoding', 'weights', 'activations', 'bytes'],
      ...layers.map(({ name, shape, encoding, weightBits, activationBits, bytes }) => [
        name,
        shape.join('x'),
        encoding,
        bitsOf(weightBits),
        bitsOf(activationBits),
        counted(bytes),
      ]),
    ]),
  ];
}
