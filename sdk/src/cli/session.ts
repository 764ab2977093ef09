/** What every command gets: where to say things, and the signal of an interrupt. */
import { EXIT, type ExitCode } from './exit-code.ts';
import { Output } from './output.ts';

/** How long an interrupted command may take to clean up. */
const GRACE_MS = 5000;

export class Session {
  readonly #controller = new AbortController();
  /** Replaced when the options are known. */
  output = new Output({});
  exitCode: ExitCode = EXIT.ok;

  /** Aborts when the user interrupts. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Makes the interrupts of this process ours alone: libraries that end it at once leave things behind. */
  takeInterrupts(): void {
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.removeAllListeners(name);
      process.on(name, this.#interrupt);
    }
  }

  readonly #interrupt = () => {
    if (this.signal.aborted) process.exit(EXIT.cancelled);
    this.#controller.abort(new Error('interrupted'));
    // What does not listen to the signal must not outlive it.
    setTimeout(() => process.exit(EXIT.cancelled), GRACE_MS).unref();
  };

  /** The command did its work, and what it checked is wrong. */
  checkFailed(): void {
    this.exitCode = EXIT.checkFailed;
  }
}
