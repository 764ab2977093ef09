/** An analysis as one HTML page: what each figure means, its plot, and the numbers of the plot in a table. */
import {
  type Analysis,
  type AnalyzedLayer,
  type AnalyzedOperand,
  BITS,
  OUTPUT_FORMS,
  placeOf,
  TREATMENTS,
  type Treatment,
} from '../analysis.ts';
import { type Column, page, paragraph, section, table } from './page.ts';
import { figure, linePlot, type Section, sectionPlot, shadeMap } from './plots.ts';

const BOTH = ['W8A8', 'W6A6', 'W4A8'] as const;
/** Layers that the beginning names. */
const WORST = 5;

export function analysisHtml(analysis: Analysis): string {
  const { architecture, recipes } = analysis;
  return page(`Quantization of ${architecture}`, [
    ...overview(analysis),
    ...(recipes.length > 0 ? [recipesByStep(analysis), recipesByBlock(analysis)] : []),
    ...layerSections(inSections(analysis.layers, ({ name }) => placeOf(name))),
    ...operandSections(
      inSections(analysis.operands, ({ layers }) => ({ ...placeOf(layers[0]), part: partOf(layers) })),
      analysis,
    ),
  ]);
}

function overview({
  conditions,
  timesteps,
  guidance,
  seed,
  alpha,
  layers,
  checkpoint,
  calibration,
}: Analysis): string[] {
  const worst = [...layers].sort((a, b) => plain(b).output.W4A8 - plain(a).output.W4A8).slice(0, WORST);
  const best = TREATMENTS.map((treatment) => {
    const won = layers.filter(({ errors }) => bestOf(errors, (of) => of.output.W4A8) === treatment).length;
    return `${treatment} in ${won}`;
  });
  return [
    paragraph(
      `${conditions.length === 1 ? 'One condition' : `${conditions.length} conditions`}, ${timesteps.length} steps, guidance ${guidance}, seed ${seed}. Errors are relative: the L2 norm of the difference by that of the exact values. Weights are rounded to nearest, asymmetric by output channel; what layers read, asymmetric by token. W4A8 is weights of 4 bits and activations of 8.`,
    ),
    paragraph(
      `Treatments: balanced multiplies channel k of what a layer reads by max|w|^${alpha} / max|x|^${Number((1 - alpha).toFixed(4))} and divides the weight's column by it; rotated multiplies both by a Hadamard matrix with random signs; both does one after the other. None changes the exact product.`,
    ),
    paragraph(`Conditions: ${conditions.map((condition) => `“${condition}”`).join(', ')}.`),
    paragraph(`Checkpoint ${checkpoint.slice(0, 16)}, calibration ${calibration.slice(0, 16)} (SHA-256).`),
    section(
      'Where to look',
      paragraph(
        `Of ${layers.length} layers, the least error at W4A8 comes: ${best.join(', ')}. The layers that lose most, untreated:`,
      ),
      table([
        { title: 'layer', cells: worst.map(({ name }) => name) },
        ...BOTH.map((form) => ({ title: form, cells: worst.map((layer) => plain(layer).output[form]) })),
        ...TREATMENTS.slice(1).map((treatment) => ({
          title: `W4A8 ${treatment}`,
          cells: worst.map(({ errors }) => errors[treatment]?.output.W4A8),
        })),
      ]),
    ),
  ];
}

function recipesByStep({ recipes, timesteps }: Analysis): string {
  const labels = timesteps.map((timestep) => figure(timestep));
  const axes = { label: 'Error of the network by step and recipe', unit: 'relative error', log: true };
  return section(
    'Whole recipes, by step',
    paragraph(
      'Networks as they would be published, in integers. In every step they read what the float network reads, so that a figure is the error of its step alone.',
    ),
    linePlot(
      axes,
      labels,
      recipes.map(({ recipe, steps }) => ({ name: recipe, values: steps })),
      'timestep',
    ),
    table([
      { title: 'timestep', cells: labels },
      ...recipes.map(({ recipe, steps }) => ({ title: recipe, cells: steps })),
    ]),
  );
}

function recipesByBlock({ recipes }: Analysis): string {
  const labels = recipes[0].blocks.map((_, i) => String(i));
  const axes = { label: 'Error behind each block by recipe', unit: 'relative error', log: true };
  return section(
    'Whole recipes, by block',
    paragraph(
      'The error of what each block passes on, over all steps. It gathers from block to block; where a line rises steeply, a block adds much.',
    ),
    linePlot(
      axes,
      labels,
      recipes.map(({ recipe, blocks }) => ({ name: recipe, values: blocks })),
      'block',
    ),
    table([
      { title: 'block', cells: labels },
      ...recipes.map(({ recipe, blocks }) => ({ title: recipe, cells: blocks })),
    ]),
  );
}

