/** Two kinds of plot as SVG elements: grouped bars from zero, and lines over logarithmic axes. Nothing but strings. */

export interface Bar {
  readonly series: string;
  readonly value: number;
}

export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
}

export interface Panel {
  readonly height: number;
  /** SVG elements in a box of `WIDTH` by `height`. */
  readonly elements: readonly string[];
}

export const WIDTH = 960;
const LEFT = 60;
const TOP = 60;
const PLOT_HEIGHT = 220;
const PLOT_WIDTH = WIDTH - LEFT - 20;
/** Told apart by people who do not see all colours (Okabe and Ito, 2008). */
const COLOURS = ['#0072b2', '#56b4e9', '#009e73', '#999999', '#d55e00', '#e69f00', '#cc79a7', '#f0e442', '#000000'];
const TICKS = 4;

export function svgOf(panels: readonly Panel[]): string {
  let top = 0;
  const placed = panels.map(({ height, elements }) => {
    const group = `<g transform="translate(0 ${top})">\n${elements.join('\n')}\n</g>`;
    top += height;
    return group;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${top}" fill="#ffffff"/>`,
    ...placed,
    '</svg>',
    '',
  ].join('\n');
}

export function barPanel(title: string, groups: readonly BarGroup[]): Panel {
  const series = [...new Set(groups.flatMap(({ bars }) => bars.map((bar) => bar.series)))];
  const most = roundedUp(Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value))));
  const y = (value: number) => TOP + PLOT_HEIGHT * (1 - value / most);
  const elements = [...heading(title, series)];
  for (let tick = 0; tick <= TICKS; tick++) {
    const value = (most * tick) / TICKS;
    elements.push(
      line(LEFT, y(value), LEFT + PLOT_WIDTH, y(value), '#dddddd'),
      text(LEFT - 6, y(value) + 4, figure(value), 'end'),
    );
  }
  const groupWidth = PLOT_WIDTH / groups.length;
  groups.forEach(({ label, bars }, i) => {
    const left = LEFT + i * groupWidth;
    const width = (0.86 * groupWidth) / bars.length;
    bars.forEach(({ series: name, value }, j) => {
      const x = left + 0.07 * groupWidth + j * width;
      elements.push(
        `<rect x="${fixed(x)}" y="${fixed(y(value))}" width="${fixed(0.9 * width)}" height="${fixed(y(0) - y(value))}" fill="${colourOf(series, name)}"><title>${escaped(`${label}, ${name}: ${figure(value)}`)}</title></rect>`,
        text(x + 0.45 * width, y(value) - 3, figure(value), 'middle', 8),
      );
    });
    elements.push(text(left + groupWidth / 2, TOP + PLOT_HEIGHT + 16, label, 'middle'));
  });
  return { height: TOP + PLOT_HEIGHT + 40, elements };
}

export interface Line {
  readonly series: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export function logPanel(title: string, lines: readonly Line[], xLabel: string): Panel {
  const all = lines.flatMap(({ points }) => points);
  const scale = (axis: 0 | 1, from: number, to: number) => {
    const logs = all.map((point) => Math.log(point[axis]));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    return (value: number) => from + ((Math.log(value) - low) / (high - low || 1)) * (to - from);
  };
  const x = scale(0, LEFT + 20, LEFT + PLOT_WIDTH - 20);
  const y = scale(1, TOP + PLOT_HEIGHT - 10, TOP + 20);
  const series = lines.map((one) => one.series);
  const bottom = TOP + PLOT_HEIGHT;
  const elements = [...heading(title, series), line(LEFT, bottom, LEFT + PLOT_WIDTH, bottom, '#888888')];
  for (const value of new Set(all.map(([at]) => at)))
    elements.push(text(x(value), bottom + 14, figure(value), 'middle'));
  elements.push(text(LEFT + PLOT_WIDTH / 2, bottom + 30, xLabel, 'middle'));
  for (const { series: name, points } of lines) {
    const colour = colourOf(series, name);
    const path = points.map(([px, py]) => `${fixed(x(px))},${fixed(y(py))}`).join(' ');
    elements.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [px, py] of points) {
      elements.push(
        `<circle cx="${fixed(x(px))}" cy="${fixed(y(py))}" r="3" fill="${colour}"/>`,
        text(x(px), y(py) - 7, figure(py), 'middle', 9),
      );
    }
  }
  return { height: bottom + 45, elements };
}

function heading(title: string, series: readonly string[]): string[] {
  const step = PLOT_WIDTH / Math.max(series.length, 1);
  return [
    `<text x="${LEFT}" y="22" font-size="14" font-weight="bold">${escaped(title)}</text>`,
    ...series.flatMap((name, i) => [
      `<rect x="${fixed(LEFT + i * step)}" y="32" width="10" height="10" fill="${colourOf(series, name)}"/>`,
      text(LEFT + i * step + 13, 40, name, 'start', 9),
    ]),
  ];
}

const colourOf = (series: readonly string[], name: string) => COLOURS[series.indexOf(name) % COLOURS.length];
const fixed = (value: number) => value.toFixed(1);
const figure = (value: number) => (value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2));

function roundedUp(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value)) / 2;
  return Math.ceil(value / unit) * unit;
}

function text(x: number, y: number, content: string, anchor: string, size = 11): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}" font-size="${size}">${escaped(content)}</text>`;
}

const line = (x1: number, y1: number, x2: number, y2: number, colour: string) =>
  `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" stroke="${colour}"/>`;

const escaped = (content: string) => content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
