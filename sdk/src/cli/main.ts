/** Entry of `edge-dit`: runs one command, and turns what it raises into a message and an exit code. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { CommanderError } from 'commander';
import { EXIT, type ExitCode, exitCodeOf } from './exit-code.ts';
import { Output } from './output.ts';
import { createProgram } from './program.ts';
import { Session } from './session.ts';

async function run(session: Session): Promise<ExitCode> {
  try {
    await createProgram(session).parseAsync();
    return session.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return refuse(error);
    session.output.error(error);
    return exitCodeOf(error);
  }
}

/** What commander refuses; help and the version, which it has printed, come this way too. */
function refuse(error: CommanderError): ExitCode {
  if (error.exitCode === 0) return EXIT.ok;
  if (error.code === 'commander.help') return EXIT.usage;
  const message = error.message.replace(/^error: /, '');
  new Output({ json: process.argv.includes('--json') }).error(new EdgeDitError('invalid-argument', message));
  return EXIT.usage;
}

const session = new Session();
session.takeInterrupts();
// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed);
});

process.exitCode = await run(session);
// An interrupted request may still hold a socket open.
if (session.signal.aborted) process.exit();
