/** `edge-dit prune`: deletes what no model of a store names. */
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { Command } from 'commander';
import { prune } from '../../publish/prune.ts';
import { openWritableStore } from '../../stores.ts';
import { lookup, timeSpan } from '../option-values.ts';
import type { Progress } from '../output.ts';
import { longBytes, plural } from '../quantities.ts';
import type { Session } from '../session.ts';

interface PruneFlags {
  readonly grace: number;
  readonly dryRun: boolean;
}

export function addPrune(program: Command, session: Session): Command {
  return program
    .command('prune')
    .summary('delete what no model of a store names')
    .description(
      'Deletes shards and manifests that no model and no version in its history names. Publishing may go on meanwhile.',
    )
    .argument(
      '<store>',
      'folder or s3://bucket/prefix',
      lookup((place) => openWritableStore(place)),
    )
    .option(
      '--grace <time>',
      'spare what is younger: longer than any publishing takes; 0s only where nobody publishes',
      timeSpan,
      timeSpan('24h'),
    )
    .option('--dry-run', 'only say what would be deleted', false)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit prune s3://bucket/models --dry-run`,
    )
    .action((store: WritableStore, flags: PruneFlags) => run(store, flags, session));
}

async function run(store: WritableStore, { grace, dryRun }: PruneFlags, { output, signal }: Session): Promise<void> {
  let bar: Progress | undefined;
  try {
    const pruned = await prune({
      store,
      graceMs: grace,
      dryRun,
      signal,
      onProgress: (done, total) => {
        bar ??= output.progress('deleting', total, 'objects');
        bar.update(done);
      },
    });
    bar?.stop();
    const { models, keptObjects, keptBytes, youngObjects, deletedObjects, deletedBytes } = pruned;
    const deleted = `${plural(deletedObjects, 'object')}, ${longBytes(deletedBytes)}`;
    output.result({
      json: { store: store.name, dryRun, ...pruned },
      text: [
        `${store.name}: ${plural(models, 'model')}`,
        `  ${dryRun ? 'to delete' : 'deleted  '}  ${deleted}`,
        `  kept       ${plural(keptObjects, 'object')}, ${longBytes(keptBytes)}${youngObjects === 0 ? '' : `; of these ${youngObjects} that nobody names are young`}`,
      ],
      brief: [deleted],
    });
  } finally {
    bar?.stop();
  }
}
