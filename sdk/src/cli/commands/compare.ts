/** `edge-dit compare`: reports of `edge-dit eval` in, their models ranked out. */
import type { Command } from 'commander';
import { compareModels, comparisonMarkdown, type Order } from '../../evaluate/compare.ts';
import { parseReport } from '../../evaluate/report.ts';
import { readUserFile } from '../files.ts';
import { oneOf } from '../option-values.ts';
import type { Session } from '../session.ts';

export function addCompare(program: Command, session: Session): Command {
  return program
    .command('compare')
    .summary('rank evaluated models by quality, bytes and speed')
    .description(
      'Ranks the models of one or more reports of "edge-dit eval", and marks those to which no other is preferable in quality and bytes, or in quality and speed. The reports must be of the same pictures, made on the same machine. Prints a table in Markdown.',
    )
    .argument('<reports...>', 'report.json of "edge-dit eval"')
    .option('--by <figure>', 'order: psnr, bytes or speed', oneOf('psnr', 'bytes', 'speed'), 'psnr')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit compare ./evaluation/report.json --by bytes`,
    )
    .action((paths: string[], flags: { readonly by: Order }) => run(paths, flags.by, session));
}

async function run(paths: readonly string[], by: Order, { output }: Session): Promise<void> {
  const reports = [];
  for (const name of paths) {
    const text = new TextDecoder().decode(await readUserFile('report', name));
    reports.push({ name, report: parseReport(text, name) });
  }
  const models = compareModels(reports, by);
  output.result({
    json: { by, models },
    text: comparisonMarkdown(models),
    brief: models.map(({ model }) => model),
  });
}
