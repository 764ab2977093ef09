/** An evaluation as files of a folder: `report.json`, `report.md`, `contact-sheet.html` and `contact-sheet.png`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { contactSheetHtml, contactSheetPng } from './contact-sheet.ts';
import type { Evaluation } from './evaluate.ts';
import { serializeReport } from './report.ts';
import { reportMarkdown } from './report-markdown.ts';

/** What fits in a line of a page. */
const PNG_PICTURES = 16;

/**
 * @param pictures how many the page shows, from the first on
 * @returns the paths, of files that may have been there and are replaced
 */
export async function saveEvaluation(evaluation: Evaluation, folder: string, pictures?: number): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const files = {
    'report.json': serializeReport(evaluation.report),
    'report.md': reportMarkdown(evaluation.report),
    'contact-sheet.html': await contactSheetHtml(evaluation, { pictures }),
    'contact-sheet.png': await contactSheetPng(evaluation, {
      pictures: Math.min(pictures ?? PNG_PICTURES, PNG_PICTURES),
    }),
  };
  const paths = Object.keys(files).map((name) => join(folder, name));
  await Promise.all(Object.values(files).map((content, i) => writeFile(paths[i], content)));
  return paths;
}
