/**
 * Compares ways to compute float attention on this machine, and what relaxed_madd would gain, and prints tables; `--save`
 * writes docs/bench/attention.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import { type AttentionFigure, compareAttention, compareProducts } from '@edge-dit/wasm-kernels/bench/attention-forms';

const ROUNDS = 9;
/** Of what takes less than some milliseconds. */
const SHORT_ROUNDS = 45;
/** Of this process, so that what else the machine does counts little. */
const processorTime = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const relaxed = supportedVariants().includes('relaxed');

/** Of models of width 384 and 1152. */
const SHAPES = [
  { heads: 6, depth: 64 },
  { heads: 16, depth: 72 },
].flatMap((width) => [256, 1024, 4096].map((tokens) => ({ tokens, ...width })));
const PRODUCTS = [
  [256, 384, 384],
  [256, 1536, 384],
  [256, 1152, 1152],
] as const;

const cell = ({ milliseconds }: AttentionFigure, { milliseconds: first }: AttentionFigure) =>
  `${milliseconds.toFixed(2)} (${(milliseconds / first).toFixed(2)})`;
const attention = SHAPES.map((shape) => {
  const figures = compareAttention(shape, relaxed, shape.tokens > 1024 ? ROUNDS : SHORT_ROUNDS, processorTime);
  const [rows, blocks] = figures;
  const { tokens, heads, depth } = shape;
  const kilobytes = [rows, blocks].map(({ scratchBytes }) => Math.round(scratchBytes / 1000));
  return `| ${[tokens, heads, depth, ...figures.map((figure) => cell(figure, rows)), ...kilobytes].join(' | ')} |`;
});
const products = relaxed
  ? PRODUCTS.map(([rows, outputs, inputs]) => {
      const [shipped, madd] = compareProducts(rows, outputs, inputs, SHORT_ROUNDS, processorTime);
      return `| ${rows} | ${outputs} | ${inputs} | ${shipped.toFixed(2)} | ${madd.toFixed(2)} (${(madd / shipped).toFixed(2)}) |`;
    })
  : [];
const forms = ['rows of scores', 'blocks of keys'];
const columns = ['tokens', 'heads', 'channels', ...forms, ...(relaxed ? forms.map((form) => `${form}, madd`) : [])];
const lines = [
  '# Float attention',
  '',
  `Milliseconds of the processor for one head of self-attention, and against the first column: medians of ${ROUNDS} to ${SHORT_ROUNDS} interleaved rounds, one thread.`,
  `Node ${process.version.slice(1)}, ${cpus()[0].model.trim()}, ${new Date().toISOString().slice(0, 10)}, by \`npm run compare:attention -- --save\`.`,
  '',
  '- *Rows of scores*: all scores of 48 queries, their softmax, their product with the values.',
  '- *Blocks of keys*: 96 queries by 256 keys at a time, with a running maximum and sum. The engine computes so.',
  '- *madd*: product and sum in one `f32x4.relaxed_madd`, tiles of 6 rows instead of 4. Not built: see below.',
  '',
  `| ${[...columns, 'kB of rows', 'kB of blocks'].join(' | ')} |`,
  `|${[...columns, '', ''].map(() => '---:').join('|')}|`,
  ...attention,
  '',
  'What a form holds beside inputs and output grows with the tokens, not with their square: the keys of one head in panels, and',
  'in the first form the scores of 48 queries. Blocks are about as fast up to 1024 tokens, and faster with more, because the values and',
  'scores of a block stay in the caches.',
  ...(relaxed
    ? [
        '',
        '## relaxed_madd',
        '',
        'Milliseconds of the processor for one float product, and against the first column:',
        '',
        '| rows | outputs | inputs | shipped | madd |',
        '|---:|---:|---:|---:|---:|',
        ...products,
        '',
        'The instruction rounds once or twice, as the processor likes, so pictures would differ from host to host. In a quantized step,',
        'float products are about 3 % of the time ([README.md](README.md)), so it could gain no more than that; in a float',
        'step it gains what is in these tables. It is worth an option only from 10 % of a step on.',
      ]
    : []),
];
console.log(lines.join('\n'));
if (process.argv.includes('--save')) {
  const folder = fileURLToPath(new URL('../../docs/bench/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}attention.md`, `${lines.join('\n')}\n`);
}
