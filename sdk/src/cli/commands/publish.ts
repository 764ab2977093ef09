/** `edge-dit publish`: a model that was quantized to a folder in, the same in a store out; only what is not there is sent. */
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { addSendingOptions, copyWithProgress, publishedResult, type SendingFlags } from '../publishing.ts';
import type { Session } from '../session.ts';
import { addSigningOptions, type SigningFlags, signingOf } from '../trust-options.ts';

type PublishFlags = SigningFlags & SendingFlags;

export function addPublish(program: Command, session: Session): Command {
  const command = program
    .command('publish')
    .summary('send a quantized model to a store')
    .description(
      'Sends a model from a folder to a store: shards, then the manifest, then the pointer. Run again after a crash, it sends the rest.',
    )
    .argument('<model>', '<folder>/<name>, <folder>#<name>, or a folder that holds one model');
  return addSigningOptions(addSendingOptions(command))
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit publish ./models/emoji-w4a8 --to s3://bucket/models --sign publisher.pem --expires-in 90d`,
    )
    .action(async (reference: string, flags: PublishFlags) => {
      const { to, parallel, dryRun } = flags;
      const sign = await signingOf(flags);
      const { store, model } = await resolveModel(reference, { signal: session.signal });
      const options = { from: store, store: to, model, sign, concurrency: parallel, dryRun };
      const published = await copyWithProgress(session, dryRun ? 'comparing' : 'publishing', options);
      session.output.result(publishedResult('published', { store: to, published, dryRun }));
    });
}
