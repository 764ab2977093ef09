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
Times are of the GPU, by timestamps: medians of 15 rounds, or of 7 steps. Rates are 10^12 multiplications with addition a second.
Before the products of a shape the GPU is kept busy for a fifth of a second, so that its clocks are up; steps are timed as they come.

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

*ORT*: MatMul of onnxruntime-web's WebGPU provider on the same device, operands and result in its memory, timestamps around the
provider's own passes, the GPU kept busy before each run. *Own*: kernels of the same make as ours, in float32 and float16, the fastest of
five tiles. *Ceiling*: the loop of dot4I8Packed. All of a shape but ORT's take turns with each other and with that loop, so that the clocks
of a moment are those of all.

${rateTable(products)}

${ratioTable(products)}

## Steps

Two samples a step; of random weights but for the emoji model as it is published. *Step*: of the GPU, in one submission. *Products*: the sum of its linear layers.
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
    step.weights,
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

const KINDS = ['W4A8', 'W8A8', 'ort fp32', 'ort fp16', 'fp32', 'fp16'] as const;

type OfKind = (kind: ProductFigure['kind']) => ProductFigure | undefined;

/** A row for each shape. */
function shapeTable(products: readonly ProductFigure[], head: readonly string[], cells: (of: OfKind) => string[]) {
  const name = ({ rows, columns, inputs }: ProductFigure) => `${rows} x ${columns} x ${inputs}`;
  const shapes = [...new Set(products.map(name))];
  const rows = shapes.map((shape) => [
    shape,
    ...cells((kind) => products.find((product) => product.kind === kind && name(product) === shape)),
  ]);
  return table(['rows x outputs x inputs', ...head], rows);
}

const rateTable = (products: readonly ProductFigure[]) =>
  shapeTable(products, ['W4A8', 'W8A8', 'ORT fp32', 'ORT fp16', 'own fp32', 'own fp16', 'ceiling'], (of) => [
    ...KINDS.map((kind) => of(kind)?.rate.toFixed(1) ?? ''),
    of('W4A8')?.ceiling?.toFixed(1) ?? '',
  ]);

function ratioTable(products: readonly ProductFigure[]): string {
  const head = [
    'W4A8 / ORT fp32',
    'W8A8 / ORT fp32',
    'W4A8 / own fp32',
    'W8A8 / own fp32',
    'W4A8 of ceiling',
    'W8A8 of ceiling',
  ];
  return shapeTable(products, head, (of) => {
    const [w4, w8] = [of('W4A8'), of('W8A8')];
    const against = (figure?: ProductFigure, float?: ProductFigure) => {
      if (!figure || !float) return '';
      const times = float.nanoseconds / figure.nanoseconds;
      return `${times.toFixed(2)}${mark(times >= TIMES_FLOAT)}`;
    };
    const share = (figure?: ProductFigure) => {
      if (!figure?.ceiling) return '';
      const part = figure.rate / figure.ceiling;
      return `${(100 * part).toFixed(0)}%${mark(part >= OF_CEILING || figure.rows < CEILING_ROWS)}`;
    };
    const floats = [of('ort fp32'), of('fp32')];
    return [...floats.flatMap((float) => [against(w4, float), against(w8, float)]), share(w4), share(w8)];
  });
}

function partsTable(steps: readonly StepFigure[]): string {
  const kinds = [...new Set(steps.flatMap(({ parts }) => Object.keys(parts)))];
  return table(
    ['milliseconds by kernel', ...kinds],
    steps.map(({ model, weights, parts }) => [
      `${model} ${weights}`,
      ...kinds.map((kind) => parts[kind]?.toFixed(2) ?? ''),
    ]),
  );
}
