/** `edge-dit verify`: fetches every object of a model and says which are damaged. */
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { verifyModel } from '../../verify-model.ts';
import type { Progress } from '../output.ts';
import { longBytes, plural } from '../quantities.ts';
import type { Session } from '../session.ts';
import { addTrustOptions, type TrustFlags, trustOf } from '../trust-options.ts';

export function addVerify(program: Command, session: Session): Command {
  const command = program
    .command('verify')
    .summary('check every shard and file of a model')
    .description(
      'Fetches every shard and file of a model; checks digests, headers, names, shapes. Exit code 1 on damage.',
    )
    .argument('<model>', '<store>/<name>, <store>#<name>, or a store that holds one model');
  return addTrustOptions(command)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit verify https://models.example.com/emoji-w4a8`,
    )
    .action((reference: string, flags: TrustFlags) => run(reference, flags, session));
}

async function run(reference: string, flags: TrustFlags, session: Session): Promise<void> {
  const { output, signal } = session;
  const { store, model } = await resolveModel(reference, { signal });
  let bar: Progress | undefined;
  try {
    const report = await verifyModel(store, model, {
      signal,
      trust: trustOf(flags, model),
      onObject: (done, total) => {
        bar ??= output.progress('verifying', total, 'shards and files');
        bar.update(done);
      },
    });
    bar?.stop();
    const { objects, bytes, damage, digest } = report;
    const found = damage.flatMap(({ object, key, message }) => [
      `${object}: ${message}`,
      ...(key === undefined || message.includes(key) ? [] : [`  in ${key}`]),
    ]);
    const whole = damage.length === 0;
    if (!whole) session.checkFailed();
    output.result({
      json: { store: store.name, ok: whole, ...report },
      text: [
        `${model} in ${store.name}${digest === undefined ? '' : `, manifest ${digest}`}`,
        ...found.map((line) => `  ${line}`),
        whole
          ? `  whole: ${plural(objects, 'object')}, ${longBytes(bytes)}`
          : `  DAMAGED: ${plural(damage.length, 'finding')} in ${plural(objects, 'object')}; publish the model again, or purge the caches on the way`,
      ],
      brief: found,
    });
  } finally {
    bar?.stop();
  }
}
