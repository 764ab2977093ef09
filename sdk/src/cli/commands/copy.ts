/** `edge-dit copy`: a model of one store in another, verified on its way, manifest and signature as they are. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { MODEL_NAME } from '@edge-dit/runtime/format/keys';
import type { Store } from '@edge-dit/runtime/stores/store';
import type { Command } from 'commander';
import { openStore } from '../../stores.ts';
import { lookup } from '../option-values.ts';
import { addSendingOptions, copyWithProgress, publishedResult, type SendingFlags } from '../publishing.ts';
import type { Session } from '../session.ts';
import { addTrustOptions, type TrustFlags, trustOf } from '../trust-options.ts';

interface CopyFlags extends TrustFlags, SendingFlags {
  readonly from: Store;
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
    );
  return addTrustOptions(addSendingOptions(command))
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
