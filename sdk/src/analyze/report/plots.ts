/**
 * Plots as SVG elements in the colours of the page that holds them, light or dark: `--series-N`, `--grid`, `--text`. Lines
 * over numbers, dots by section, and maps of shades. Nothing but strings.
 */

export interface Series {
  readonly name: string;
  /** By position; what is not there is left out. */
  readonly values: readonly (number | undefined)[];
}

export interface Axes {
  /** What the plot shows, for those who do not see it. */
  readonly label: string;
  /** Of the values. */
  readonly unit: string;
  /** Values over decades; all are above 0. */
  readonly log: boolean;
}

/** Consecutive positions under one name. */
export interface Section {
  readonly name: string;
  readonly length: number;
}

const WIDTH = 960;
const HEIGHT = 330;
const LEFT = 64;
const RIGHT = 12;
const TOP = 34;
const BOTTOM = 44;
const PLOT_WIDTH = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT = HEIGHT - TOP - BOTTOM;
/** A letter of 10 pixels is about this wide. */
const LETTER = 5.6;
const CELL_HEIGHT = 13;
const SHADES = 6;
/** Beyond this ratio, a logarithmic scale counts in powers of ten. */
const WIDE = 300;

/** Lines from position to position; every position has a label, of which those that fit are written. */
export function linePlot(axes: Axes, labels: readonly string[], series: readonly Series[], xTitle: string): string {
  const count = labels.length;
  const x = (i: number) => LEFT + (count === 1 ? PLOT_WIDTH / 2 : (i * PLOT_WIDTH) / (count - 1));
  const every = Math.ceil((count * LETTER * (Math.max(...labels.map(({ length }) => length)) + 2)) / PLOT_WIDTH);
  const ticks = labels.flatMap((label, i) =>
    i % every === 0
      ? [text(x(i), HEIGHT - BOTTOM + 14, label, i === 0 ? 'start' : i === count - 1 ? 'end' : 'middle')]
      : [],
  );
  const lines = (y: (value: number) => number) =>
    series.flatMap(({ values }, s) => marks(values, s, x, y, labels, [count]));
  return plot(axes, series, lines, [...ticks, text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, xTitle, 'middle')]);
}

/** Lines within each section, such as one kind of layer through the blocks. */
export function sectionPlot(
  axes: Axes,
  labels: readonly string[],
  sections: readonly Section[],
  series: readonly Series[],
): string {
  const x = (i: number) => LEFT + ((i + 0.5) * PLOT_WIDTH) / labels.length;
  const starts = sections.map((_, i) => sections.slice(0, i).reduce((sum, { length }) => sum + length, 0));
  const names = sections.flatMap(({ name, length }, i) => {
    const [from, to] = [x(starts[i] - 0.5), x(starts[i] + length - 0.5)];
    const fits = Math.max(3, Math.floor((to - from) / LETTER));
    const line = i === 0 ? [] : [rule(from, TOP, from, HEIGHT - BOTTOM + 18)];
    const short = name.length > fits ? `${name.slice(0, fits - 1)}…` : name;
    return [...line, text((from + to) / 2, HEIGHT - BOTTOM + 14 + 12 * (i % 2), short, 'middle', name)];
  });
  const lengths = sections.map(({ length }) => length);
  const lines = (y: (value: number) => number) =>
    series.flatMap(({ values }, s) => marks(values, s, x, y, labels, lengths));
  return plot(axes, series, lines, names);
}

export interface MapRow {
  readonly name: string;
  readonly values: readonly number[];
}

/** One row of cells each, darker or lighter by value; the same scale in all rows. */
export function shadeMap(
  label: string,
  rows: readonly MapRow[],
  labels: readonly string[],
  [low, high]: readonly [number, number],
): string {
  const left = 14 + LETTER * Math.max(...rows.map(({ name }) => name.length));
  const width = (WIDTH - left - RIGHT) / labels.length;
  const shade = (value: number) =>
    Math.min(SHADES - 1, Math.max(0, Math.floor(((value - low) / (high - low || 1)) * SHADES)));
  const height = TOP + rows.length * CELL_HEIGHT + 20;
  const legend = Array.from({ length: SHADES }, (_, i) => {
    const at = left + i * 90;
    const from = low + (i * (high - low)) / SHADES;
    return `<rect x="${fixed(at)}" y="8" width="12" height="12" class="shade-${i}"/>${text(at + 16, 18, i === 0 ? `below ${figure(low + (high - low) / SHADES)}` : `from ${figure(from)}`, 'start')}`;
  });
  const cells = rows.flatMap(({ name, values }, row) => {
    const y = TOP + row * CELL_HEIGHT;
    // What all steps share is one cell as wide as all.
    const cell = values.length === 1 ? width * labels.length : width;
    return [
      text(left - 8, y + 10, name, 'end'),
      ...values.map(
        (value, i) =>
          `<rect x="${fixed(left + i * cell)}" y="${y}" width="${fixed(cell)}" height="${CELL_HEIGHT}" class="shade-${shade(value)}">${title(`${name}, ${values.length === 1 ? 'all steps' : labels[i]}: ${figure(value)}`)}</rect>`,
      ),
    ];
  });
  const ends = [text(left, height - 6, labels[0], 'start'), text(WIDTH - RIGHT, height - 6, labels.at(-1)!, 'end')];
  return svg(label, height, [...legend, ...cells, ...ends]);
}

