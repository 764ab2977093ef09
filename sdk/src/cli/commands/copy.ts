/** `edge-dit copy`: a model of one store in another, verified on its way, manifest and signature as they are. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { MODEL_NAME } from '@edge-dit/runtime/format/keys';
import type { Store, WritableStore } from '@edge-dit/runtime/stores/store';
import type { Command } from 'commander';
import { openStore, openWritableStore } from '../../stores.ts';
import { integer, lookup } from '../option-values.ts';
import { copyWithProgress, publishedResult } from '../publishing.ts';
import type { Session } from '../session.ts';
import { addTrustOptions, type TrustFlags, trustOf } from '../trust-options.ts';

interface CopyFlags extends TrustFlags {
  readonly from: Store;
  readonly to: WritableStore;
  readonly parallel: number;
  readonly dryRun: boolean;
}

export function addCopy(program: Command, session: Session): Command {
  const command = program
    .command('copy')
    .summary('copy a model between stores')
    .description(
      'Copies a model from one store to another: every object verified, the manifest and its signature as is.',
    )
    .argument('<model>', 'name of the model')
    .requiredOption(
      '--from <store>',
      'folder, s3://bucket/prefix or address',
      lookup((place) => openStore(place)),
    )
    .requiredOption(
      '--to <store>',
      'folder or s3://bucket/prefix',
      lookup((place) => openWritableStore(place)),
    )
    .option('--parallel <n>', 'objects on their way at once', integer(1, 32), 4)
    .option('--dry-run', 'only say what would be sent', false);
  return addTrustOptions(command)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit copy emoji-w4a8 --from https://models.example.com --to s3://bucket/models`,
    )
    .action(async (model: string, flags: CopyFlags) => {
      const { from, to, parallel, dryRun } = flags;
      if (!MODEL_NAME.test(model)) {
        throw new EdgeDitError('invalid-argument', `"${model}" is not the name of a model; give the store by --from.`);
      }
      const options = { from, store: to, model, trust: trustOf(flags, model), concurrency: parallel, dryRun };
      const published = await copyWithProgress(session, dryRun ? 'comparing' : 'copying', options);
      session.output.result(publishedResult('copied', { store: to, published, dryRun }));
    });
}
