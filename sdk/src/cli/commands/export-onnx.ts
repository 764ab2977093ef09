/** `edge-dit export-onnx`: a checkpoint's folder in, one ONNX file out. */
import { MAX_SAMPLE_SIZE } from '@edge-dit/runtime/models/config';
import type { Command } from 'commander';
import { openCheckpoint } from '../../checkpoint/checkpoint.ts';
import { exportOnnx } from '../../export-onnx/export-onnx.ts';
import { type LinearForm, linearFormByName, linearForms } from '../../export-onnx/linear-forms.ts';
import { prepareFolder, writeUserFile } from '../files.ts';
import { integer, lookup } from '../option-values.ts';
import type { Progress } from '../output.ts';
import { longBytes } from '../quantities.ts';
import type { Session } from '../session.ts';

const MAX_BATCH = 64;
const MAX_TOKENS = 4096;

interface ExportFlags {
  readonly form: LinearForm;
  readonly out: string;
  readonly batch?: number;
  readonly height?: number;
  readonly width?: number;
  readonly tokens?: number;
}

export function addExportOnnx(program: Command, session: Session): Command {
  return program
    .command('export-onnx')
    .summary('write a transformer as an ONNX model')
    .description(
      "Writes one forward of a checkpoint's transformer, for one batch and size, as an ONNX model that onnxruntime (web, too) runs. Inputs: sample, timestep, and encoder_hidden_states with encoder_attention_mask or class_labels; output: out_sample.",
    )
    .argument('<checkpoint>', "the pipeline's or the transformer's folder")
    .requiredOption(
      '--form <name>',
      `of the linear layers: ${linearForms.map(({ name }) => name).join(', ')}`,
      lookup(linearFormByName),
    )
    .requiredOption('--out <file>', 'the ONNX file to write')
    .option('--batch <n>', 'samples at once (default: 2, for guidance)', integer(1, MAX_BATCH))
    .option('--height <n>', "of a sample (default: the model's own)", integer(1, MAX_SAMPLE_SIZE))
    .option('--width <n>', "of a sample (default: the model's own)", integer(1, MAX_SAMPLE_SIZE))
    .option('--tokens <n>', "of a text (default: the tokenizer's)", integer(1, MAX_TOKENS))
    .addHelpText(
      'after',
      `
Forms:
${linearForms.map(({ name, summary }) => `  ${name.padEnd(12)}  ${summary}`).join('\n')}

Example:
  $ edge-dit export-onnx examples/emoji/model --form int8-dynamic --out emoji-int8.onnx`,
    )
    .action((checkpoint: string, flags: ExportFlags) => run(checkpoint, flags, session));
}

async function run(path: string, { form, out, ...wanted }: ExportFlags, { output, signal }: Session): Promise<void> {
  await prepareFolder('--out', out);
  const checkpoint = await openCheckpoint(path);
  let bar: Progress | undefined;
  try {
    const { bytes, shape, inputs } = await exportOnnx({
      checkpoint,
      form,
      shape: wanted,
      signal,
      onWeight: (done, total) => {
        bar ??= output.progress('exporting', total, 'tensors');
        bar.update(done);
      },
    });
    bar?.stop();
    await writeUserFile('--out', out, bytes);
    output.result({
      json: { checkpoint: path, form: form.name, out, bytes: bytes.length, shape, inputs },
      text: [
        `Wrote ${out}: ${checkpoint.architecture}, ${form.name}, ${longBytes(bytes.length)}`,
        ...inputs.map(({ name, type, dims }) => `  ${name.padEnd(22)}  ${type.padEnd(7)}  [${dims.join(', ')}]`),
      ],
      brief: [out],
    });
  } finally {
    bar?.stop();
    await checkpoint.close();
  }
}
