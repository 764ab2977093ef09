/** `edge-dit list`: the models of a store and their versions; or the names that other commands and configs take. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { listModels, readPointer, type Version } from '@edge-dit/runtime/load-manifest';
import { architectures } from '@edge-dit/runtime/models/index';
import { samplers } from '@edge-dit/runtime/samplers/index';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { Command } from 'commander';
import { recipes } from '../../recipes/index.ts';
import { openStore, storeKinds } from '../../stores.ts';
import { table } from '../quantities.ts';
import type { Session } from '../session.ts';

export function addList(program: Command, session: Session): Command {
  return program
    .command('list')
    .summary('print the models of a store, or the known recipes, architectures, samplers, stores and targets')
    .description(
      'Prints the models of a store with the versions that they can be rolled back to. Without a store: the known recipes, architectures, samplers, stores and targets.',
    )
    .argument('[store]', 'folder or s3://bucket/prefix')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit list s3://bucket/models
  $ edge-dit list --json`,
    )
    .action((place: string | undefined) => (place === undefined ? listNames(session) : listStore(place, session)));
}

async function listStore(place: string, { output, signal }: Session): Promise<void> {
  const store = openStore(place);
  if (!('list' in store)) {
    throw new EdgeDitError('invalid-argument', `${store.name} cannot list what it has; name a folder or s3://.`);
  }
  const models: { model: string; versions: Version[] }[] = [];
  for await (const model of listModels(store as WritableStore)) {
    const found = await readPointer(store, model, { signal });
    if (found === undefined) continue;
    const { history = [], ...current } = found.pointer;
    models.push({ model, versions: [current, ...history] });
  }
  const rows = models.flatMap(({ model, versions }) =>
    versions.map(({ manifest, published }, i) => [
      i === 0 ? model : '',
      manifest,
      published ?? '',
      i === 0 ? 'current' : '',
    ]),
  );
  output.result({
    json: { store: store.name, models },
    text:
      models.length === 0 ? [`${store.name} has no models`] : table([['model', 'version', 'published', ''], ...rows]),
    brief: models.map(({ model }) => model),
  });
}

async function listNames({ output }: Session): Promise<void> {
  const { targets } = await import('@edge-dit/functions/targets/index');
  const { bundleTargets } = await import('@edge-dit/functions/bundles/index');
  const document = {
    recipes: recipes.map(({ name, summary }) => ({ name, summary })),
    architectures: architectures.map(({ names }) => ({ names })),
    samplers: samplers.map(({ name }) => ({ name })),
    stores: storeKinds,
    targets: targets.map(({ name, summary }) => ({ name, summary })),
    bundles: bundleTargets.map(({ name, summary }) => ({ name, summary })),
  };
  const entry = (name: string, summary = '') => `  ${name.padEnd(24)}  ${summary}`.trimEnd();
  output.result({
    json: document,
    text: [
      'Recipes (quantize --recipe)',
      ...document.recipes.map(({ name, summary }) => entry(name, summary)),
      'Architectures (_class_name of a transformer)',
      ...document.architectures.map(({ names }) => entry(names.join(', '))),
      'Samplers (_class_name of a scheduler)',
      ...document.samplers.map(({ name }) => entry(name)),
      'Stores',
      ...document.stores.map(({ form, summary }) => entry(form, summary)),
      'Targets (serve --target)',
      ...document.targets.map(({ name, summary }) => entry(name, summary)),
      'Places to deploy to (bundle --target)',
      ...document.bundles.map(({ name, summary }) => entry(name, summary)),
    ],
  });
}