function layerSections({ items, sections }: InSections<AnalyzedLayer>): string[] {
  const names = items.map(({ name }) => name);
  const column: Column = { title: 'layer', cells: names };
  const plotOf = (label: string, series: readonly Column[]) =>
    sectionPlot(
      { label, unit: 'relative error', log: true },
      names,
      sections,
      series.map(({ title, cells }) => {
        return { name: title, values: cells as (number | undefined)[] };
      }),
    );
  const outputs = OUTPUT_FORMS.map((form) => ({ title: form, cells: items.map((layer) => plain(layer).output[form]) }));
  const both = outputs.filter(({ title }) => BOTH.some((form) => form === title));
  const alone = (part: 'weight' | 'activation') =>
    BITS.map((bits) => ({ title: `${bits} bits`, cells: items.map((layer) => plain(layer)[part][bits]) }));
  const treated = (form: (typeof BOTH)[number]) =>
    TREATMENTS.map((treatment) => ({
      title: treatment,
      cells: items.map(({ errors }) => errors[treatment]?.output[form]),
    }));
  return [
    section(
      'What each layer gives',
      paragraph(
        'The error of the output of each layer by itself, untreated. Within each kind of layer, blocks go from left to right.',
      ),
      plotOf('Error of the output of each layer', both),
      table([column, ...outputs]),
    ),
    ...BOTH.map((form) =>
      section(
        `Treatments, ${form}`,
        plotOf(`Error of the output of each layer at ${form}, by treatment`, treated(form)),
        table([column, ...treated(form)]),
      ),
    ),
    section(
      'Weights',
      paragraph('The error of each weight by itself, untreated.'),
      plotOf('Error of each weight', alone('weight')),
      table([column, ...alone('weight')]),
    ),
    section(
      'Activations',
      paragraph('The error of what each layer reads by itself, untreated.'),
      plotOf('Error of what each layer reads', alone('activation')),
      table([column, ...alone('activation')]),
    ),
  ];
}

function operandSections({ items, sections }: InSections<AnalyzedOperand>, { timesteps }: Analysis): string[] {
  const names = items.map(({ layers }) => `${placeOf(layers[0]).block} ${partOf(layers)}`);
  const column: Column = { title: 'block, layers', cells: names };
  const variances = (['token', 'condition', 'timestep', 'channel'] as const).map((level) => {
    return { title: level, cells: items.map(({ variance }) => variance[level]) };
  });
  const axes = { label: 'Variance of what layers read', unit: 'largest by mean', log: true };
  const labels = timesteps.map((timestep) => figure(timestep));
  const stepwise = items.filter(({ incoherence }) => incoherence.plain!.length === timesteps.length);
  const means = TREATMENTS.map((treatment) => ({
    name: treatment,
    values: labels.map((_, step) => mean(stepwise.flatMap(({ incoherence }) => incoherence[treatment]?.[step] ?? []))),
  }));
  const most = Math.max(...items.flatMap(({ incoherence }) => incoherence.plain!));
  const map = (treatment: Treatment) => {
    const rows = items.map(({ incoherence }, i) => ({ name: names[i], values: incoherence[treatment] ?? [] }));
    return shadeMap(`Incoherence by layer and step, ${treatment}`, rows, labels, [1, most]);
  };
  const ofSteps = (pick: (values: readonly number[]) => number | undefined, title: string) =>
    TREATMENTS.map((treatment) => ({
      title: `${treatment}, ${title}`,
      cells: items.map(({ incoherence }) => incoherence[treatment] && pick(incoherence[treatment])),
    }));
  const maps = TREATMENTS.filter((treatment) => items.some(({ incoherence }) => incoherence[treatment]));
  return [
    section(
      'How what layers read varies',
      paragraph(
        'The largest by the mean: of the ranges of tokens within a step; of the two halves of a guided request; of steps; of the magnitudes of channels within a step. 1 is no variance. Ranges by token make the first three harmless; the last is what balance and rotation are for.',
      ),
      sectionPlot(
        axes,
        names,
        sections,
        variances.map(({ title, cells }) => ({ name: title, values: cells })),
      ),
      table([column, ...variances]),
    ),
    section(
      'Incoherence, by step',
      paragraph(
        'max|x| sqrt(n) / ||x|| of a token of n channels, the mean over tokens and layers: 1 where all channels are as large. The error of rounding grows with it.',
      ),
      linePlot(
        { label: 'Incoherence by step and treatment', unit: 'incoherence', log: false },
        labels,
        means,
        'timestep',
      ),
      table([
        { title: 'timestep', cells: labels },
        ...means.map(({ name, values }) => ({ title: name, cells: values })),
      ]),
    ),
    section(
      'Incoherence, by layer and step',
      ...maps.flatMap((treatment) => [`<h3>${treatment}</h3>`, map(treatment)]),
      table([
        column,
        ...ofSteps((values) => values[0], 'first step'),
        ...ofSteps((values) => values.at(-1), 'last step'),
      ]),
    ),
  ];
}

interface InSections<T> {
  readonly items: readonly T[];
  readonly sections: readonly Section[];
}

/** Parts of a network one after another, each through the blocks, in the order of their first appearance. */
function inSections<T>(of: readonly T[], placed: (item: T) => ReturnType<typeof placeOf>): InSections<T> {
  const byPart = new Map<string, { readonly item: T; readonly block: number }[]>();
  for (const item of of) {
    const { part, block } = placed(item);
    byPart.set(part, [...(byPart.get(part) ?? []), { item, block }]);
  }
  const parts = [...byPart].map(([name, all]) => ({ name, all: all.sort((a, b) => a.block - b.block) }));
  return {
    items: parts.flatMap(({ all }) => all.map(({ item }) => item)),
    sections: parts.map(({ name, all }) => ({ name, length: all.length })),
  };
}

/** attn1.to_q, attn1.to_k and attn1.to_v: attn1.to_q/to_k/to_v. */
function partOf(layers: readonly string[]): string {
  const [first, ...rest] = layers.map((name) => placeOf(name).part);
  return [first, ...rest.map((part) => part.split('.').at(-1))].join('/');
}

const plain = ({ errors }: AnalyzedLayer) => errors.plain!;
const mean = (values: readonly number[]) =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;

function bestOf<T>(of: Partial<Readonly<Record<Treatment, T>>>, figureOf: (value: T) => number): Treatment {
  const present = TREATMENTS.filter((treatment) => of[treatment] !== undefined);
  return present.reduce((best, treatment) => (figureOf(of[treatment]!) < figureOf(of[best]!) ? treatment : best));
}
