/** A report in Markdown: what was measured, and the goals that it meets or not. */
import type { Ceilings } from './ceilings.ts';
import { attentionMs, type WebGpuReport } from './measure.ts';
import { COPIES, type ProductFigure, type RowFigure } from './products.ts';
import type { StepFigure } from './steps.ts';

/** At least twice float32; at least half of the ceiling from so many rows on; a step at most so many times its products. */
const [TIMES_FLOAT, OF_CEILING, CEILING_ROWS, OF_PRODUCTS] = [2, 0.5, 1024, 1.5];

const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const mark = (met: boolean) => (met ? '' : ' (missed)');

export function markdownOf(report: WebGpuReport): string {
  const { adapter, host, date, ceilings, floor, products } = report;
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
    ['a dispatch of nothing, apart', `${(floor.apart / 1000).toFixed(1)} us`],
    ['a dispatch of nothing, in a row', `${(floor.inRow / 1000).toFixed(1)} us`],
  ],
)}

## Products

*In a row*: ${COPIES} of the same product in one pass, each with an output of its own, divided by ${COPIES}: what a product takes within a step, whose
dispatches are one pass, too. *Apart*: one product in a pass of its own, with
timestamps around it, of which a dispatch of nothing takes ${(floor.apart / 1000).toFixed(1)} us. Goals are judged in a row,
where every kind is measured alike and what timestamps take is nobody's; apart is beside it.

*ORT*: MatMul of onnxruntime-web's WebGPU provider on the same device, operands and result in its memory, the GPU kept busy before. Apart, by timestamps
around the provider's own pass; in a row, by recording what the provider gives to the device for ${COPIES} MatMuls, and giving it once more in one pass. *Own*:
kernels of the same make as ours, in float32 and float16, the fastest of some tiles, apart and in a row. *Ceiling*: the loop of dot4I8Packed. All of a
shape but ORT's take turns with each other and with that loop, so that the clocks of a moment are those of all.

### In a row, T/s

${rateTable(products, inRow)}

${ratioTable(products, inRow, mark)}

### Apart, T/s

${rateTable(products, apart)}

${ratioTable(products, apart, () => '')}

${report.steps.length > 0 ? stepSection(report) : ''}
Raw values: [results.json](results.json).
`;
}

function stepSection(report: WebGpuReport): string {
  return `## Steps

Two samples a step; of random weights but for the emoji model as it is published. *Step*: of the GPU, in one submission and one pass. *Linears*: its linear layers and
nothing else, in one pass in their order. *QK, AV*: the two products of each attention as plain batched products of matrices and nothing else, in the same run and in a row: float32 for float
attention, int8 for int8, all heads in one dispatch, by the loop of the engine's products in the fastest of up to 18 tiles. *All*: linears, QK and AV, all matrix products
of the step; the goal is judged by these. *At the ceiling*: so, as if QK and AV were as fast as the loop of nothing else, which no product of such shapes is. Beside it
the ratio to the linears alone.
*Wall*: with recording, submission and reading the answer.

${stepTable(report)}

${attentionTable(report)}

