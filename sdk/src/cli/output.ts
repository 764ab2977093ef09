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
  /** The new value, counted from 0; `found` of it took no time. */
  update(value: number, found?: number): void;
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
    if (!this.silent) process.stderr.write(`${line}\n`);
  }

  /** Whether somebody looks on at a terminal. */
  get live(): boolean {
    return !this.silent && process.stderr.isTTY === true;
  }

  /** One line that is written again and again, at a terminal; an empty one ends it. What else is written takes its place. */
  status(line: string): void {
    if (!this.live) return;
    // A terminal that nobody looks at through a window has no columns.
    process.stderr.write(`\x1b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}\r`);
  }

  /** A bar to `total`, in bytes or in units of that name; what was there before, `from`, tells nothing of the time left. */
  progress(title: string, total: number, unit: string, from = 0): Progress {
    if (this.silent) return { update() {}, stop() {} };
    const inBytes = unit === 'bytes';
    const format = inBytes ? shortBytes : counted;
    const started = Date.now();
    const perSecond = (count: number) => (1000 * count) / Math.max(1, Date.now() - started);
    if (!process.stderr.isTTY) {
      this.note(`${title}: ${format(total)}${inBytes ? '' : ` ${unit}`}`);
      let next = started + LINE_MS;
      const update: Progress['update'] = (value, found = from) => {
        if (Date.now() < next) return;
        next = Date.now() + LINE_MS;
        const rate = perSecond(value - found);
        const left = rate > 0 ? `, ${BAR.formatTime!((total - value) / rate, {}, 1)}` : '';
        this.note(
          `${title}: ${format(value)} of ${format(total)}${inBytes ? `, ${shortBytes(Math.round(rate))}/s` : ''}${left}`,
        );
      };
      return { update, stop() {} };
    }
    const amount = inBytes ? '{value} of {total}  {rate}' : `{value} of {total} ${unit}`;
    const bar = new SingleBar({
      ...BAR,
      format: `${title.padEnd(12)} {bar} {percentage}%  ${amount}  {eta_formatted}`,
      formatValue: formatter(format),
    });
    bar.start(total, from, { rate: '' });
    const update: Progress['update'] = (value, found = from) =>
      bar.update(value, { rate: `${shortBytes(Math.round(perSecond(value - found)))}/s` });
    return { update, stop: () => bar.stop() };
  }

  /** An error, never with a stack unless EDGE_DIT_DEBUG is set. */
  error(error: unknown): void {
    const code = error instanceof EdgeDitError ? error.code : 'internal';
    const message = error instanceof Error ? error.message : String(error);
    const text = this.#json ? JSON.stringify({ error: { code, message } }) : `edge-dit: ${code}: ${message}`;
    process.stderr.write(`${text}\n`);
    if (process.env.EDGE_DIT_DEBUG === '1') process.stderr.write(`${inspect(error, { depth: 5 })}\n`);
  }

  /** No progress and no commentary. */
  get silent(): boolean {
    return this.#json || this.#quiet;
  }
}

/** Between lines of progress where there is no terminal. */
const LINE_MS = 10_000;

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
