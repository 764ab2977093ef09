/** `edge-dit list`: the names that the other commands and the configs of checkpoints take. */
import { architectures } from '@edge-dit/runtime/models/index';
import { samplers } from '@edge-dit/runtime/samplers/index';
import type { Command } from 'commander';
import { recipes } from '../../recipes/index.ts';
import { storeKinds } from '../../stores.ts';
import type { Session } from '../session.ts';

export function addList(program: Command, session: Session): Command {
  return program
    .command('list')
    .summary('print the known recipes, architectures, samplers, stores and targets')
    .description('Prints the known recipes, architectures, samplers, stores and targets.')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit list --json`,
    )
    .action(async () => {
      const { targets } = await import('@edge-dit/functions/targets/index');
      const document = {
        recipes: recipes.map(({ name, summary }) => ({ name, summary })),
        architectures: architectures.map(({ names }) => ({ names })),
        samplers: samplers.map(({ name }) => ({ name })),
        stores: storeKinds,
        targets: targets.map(({ name, summary }) => ({ name, summary })),
      };
      const entry = (name: string, summary = '') => `  ${name.padEnd(24)}  ${summary}`.trimEnd();
      session.output.result({
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
        ],
      });
    });
}