${partsTable(report.steps)}
`;
}

function stepTable(report: WebGpuReport): string {
  const head = [
    'network',
    'weights',
    'attention',
    'step, ms',
    'linears, ms',
    'QK, AV, ms',
    'step / all',
    'at the ceiling',
    'step / linears',
    'wall, ms',
    'of it submission',
    'dispatches',
    'MB',
  ];
  const rows = report.steps.map((step) => {
    const attention = attentionMs(step, report);
    const all = step.linears + attention;
    const strict = step.linears + leastAttentionMs(step, report.ceilings);
    return [
      step.model,
      step.weights,
      step.attention,
      step.device.toFixed(2),
      step.linears.toFixed(2),
      attention.toFixed(2),
      `${(step.device / all).toFixed(2)}${mark(step.device <= OF_PRODUCTS * all)}`,
      (step.device / strict).toFixed(2),
      (step.device / step.linears).toFixed(2),
      step.wall.toFixed(1),
      step.submit?.toFixed(1) ?? '',
      String(step.dispatches),
      (step.bytes / 1e6).toFixed(0),
    ];
  });
  return table(head, rows);
}

/** Milliseconds of the products of a step's attentions at the ceiling. */
function leastAttentionMs({ attentions }: StepFigure, { packedDot, f32 }: Ceilings): number {
  const times = attentions.map(({ shape: { precision, heads, tokens, keys, depth }, calls }) => {
    const products = 2 * calls * heads * tokens * keys * depth;
    return products / (precision === 'int8' ? packedDot : f32) / 1e9;
  });
  return times.reduce((sum, time) => sum + time, 0);
}

/** Shares are of the loop of nothing else in the same numbers. */
function attentionTable({ attentions, ceilings }: WebGpuReport): string {
  const head = [
    'QK, AV: heads x tokens x keys x channels',
    'numbers',
    'QK, us',
    'T/s',
    'tile',
    'AV, us',
    'T/s',
    'tile',
  ];
  const rows = attentions.map(({ precision, heads, tokens, keys, depth, scores, values }) => {
    const ceiling = precision === 'int8' ? ceilings.packedDot : ceilings.f32;
    const cells = [scores, values].flatMap(({ inRow: nanoseconds, tile }) => {
      const rate = (heads * tokens * keys * depth) / nanoseconds / 1000;
      const share = ceiling > 0 ? ` (${((100 * rate) / ceiling).toFixed(0)}%)` : '';
      return [(nanoseconds / 1000).toFixed(0), `${rate.toFixed(1)}${share}`, tile];
    });
    return [`${heads} x ${tokens} x ${keys} x ${depth}`, precision === 'int8' ? 'int8' : 'float32', ...cells];
  });
  return table(head, rows);
}

/** How a product was timed. */
type Way = (figure: ProductFigure | undefined) => RowFigure | undefined;
const inRow: Way = (figure) => figure?.inRow;
const apart: Way = (figure) => figure;

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

const rateTable = (products: readonly ProductFigure[], way: Way) =>
  shapeTable(products, ['W4A8', 'W8A8', 'ORT fp32', 'ORT fp16', 'own fp32', 'own fp16', 'ceiling'], (of) => [
    ...KINDS.map((kind) => way(of(kind))?.rate.toFixed(1) ?? ''),
    way(of('W4A8'))?.ceiling?.toFixed(1) ?? '',
  ]);

function ratioTable(products: readonly ProductFigure[], way: Way, marked: typeof mark): string {
  const head = [
    'W4A8, us',
    'W4A8 / ORT fp32',
    'W8A8 / ORT fp32',
    'W4A8 / own fp32',
    'W8A8 / own fp32',
    'W4A8 of ceiling',
    'W8A8 of ceiling',
  ];
  return shapeTable(products, head, (of) => {
    const [w4, w8] = [way(of('W4A8')), way(of('W8A8'))];
    const rows = of('W4A8')?.rows ?? 0;
    const against = (figure?: RowFigure, float?: RowFigure) => {
      if (!figure || !float) return '';
      const times = float.nanoseconds / figure.nanoseconds;
      return `${times.toFixed(2)}${marked(times >= TIMES_FLOAT)}`;
    };
    const share = (figure?: RowFigure) => {
      if (!figure?.ceiling) return '';
      const part = figure.rate / figure.ceiling;
      return `${(100 * part).toFixed(0)}%${marked(part >= OF_CEILING || rows < CEILING_ROWS)}`;
    };
    const floats = [way(of('ort fp32')), way(of('fp32'))];
    const ratios = floats.flatMap((float) => [against(w4, float), against(w8, float)]);
    return [w4 ? (w4.nanoseconds / 1000).toFixed(1) : '', ...ratios, share(w4), share(w8)];
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
