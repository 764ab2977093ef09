/** `edge-dit sign`: signs a published model anew, where it is. */
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { openWritableStore } from '../../stores.ts';
import { timeSpan } from '../option-values.ts';
import { copyWithProgress, publishedResult } from '../publishing.ts';
import type { Session } from '../session.ts';
import { signingOf } from '../trust-options.ts';

interface SignFlags {
  readonly key: string;
  readonly expiresIn?: number;
}

export function addSign(program: Command, session: Session): Command {
  return program
    .command('sign')
    .summary('sign a published model')
    .description('Signs the manifest of a published model, for the first time or anew. Its shards are not touched.')
    .argument('<model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .requiredOption('--key <file>', 'the private key (see "edge-dit keygen")')
    .option('--expires-in <time>', 'refuse the signature after this time, for example 90d (default: never)', timeSpan)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit sign s3://bucket/models/emoji-w4a8 --key publisher.pem --expires-in 90d`,
    )
    .action(async (reference: string, { key, expiresIn }: SignFlags) => {
      const signing = await signingOf({ sign: key, expiresIn });
      const { place, model } = await resolveModel(reference, { signal: session.signal });
      const store = openWritableStore(place);
      const options = { from: store, store, model, sign: { ...signing!, renew: true } };
      const published = await copyWithProgress(session, 'signing', options);
      session.output.result(publishedResult('signed', { store, published }));
    });
}
