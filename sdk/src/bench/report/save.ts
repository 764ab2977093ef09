/** A report as files: `README.md`, `bench.svg`, and `results/bench.json` with all raw values. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchReport } from '../bench.ts';
import { markdownOf } from './markdown.ts';
import { plotOf } from './plot.ts';

/** @returns the paths, of files that may have been there and are replaced */
export async function saveReport(report: BenchReport, folder: string): Promise<string[]> {
  await mkdir(join(folder, 'results'), { recursive: true });
  const links = '![The figures as a plot](bench.svg)\n\nRaw values: [results/bench.json](results/bench.json).\n';
  const files = {
    'README.md': `${markdownOf(report).trimEnd()}\n\n${links}`,
    'bench.svg': plotOf(report),
    'results/bench.json': `${JSON.stringify(report, null, 1)}\n`,
  };
  return Promise.all(
    Object.entries(files).map(async ([name, content]) => {
      const path = join(folder, name);
      await writeFile(path, content);
      return path;
    }),
  );
}
