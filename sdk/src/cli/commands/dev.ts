/** `edge-dit dev`: a project in workerd on this machine, anew after every change, until it is stopped. */
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { integer } from '../option-values.ts';
import { duration } from '../quantities.ts';
import type { Session } from '../session.ts';

interface DevFlags {
  readonly project: string;
  readonly port: number;
  readonly host: string;
}

export function addDev(program: Command, session: Session): Command {
  return program
    .command('dev')
    .summary('serve a project on this machine, and anew after every change')
    .description(
      'Serves a project of "edge-dit init" as its worker, in workerd, with the models of its store and the secrets of .dev.vars. A change of edge-dit.json, of .dev.vars, of the worker\'s sources or of a model is served within seconds.',
    )
    .option('--project <folder>', 'folder of the edge-dit.json', '.')
    .option('--port <port>', 'port to listen on; 0 takes a free one', integer(0, 65_535), 8787)
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit init my-endpoint --model ./models/emoji-w4a8
  $ cd my-endpoint && npx edge-dit dev`,
    )
    .action((flags: DevFlags) => run(flags, session));
}

async function run({ project, port, host }: DevFlags, session: Session): Promise<void> {
  const { output, signal } = session;
  // esbuild, Miniflare and the watcher.
  const { startDevServer } = await import('../../project/dev-server.ts');
  const served = await startDevServer({
    folder: resolve(project),
    port,
    host,
    onReload: (changes, ms) => output.note(`reloaded in ${duration(ms)}: ${changes.join(', ')}`),
    onError: (error) => {
      output.error(error);
      output.note('the version before is still served');
    },
  });
  // Miniflare has hooked them.
  session.takeInterrupts();
  try {
    output.result({
      json: { url: served.url },
      text: [`${served.url}  the playground; POST /generate, GET /models, GET /healthz`, 'Ctrl-C stops it.'],
      brief: [served.url],
    });
    if (!signal.aborted) await once(signal, 'abort');
    output.note('stopping');
  } finally {
    await served.close();
  }
}
