/** The command line as commander has it: global options, help, and the commands of the list. */
import { Command } from 'commander';
import { commands } from './commands/index.ts';
import { EXIT_CODE_HELP } from './exit-code.ts';
import { Output } from './output.ts';
import { packageVersion } from './package-version.ts';
import type { Session } from './session.ts';

/** Raises commander's `CommanderError` instead of ending the process; help goes to stdout. */
export function createProgram(session: Session): Command {
  const program = new Command('edge-dit')
    .description('Quantizes diffusion transformers, packs them in shards and runs them as the edge does.')
    .version(packageVersion)
    .option('--json', 'print one JSON document on stdout, and errors as JSON on stderr')
    .option('--quiet', 'no progress and no commentary, only what scripts need')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError() {} })
    .exitOverride()
    .hook('preAction', (_program, command) => {
      session.output = new Output(command.optsWithGlobals());
    });
  for (const add of commands) add(program, session).addHelpText('after', `\n${EXIT_CODE_HELP}`);
  return program.addHelpText(
    'after',
    `
A model is written <store>/<name>, <store>#<name>, or <store> alone where it holds one. A store is a folder,
s3://bucket/prefix, or an http(s) address (read-only).

Example:
  $ edge-dit quantize ./checkpoint --recipe w4a8 --out ./models
  $ edge-dit generate --model ./models/checkpoint-w4a8 --prompt "red apple" --out apple.png

${EXIT_CODE_HELP}`,
  );
}