function plot(
  axes: Axes,
  series: readonly Series[],
  draw: (y: (value: number) => number) => string[],
  below: readonly string[],
): string {
  const all = series.flatMap(({ values }) =>
    values.filter((value): value is number => value !== undefined && (!axes.log || value > 0)),
  );
  const { ticks, at } = axes.log ? logScale(all) : linearScale(all);
  const y = (value: number) => TOP + PLOT_HEIGHT * (1 - Math.min(1, Math.max(0, at(value))));
  const grid = ticks.flatMap((value) => [
    rule(LEFT, y(value), LEFT + PLOT_WIDTH, y(value)),
    text(LEFT - 6, y(value) + 4, figure(value), 'end'),
  ]);
  let left = LEFT;
  const legend = series.map(({ name }, s) => {
    const here = left;
    left += 30 + LETTER * name.length;
    return `<circle cx="${fixed(here + 5)}" cy="14" r="5" class="dot-${s}"/>${text(here + 14, 18, name, 'start')}`;
  });
  return svg(axes.label, HEIGHT, [...grid, ...legend, text(WIDTH - RIGHT, 18, axes.unit, 'end'), ...draw(y), ...below]);
}

/** A dot for each value, and lines between those of a section. */
function marks(
  values: Series['values'],
  index: number,
  x: (i: number) => number,
  y: (value: number) => number,
  labels: readonly string[],
  lengths: readonly number[],
): string[] {
  const out: string[] = [];
  let from = 0;
  for (const length of lengths) {
    const points = values
      .slice(from, from + length)
      .flatMap((value, i) =>
        value === undefined ? [] : [{ at: `${fixed(x(from + i))} ${fixed(y(value))}`, i: from + i, value }],
      );
    if (points.length > 1)
      out.push(`<polyline points="${points.map(({ at }) => at.replace(' ', ',')).join(' ')}" class="line-${index}"/>`);
    for (const { at, i, value } of points) {
      const [cx, cy] = at.split(' ');
      out.push(
        `<circle cx="${cx}" cy="${cy}" r="3" class="dot-${index}">${title(`${labels[i]}: ${figure(value)}`)}</circle>`,
      );
    }
    from += length;
  }
  return out;
}

interface Scale {
  readonly ticks: readonly number[];
  /** 0 at the bottom, 1 at the top. */
  readonly at: (value: number) => number;
}

/** From the last tick below all values to the first above them; a wide scale has ticks at powers of ten alone. */
function logScale(values: readonly number[]): Scale {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const powers = Array.from({ length: 40 }, (_, i) => 10 ** (i - 20));
  const all = most / least > WIDE ? powers : powers.flatMap((power) => [power, 2 * power, 5 * power]);
  const above = all.findIndex((tick) => tick >= most);
  const ticks = all.slice(
    Math.min(
      all.findLastIndex((tick) => tick <= least),
      above - 1,
    ),
    above + 1,
  );
  const low = Math.log10(ticks[0]);
  const span = Math.log10(ticks.at(-1)!) - low;
  return { ticks, at: (value) => (Math.log10(value) - low) / span };
}

/** From 0. */
function linearScale(values: readonly number[]): Scale {
  const most = Math.max(...values, 1e-12);
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [0.2, 0.5, 1, 2].map((factor) => factor * power).find((size) => most / size <= 6)!;
  const top = Math.ceil(most / step) * step;
  return { ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step), at: (value) => value / top };
}

function svg(label: string, height: number, elements: readonly string[]): string {
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(label)}">`,
    ...elements,
    '</svg>',
  ].join('\n');
}

/** Three digits, or an exponent for the very small. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1);
  return size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

export const escaped = (content: string) =>
  content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');

const fixed = (value: number) => value.toFixed(1);
const title = (content: string) => `<title>${escaped(content)}</title>`;
const rule = (x1: number, y1: number, x2: number, y2: number) =>
  `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" class="grid"/>`;
const text = (x: number, y: number, content: string, anchor: string, full = '') =>
  `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escaped(content)}${full === content || full === '' ? '' : title(full)}</text>`;
