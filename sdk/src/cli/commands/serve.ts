/** `edge-dit serve`: the HTTP endpoint over a published model, on this machine, until it is stopped. */
import { once } from 'node:events';
import { join } from 'node:path';
import { endpointSettings } from '@edge-dit/functions/environment';
import type { LogEntry } from '@edge-dit/functions/observe/log';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { type Command, Option } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { cacheFolder } from '../cache-folder.ts';
import { byteSize, integer, lookup } from '../option-values.ts';
import type { Session } from '../session.ts';
import { addTrustOptions, type TrustFlags, trustOf } from '../trust-options.ts';
import { watchEndpoint } from '../watch-endpoint.ts';

interface ServeFlags extends TrustFlags {
  readonly model: string;
  readonly target: string;
  readonly port: number;
  readonly host: string;
  readonly memory: number;
  readonly jobs?: string;
  readonly log?: LogEntry['level'];
}

export function addServe(program: Command, session: Session): Command {
  const command = program
    .command('serve')
    .summary('serve a published model over HTTP')
    .description(
      'Serves a page to try, POST /generate, jobs, GET /models, /healthz, /metrics and /openapi.json over a published model until interrupted. API_KEYS, LIMITS, CORS_ORIGINS, WEBHOOKS and WEBHOOK_SECRET are read from the environment.',
    )
    .requiredOption('--model <model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .requiredOption('--target <name>', 'where it runs: workerd or node (see "edge-dit list")')
    .option('--port <port>', 'port to listen on; 0 takes a free one', integer(0, 65_535), 8787)
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--memory <size>', 'limit of the memory for wasm and buffers', byteSize, 128 * 2 ** 20)
    .option(
      '--jobs <folder>',
      'keeps jobs, so that they survive a restart (default: one of the port, in the cache folder)',
    )
    .addOption(
      new Option(
        '--log <level>',
        'the least that is logged (default: warn at a terminal, info elsewhere, error with --json or --quiet)',
      ).choices(['info', 'warn', 'error']),
    );
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
  const { keys, cors, webhooks, limits } = endpointSettings(process.env);
  // A port that is drawn is of no later run.
  const jobsFolder = flags.jobs ?? (port === 0 ? undefined : join(cacheFolder(), 'jobs', `${flags.target}-${port}`));
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
    keys,
    cors,
    webhooks,
    limits,
    jobsFolder,
    logLevel: flags.log ?? (output.silent ? 'error' : output.live ? 'warn' : 'info'),
  });
  // Miniflare has hooked them.
  session.takeInterrupts();
  let stopWatching = () => {};
  try {
    const access =
      keys === undefined ? 'open to whoever reaches it; set API_KEYS to change that' : `${keys.length} keys`;
    const place = jobsFolder === undefined ? 'in memory' : `in ${jobsFolder}`;
    output.result({
      json: {
        url: served.url,
        target: target.name,
        model,
        digest,
        jobs: jobsFolder ?? null,
        keys: keys?.length ?? null,
      },
      text: [
        `${model} is served at ${served.url}: a page to try, POST /generate, GET /models, /healthz, /metrics, /openapi.json`,
        `access: ${access}; jobs are kept ${place}`,
        'Ctrl-C stops it.',
      ],
      brief: [served.url],
    });
    stopWatching = watchEndpoint(output, served.url);
    if (!signal.aborted) await once(signal, 'abort');
    stopWatching();
    output.note('stopping');
  } finally {
    stopWatching();
    await served.close();
  }
}
