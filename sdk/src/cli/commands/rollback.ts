/** `edge-dit rollback`: puts an earlier version of a model in its place. */
import { loadVersion } from '@edge-dit/runtime/load-manifest';
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { rollback } from '../../publish/rollback.ts';
import { openWritableStore } from '../../stores.ts';
import { publishedResult } from '../publishing.ts';
import type { Session } from '../session.ts';
import { addSigningOptions, type SigningFlags, signingOf } from '../trust-options.ts';

interface RollbackFlags extends SigningFlags {
  readonly to?: string;
}

export function addRollback(program: Command, session: Session): Command {
  const command = program
    .command('rollback')
    .summary('put an earlier version of a model in its place')
    .description(
      'Points a model to an earlier version, after a look that all of it is there. Run again, it undoes that.',
    )
    .argument('<model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .option('--to <digest>', 'the version, or how its digest begins (default: the one before; see "edge-dit list")');
  return addSigningOptions(command)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit rollback s3://bucket/models/emoji-w4a8 --sign publisher.pem`,
    )
    .action((reference: string, flags: RollbackFlags) => run(reference, flags, session));
}

async function run(reference: string, flags: RollbackFlags, { output, signal }: Session): Promise<void> {
  const sign = await signingOf(flags);
  const { place, model } = await resolveModel(reference, { signal });
  const store = openWritableStore(place);
  const rolled = await rollback({ store, model, to: flags.to, sign, signal });
  const { json, text, brief } = publishedResult('rolled back', { store, published: rolled });
  const { signature } = rolled.manifest;
  const before = signature && (await loadVersion(store, model, rolled.replaced, { signal })).manifest.signature;
  const older = signature !== undefined && before !== undefined && signature.sequence < before.sequence;
  output.result({
    json: { ...(json as object), from: rolled.replaced.manifest },
    text: [
      ...text,
      `  instead  ${rolled.replaced.manifest}`,
      ...(older
        ? [`Its sequence is below ${before.sequence}: readers that ask for that refuse it. Sign it anew with --sign.`]
        : []),
    ],
    brief,
  });
}
