/** `edge-dit serve`: the HTTP endpoint over a published model, on this machine, until it is stopped. */
import { once } from 'node:events';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { byteSize, integer, lookup } from '../option-values.ts';
import type { Session } from '../session.ts';
import { addTrustOptions, type TrustFlags, trustOf } from '../trust-options.ts';

interface ServeFlags extends TrustFlags {
  readonly model: string;
  readonly target: string;
  readonly port: number;
  readonly host: string;
  readonly memory: number;
}

export function addServe(program: Command, session: Session): Command {
  const command = program
    .command('serve')
    .summary('serve a published model over HTTP')
    .description('Serves POST /generate, GET /models and GET /healthz over a published model until interrupted.')
    .requiredOption('--model <model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .requiredOption('--target <name>', 'where it runs: workerd or node (see "edge-dit list")')
    .option('--port <port>', 'port to listen on; 0 takes a free one', integer(0, 65_535), 8787)
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--memory <size>', 'limit of the memory for wasm and buffers', byteSize, 128 * 2 ** 20);
  return addTrustOptions(command)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit serve --model ./models/emoji-w4a8 --target workerd --port 8787
  $ curl -d '{"prompt": "red apple, fluent 3d style", "seed": 1}' -H content-type:application/json \\
      http://127.0.0.1:8787/generate -o apple.png`,
    )
    .action((flags: ServeFlags) => run(flags, session));
}

async function run(flags: ServeFlags, session: Session): Promise<void> {
  const { output, signal } = session;
  const { port, host, memory } = flags;
  // Targets bring servers and bundlers: imported when one is asked for.
  const { targetByName } = await import('@edge-dit/functions/targets/index');
  const target = lookup(targetByName)(flags.target);
  const { store, model } = await resolveModel(flags.model, { signal });
  // A model that is not there is said now, not to the first visitor.
  const trust = trustOf(flags, model);
  const { digest } = await loadManifest(store, model, { signal, trust });
  output.note(`starting ${target.name}: ${target.summary}`);
  const served = await target.serve({
    store,
    models: [model],
    trust,
    port,
    host,
    memoryLimitMb: Math.max(1, Math.floor(memory / 2 ** 20)),
  });
  // Miniflare has hooked them.
  session.takeInterrupts();
  try {
    output.result({
      json: { url: served.url, target: target.name, model, digest },
      text: [`${model} is served at ${served.url}: POST /generate, GET /models, GET /healthz`, 'Ctrl-C stops it.'],
      brief: [served.url],
    });
    if (!signal.aborted) await once(signal, 'abort');
    output.note('stopping');
  } finally {
    await served.close();
  }
}
