/** Pictures beside each other: as one PNG, a row for each model, and as a page, a row for each prompt. */
import { encodePng, type Picture, pictureOf } from '@edge-dit/runtime/picture';
import type { Evaluation } from './evaluate.ts';
import { decibels, percent, similarity } from './figures-text.ts';
import type { KeptPicture } from './picture-cache.ts';
import { channelsOf, shown } from './picture-values.ts';

/** How many times as large as it is a difference is shown; black is none. */
export const AMPLIFIED = 8;

export interface SheetOptions {
  /** Pictures that are shown, from the first on. Default: all. */
  readonly pictures?: number;
}

export interface PngSheetOptions extends SheetOptions {
  /** Names of the models that are shown. Default: all. */
  readonly models?: readonly string[];
}

/** The float pictures in the first row, then a row for each model. */
export async function contactSheetPng(evaluation: Evaluation, options: PngSheetOptions = {}): Promise<Uint8Array> {
  const { reference, models } = evaluation.report;
  const indices = shownIndices(evaluation, options);
  const cells: Picture[] = [];
  const shownModels = models.filter(({ model }) => options.models?.includes(model) ?? true);
  for (const { digest } of [reference, ...shownModels]) {
    for (const index of indices) cells.push(asPicture(await evaluation.picture(digest, index)));
  }
  return encodePng(sideBySide(cells, indices.length));
}

/** A page that needs no other file. */
export async function contactSheetHtml(evaluation: Evaluation, options: SheetOptions = {}): Promise<string> {
  const { report } = evaluation;
  const indices = shownIndices(evaluation, options);
  const rows: string[] = [];
  for (const index of indices) rows.push(await row(evaluation, index));
  const heads = report.models.map(
    ({ model, psnr, ratio }) =>
      `<th colspan="2">${escaped(model)}<small>mean ${decibels(psnr.mean)} dB, worst ${decibels(psnr.worst)} dB, ${percent(ratio)} of float16</small></th>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Float32 beside quantized</title>
<style>${STYLE}</style>
<h1>Float32 beside quantized</h1>
<p>${report.steps} steps, guidance ${report.guidance}, the same noise in a row; ${indices.length} of ${report.requests.length} pictures.
Beside each quantized picture is its difference from float32, ${AMPLIFIED} times as large: black where they are equal.
PSNR in dB and SSIM are better when larger, GMSD when smaller.</p>
<table>
<thead><tr><th>${escaped(report.reference.model)}</th>${heads.join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
</html>
`;
}

async function row({ report, picture }: Evaluation, index: number): Promise<string> {
  const { condition, seed } = report.requests[index];
  const label = escaped(typeof condition === 'string' ? condition : `class ${condition}`);
  const exact = await picture(report.reference.digest, index);
  const cells = [`<td>${image(asPicture(exact), `${label}, float32`)}<p>${label}, seed ${seed}</p></td>`];
  for (const { model, digest, pictures } of report.models) {
    const got = await picture(digest, index);
    const figures = pictures[index];
    const name = escaped(model);
    cells.push(
      `<td>${image(asPicture(got), `${label}, ${name}`)}<p>${decibels(figures.psnr)} dB</p></td>`,
      `<td>${image(differenceOf(got, exact), `difference of ${name}`)}<p>SSIM ${similarity(figures.ssim)}<br>GMSD ${similarity(figures.gmsd)}</p></td>`,
    );
  }
  return `<tr>${cells.join('\n')}</tr>`;
}

function shownIndices({ report }: Evaluation, { pictures = report.requests.length }: SheetOptions): number[] {
  return [...report.requests.keys()].slice(0, pictures);
}

const asPicture = (kept: KeptPicture): Picture => pictureOf(kept.values, channelsOf(kept), kept.height, kept.width);

function differenceOf(got: KeptPicture, exact: KeptPicture): Picture {
  // -1 is black.
  const values = got.values.map((value, i) => AMPLIFIED * Math.abs(shown(value) - shown(exact.values[i])) - 1);
  return asPicture({ ...got, values });
}

function image(picture: Picture, alt: string): string {
  const { width, height } = picture;
  const data = Buffer.from(encodePng(picture)).toString('base64');
  return `<img alt="${alt}" width="${width}" height="${height}" src="data:image/png;base64,${data}">`;
}

const escaped = (text: string) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Pictures of one size, so many in a row. */
function sideBySide(cells: readonly Picture[], columns: number): Picture {
  const { width, height } = cells[0];
  const rows = Math.ceil(cells.length / columns);
  const rgb = new Uint8Array(3 * width * columns * height * rows).fill(255);
  cells.forEach((cell, i) => {
    for (let y = 0; y < height; y++) {
      const at = ((Math.floor(i / columns) * height + y) * columns + (i % columns)) * width;
      rgb.set(cell.rgb.subarray(3 * y * width, 3 * (y + 1) * width), 3 * at);
    }
  });
  return { width: width * columns, height: height * rows, rgb };
}

/** Small pictures are enlarged, each pixel a square. */
const STYLE = `
:root { color-scheme: light dark; --line: #d0d0d0; --soft: #606060; }
@media (prefers-color-scheme: dark) { :root { --line: #404040; --soft: #a8a8a8; } }
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; background: Canvas; color: CanvasText; }
h1 { font-size: 1.4em; }
body > p { max-width: 60em; }
table { border-collapse: collapse; }
th { position: sticky; top: 0; background: Canvas; text-align: left; }
th, td { padding: 4px; border-bottom: 1px solid var(--line); vertical-align: top; }
td:nth-child(even), th + th { padding-left: 16px; }
small { display: block; font-weight: normal; color: var(--soft); }
td p { margin: 2px 0; font-size: 12px; color: var(--soft); max-width: 128px; font-variant-numeric: tabular-nums; }
img { display: block; min-width: 128px; height: auto; image-rendering: pixelated; }
`;
