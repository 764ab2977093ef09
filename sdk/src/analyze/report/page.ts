/** A page that needs no other file, for light and dark screens: headings, paragraphs, plots and the tables under them. */
import { escaped, figure } from './plots.ts';

export interface Column {
  readonly title: string;
  /** Numbers are written with three digits. */
  readonly cells: readonly (string | number | undefined)[];
}

export function table(columns: readonly Column[]): string {
  const heads = columns.map(({ title }) => `<th scope="col">${escaped(title)}</th>`).join('');
  const rows = columns[0].cells.map((_, row) => `<tr>${columns.map(({ cells }) => cell(cells[row])).join('')}</tr>`);
  return `<div class="table"><table><thead><tr>${heads}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>`;
}

function cell(value: string | number | undefined): string {
  if (typeof value === 'string') return `<th scope="row">${escaped(value)}</th>`;
  return `<td>${value === undefined ? '' : figure(value)}</td>`;
}

export const paragraph = (content: string) => `<p>${escaped(content)}</p>`;

export function section(title: string, ...parts: readonly string[]): string {
  return `<section>\n<h2>${escaped(title)}</h2>\n${parts.join('\n')}\n</section>`;
}

export function page(title: string, parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
${parts.join('\n')}
</body>
</html>
`;
}

/** Told apart by people who do not see all colours (Okabe and Ito, 2008); the dark ones are lighter. */
const SERIES = {
  light: ['#0072b2', '#d55e00', '#009e73', '#b0569b'],
  dark: ['#56b4e9', '#f0883e', '#2dc79a', '#e29ccb'],
};
/** From little to much. */
const SHADES = {
  light: ['#eef3f8', '#c9dcec', '#97bfdd', '#5a97c6', '#236ba6', '#0a3f73'],
  dark: ['#1a2430', '#20405c', '#2a6189', '#3f89b8', '#73b4dc', '#c4e2f7'],
};

const variables = (mode: 'light' | 'dark') =>
  [
    ...SERIES[mode].map((colour, i) => `--series-${i}:${colour}`),
    ...SHADES[mode].map((colour, i) => `--shade-${i}:${colour}`),
  ].join(';');

const STYLE = `
:root{color-scheme:light dark;--text:#1b1f24;--quiet:#57606a;--grid:#d8dee4;--ground:#ffffff;${variables('light')}}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--quiet:#9aa4af;--grid:#30363d;--ground:#0d1117;${variables('dark')}}}
body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,sans-serif}
h2{margin-top:2.5rem}
p{color:var(--quiet);max-width:48rem}
svg{width:100%;height:auto;display:block;margin:.5rem 0}
svg text{fill:var(--text);font:10px system-ui,sans-serif}
.grid{stroke:var(--grid)}
.table{max-height:22rem;overflow:auto;border:1px solid var(--grid)}
table{border-collapse:collapse;font-size:12px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.2rem .6rem;text-align:right;white-space:nowrap}
thead th{position:sticky;top:0;background:var(--ground);border-bottom:1px solid var(--grid)}
th[scope=row],th:first-child{text-align:left;font-weight:normal}
thead th,thead th:first-child{font-weight:600}
${SERIES.light.map((_, i) => `.dot-${i}{fill:var(--series-${i})}.line-${i}{fill:none;stroke:var(--series-${i});stroke-width:1.5}`).join('\n')}
${SHADES.light.map((_, i) => `.shade-${i}{fill:var(--shade-${i})}`).join('\n')}
`;
