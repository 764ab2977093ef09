/** `edge-dit parity`: a checkpoint's float network against recorded inputs and outputs. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { ReferenceEngine } from '@edge-dit/runtime/engines/reference';
import { Meter } from '@edge-dit/runtime/meter';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import type { Command } from 'commander';
import { openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { parity } from '../../parity.ts';
import { readUserFile } from '../files.ts';
import { number, oneOf } from '../option-values.ts';
import type { Session } from '../session.ts';

/** One wasm memory is 4 GiB at most. */
const MAX_BYTES = 2 ** 32;

const engines: Readonly<Record<'wasm' | 'reference', () => Promise<Engine>>> = {
  wasm: async () => (await openWasmEngine(await compileKernels(), new Meter(MAX_BYTES))).engine,
  reference: async () => new ReferenceEngine(),
};

interface ParityFlags {
  readonly io: string;
  readonly engine: keyof typeof engines;
  readonly tolerance: number;
}

export function addParity(program: Command, session: Session): Command {
  return program
    .command('parity')
    .summary('compare the float network with recorded outputs')
    .description(
      'Runs the float network of a checkpoint on recorded inputs and prints the relative L2 error of its output and, where recorded, of its blocks. Exit code 1 when the error of the output is above the tolerance.',
    )
    .argument('<checkpoint>', "the pipeline's or the transformer's folder")
    .requiredOption('--io <file>', 'safetensors with in.<argument>, out.sample and, if any, mid.block<i>')
    .option('--engine <name>', 'wasm, or reference: plain loops, slow', oneOf('wasm', 'reference'), 'wasm')
    .option('--tolerance <error>', 'largest relative L2 error of the output', number(0, 1), 1e-4)
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit parity examples/emoji/model --io examples/emoji/fixtures/emoji-pixart-forward.safetensors`,
    )
    .action((checkpoint: string, flags: ParityFlags) => run(checkpoint, flags, session));
}

async function run(path: string, { io, engine, tolerance }: ParityFlags, session: Session): Promise<void> {
  const { output, signal } = session;
  const checkpoint = await openCheckpoint(path);
  try {
    const recorded = await readUserFile('--io', io);
    output.note(`running ${checkpoint.architecture} in float32 with the ${engine} engine`);
    const report = await parity(checkpoint, recorded, await engines[engine](), signal, `--io: ${io}`);
    // NaN is not within any tolerance.
    const ok = report.error <= tolerance;
    if (!ok) session.checkFailed();
    const lines = [...report.blocks, { name: 'output', error: report.error }].map(
      ({ name, error }) => `  ${name.padEnd(10)}  ${error.toExponential(3)}`,
    );
    output.result({
      json: { checkpoint: path, io, ...report, tolerance, ok },
      text: [
        `${checkpoint.architecture} with ${report.engine}, relative L2 error:`,
        ...lines,
        ok ? `  within the tolerance of ${tolerance}` : `  ABOVE the tolerance of ${tolerance}`,
      ],
      brief: [report.error.toExponential(3)],
    });
  } finally {
    await checkpoint.close();
  }
}
