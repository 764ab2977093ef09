/**
 * What a command says, and where. Results go to stdout: text, or one JSON document with --json. Progress and
 * commentary go to stderr: bars on a terminal, lines elsewhere, nothing with --json or --quiet.
 */
import { inspect } from 'node:util';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type Options, SingleBar } from 'cli-progress';
import { counted, shortBytes } from './quantities.ts';

export interface Result {
  /** The document of --json. */
  readonly json: unknown;
  readonly text: readonly string[];
  /** What is left of the text with --quiet. Default: all of it. */
  readonly brief?: readonly string[];
}

export interface Progress {
  /** The new value, counted from 0. */
  update(value: number): void;
  /** Ends the bar, when all is done or nothing more will be. */
  stop(): void;
}

export class Output {
  readonly #json: boolean;
  readonly #quiet: boolean;

  constructor({ json = false, quiet = false }: { json?: boolean; quiet?: boolean }) {
    this.#json = json;
    this.#quiet = quiet;
  }

  result({ json, text, brief }: Result): void {
    const lines = this.#json ? [JSON.stringify(json, null, 2)] : this.#quiet ? (brief ?? text) : text;
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  }

  note(line: string): void {
    if (!this.#silent) process.stderr.write(`${line}\n`);
  }

  /** A bar from 0 to `total`, in bytes or in units of that name. */
  progress(title: string, total: number, unit: string): Progress {
    if (this.#silent) return { update() {}, stop() {} };
    const format = unit === 'bytes' ? shortBytes : counted;
    if (!process.stderr.isTTY) {
      this.note(`${title}: ${format(total)}${unit === 'bytes' ? '' : ` ${unit}`}`);
      return { update() {}, stop() {} };
    }
    const amount = unit === 'bytes' ? '{value} of {total}' : `{value} of {total} ${unit}`;
    const bar = new SingleBar({
      ...BAR,
      format: `${title.padEnd(12)} {bar} {percentage}%  ${amount}  {eta_formatted}`,
      formatValue: formatter(format),
    });
    bar.start(total, 0);
    return { update: (value) => bar.update(value), stop: () => bar.stop() };
  }

  /** An error, never with a stack unless EDGE_DIT_DEBUG is set. */
  error(error: unknown): void {
    const code = error instanceof EdgeDitError ? error.code : 'internal';
    const message = error instanceof Error ? error.message : String(error);
    const text = this.#json ? JSON.stringify({ error: { code, message } }) : `edge-dit: ${code}: ${message}`;
    process.stderr.write(`${text}\n`);
    if (process.env.EDGE_DIT_DEBUG === '1') process.stderr.write(`${inspect(error, { depth: 5 })}\n`);
  }

  get #silent(): boolean {
    return this.#json || this.#quiet;
  }
}

/** Interrupts are ours to handle; the cursor is given back by `stop`. */
const BAR: Options = {
  stream: process.stderr,
  hideCursor: true,
  clearOnComplete: true,
  gracefulExit: false,
  barCompleteChar: '█',
  barIncompleteChar: '░',
  barsize: 30,
  formatTime: (seconds) => (Number.isFinite(seconds) ? `${Math.round(seconds)} s left` : ''),
};

function formatter(format: (value: number) => string): NonNullable<Options['formatValue']> {
  return (value, _options, type) => {
    if (type === 'value' || type === 'total') return format(value);
    return type === 'percentage' ? String(value).padStart(3) : String(value);
  };
}
