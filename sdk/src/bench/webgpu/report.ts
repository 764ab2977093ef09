/** A report in Markdown: what was measured, and the goals that it meets or not. */
import type { WebGpuReport } from './measure.ts';
import type { ProductFigure } from './products.ts';
import type { StepFigure } from './steps.ts';

/** At least twice float32; at least half of the ceiling from so many rows on; a step at most so many times its products. */
const [TIMES_FLOAT, OF_CEILING, CEILING_ROWS, OF_PRODUCTS] = [2, 0.5, 1024, 1.5];

const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const mark = (met: boolean) => (met ? '' : ' (missed)');

export function markdownOf(report: WebGpuReport): string {
  const { adapter, host, date, ceilings, products, steps } = report;
  return `# The WebGPU engine

${adapter}; ${host} with npm \`webgpu\`; ${date}; by \`npm run bench:webgpu -- --save\`.
Times are of the GPU, by timestamps: medians of 25 dispatches, or of 7 steps. Rates are 10^12 multiplications with addition a second.
Before each product the GPU is kept busy for some tens of milliseconds, so that its clocks are up; steps are timed as they come.

## Ceilings

${table(
  ['loop of nothing else', 'measured'],
  [
    ['dot4I8Packed', `${ceilings.packedDot.toFixed(1)} T/s`],
    ['float32 fma', `${ceilings.f32.toFixed(1)} T/s`],
    ...(ceilings.f16 ? [['float16 fma, in pairs', `${ceilings.f16.toFixed(1)} T/s`]] : []),
    ['memory, read and written', `${ceilings.memory.toFixed(0)} GB/s`],
  ],
)}

## Products

Of float32 and float16 the fastest of five tiles, in kernels of the same make. *Ceiling*: of dot4I8Packed.

${productTable(products, ceilings.packedDot)}

## Steps

Networks of random weights, two samples a step. *Step*: of the GPU, in one submission. *Products*: the sum of its linear layers.
*Wall*: with recording, submission and reading the answer.

${table(
  [
    'network',
    'weights',
    'attention',
    'step, ms',
    'products, ms',
    'ratio',
    'wall, ms',
    'of it submission',
    'dispatches',
    'MB',
  ],
  steps.map((step) => [
    step.model,
    `W${step.bits}A8`,
    step.attention,
    step.device.toFixed(2),
    step.products.toFixed(2),
    `${(step.device / step.products).toFixed(2)}${mark(step.device <= OF_PRODUCTS * step.products)}`,
    step.wall.toFixed(1),
    step.submit?.toFixed(1) ?? '',
    String(step.dispatches),
    (step.bytes / 1e6).toFixed(0),
  ]),
)}

${partsTable(steps)}

Raw values: [results.json](results.json).
`;
}

function productTable(products: readonly ProductFigure[], ceiling: number): string {
  const same = (a: ProductFigure, b: ProductFigure) =>
    a.rows === b.rows && a.columns === b.columns && a.inputs === b.inputs;
  const firsts = products.filter((product, i) => products.findIndex((other) => same(product, other)) === i);
  const rows = firsts.map((first) => {
    const of = (kind: string) => products.find((product) => product.kind === kind && same(product, first));
    const [w4, w8, fp32, fp16] = ['W4A8', 'W8A8', 'fp32', 'fp16'].map(of);
    const cell = (figure?: ProductFigure) => (figure ? figure.rate.toFixed(1) : '');
    const against = (figure?: ProductFigure) => {
      if (!figure || !fp32) return '';
      const times = fp32.nanoseconds / figure.nanoseconds;
      return `${times.toFixed(2)}${mark(times >= TIMES_FLOAT)}`;
    };
    const share = (figure?: ProductFigure) => {
      if (!figure) return '';
      const part = figure.rate / ceiling;
      return `${(100 * part).toFixed(0)}%${mark(part >= OF_CEILING || figure.rows < CEILING_ROWS)}`;
    };
    const shape = `${first.rows} x ${first.columns} x ${first.inputs}`;
    return [shape, ...[w4, w8, fp32, fp16].map(cell), against(w4), against(w8), share(w4), share(w8)];
  });
  const head = ['rows x outputs x inputs', 'W4A8', 'W8A8', 'fp32', 'fp16', 'W4A8 / fp32', 'W8A8 / fp32'];
  return table([...head, 'W4A8 of ceiling', 'W8A8 of ceiling'], rows);
}

function partsTable(steps: readonly StepFigure[]): string {
  const kinds = [...new Set(steps.flatMap(({ parts }) => Object.keys(parts)))];
  return table(
    ['milliseconds by kernel', ...kinds],
    steps.map(({ model, bits, parts }) => [
      `${model} W${bits}A8`,
      ...kinds.map((kind) => parts[kind]?.toFixed(2) ?? ''),
    ]),
  );
}
