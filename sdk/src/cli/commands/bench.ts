/** `edge-dit bench`: how fast this machine is, beside onnxruntime-web on the same work. */

import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type Command, Option } from 'commander';
import type { BenchReport } from '../../bench/bench.ts';
import { BENCH_PARTS, type BenchPart, type Size } from '../../bench/plan.ts';
import { resolveModel } from '../../model-reference.ts';
import { oneOf } from '../option-values.ts';
import type { Session } from '../session.ts';

const HOSTS = ['workerd', 'node', 'chromium'] as const;
type HostName = (typeof HOSTS)[number];

interface BenchFlags {
  readonly checkpoint?: string;
  readonly model?: string;
  readonly host?: readonly HostName[];
  readonly part?: readonly BenchPart[];
  readonly node?: readonly string[];
  readonly quick?: true;
  readonly full?: true;
  readonly save?: string;
}

export function addBench(program: Command, session: Session): Command {
  const collect = <T>(value: T, previous: readonly T[] = []) => [...previous, value];
  const host = oneOf(...HOSTS);
  const part = oneOf(...BENCH_PARTS);
  return program
    .command('bench')
    .summary('measure linear layers, a denoising step and whole pictures')
    .description(
      'Measures on this machine, in workerd, Node and Chromium, beside onnxruntime-web on the same work: linear layers by shape, one denoising step, whole pictures, bytes. Outputs are compared before anything is timed. A checkpoint is quantized and exported to ONNX for it; a published model is measured alone. Takes some minutes, of a machine that does nothing else.',
    )
    .addOption(new Option('--checkpoint <folder>', "the pipeline's or the transformer's folder").conflicts('model'))
    .option('--model <model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .option('--host <name>', `${HOSTS.join(', ')}; may be repeated (default: all)`, (text, previous?: HostName[]) =>
      collect(host(text), previous),
    )
    .option(
      '--part <name>',
      `${BENCH_PARTS.join(', ')}; may be repeated (default: all)`,
      (text, previous?: BenchPart[]) => collect(part(text), previous),
    )
    .option('--node <path>', 'another node to run in; may be repeated', collect<string>)
    .addOption(new Option('--quick', 'a minute: workerd, two shapes, one picture of each kind').conflicts('full'))
    .option('--full', '1024 and 4096 rows too; a quarter of an hour more')
    .addOption(
      new Option('--save [folder]', 'write the table, a plot and all raw values into a folder, after each part').preset(
        'docs/bench',
      ),
    )
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit bench --checkpoint ./checkpoint --quick
  $ edge-dit bench --model ./models/emoji-w4a8 --host workerd --save ./results`,
    )
    .action((flags: BenchFlags) => run(flags, session));
}

async function run(flags: BenchFlags, session: Session): Promise<void> {
  const { output, signal } = session;
  if (flags.checkpoint === undefined && flags.model === undefined) {
    throw new EdgeDitError('invalid-argument', 'bench needs --checkpoint <folder> or --model <model>.');
  }
  const size: Size = flags.quick ? 'quick' : flags.full ? 'full' : 'usual';
  // They bring bundlers and a browser: imported when they are needed.
  const [{ bench }, { plans }, { hostsNamed }, { nodeHost }, subjects, { markdownOf }, { saveReport }] =
    await Promise.all([
      import('../../bench/bench.ts'),
      import('../../bench/plan.ts'),
      import('../../bench/hosts/index.ts'),
      import('../../bench/hosts/node.ts'),
      import('../../bench/subject.ts'),
      import('../../bench/report/markdown.ts'),
      import('../../bench/report/save.ts'),
    ]);
  const plan = plans[size];
  const chosen = flags.host ?? (flags.node ? [] : size === 'quick' ? (['workerd'] as const) : HOSTS);
  const hosts = [...hostsNamed(chosen), ...(flags.node ?? []).map((path) => nodeHost(path))];
  output.note('preparing the model');
  const subject = await (async () => {
    if (flags.checkpoint !== undefined) return subjects.subjectFromCheckpoint(flags.checkpoint, plan.forms);
    const { store, model } = await resolveModel(flags.model!, { signal });
    return subjects.subjectFromModel(flags.model!, store, model);
  })();
  try {
    const onProgress = (line: string) => {
      // Each Miniflare hooks them.
      session.takeInterrupts();
      output.note(line);
    };
    let saved: readonly string[] = [];
    // After each part: a benchmark that is stopped leaves what it measured.
    const onPart = async (report: BenchReport) => {
      if (flags.save !== undefined) saved = await saveReport(report, flags.save);
    };
    const report = await bench({ subject, size, plan, parts: flags.part, hosts, signal, onProgress, onPart });
    output.result({ json: report, text: [markdownOf(report)] });
    for (const path of saved) output.note(`wrote ${path}`);
  } finally {
    await subject.close();
  }
}
