/** A report as Markdown: what is printed, and what is saved. Every figure is a median; the raw values are in the JSON. */
import type { BenchReport, HostReport } from '../bench.ts';
import { KERNEL_CLASSES } from '../core/parts.ts';
import { calmnessOf, isDisturbed } from '../disturbance.ts';
import { PICTURE_STATES } from '../pictures.ts';
import { BENCH_PARTS } from '../plan.ts';
import {
  atCeiling,
  ceilingOf,
  exponent,
  floorOf,
  isCeiling,
  isYardstick,
  median,
  outsideProducts,
  picturesIn,
  rateOf,
  shareOf,
  spreadOf,
  timeOf,
} from './figures.ts';
import { goalsOf, megabytes, percent, times } from './goals.ts';

export function markdownOf(report: BenchReport): string {
  const { machine, versions, date, size, parts, subject } = report;
  const engines = report.hosts.map(({ host }) => `${host.name} ${host.version} (${host.variants.join(', ')})`);
  const shown = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    '# Benchmark',
    '',
    `${machine.cpu}, ${machine.cores} cores, ${machine.system}; ${date.slice(0, 10)}; one thread where nothing else is said. ${shown.join(', ')}; ${engines.join('; ')}.`,
    `Size \`${size}\`, ${isWhole(report) ? '' : `only ${parts.join(', ')}, `}model \`${subject}\`. Cases are measured in turns, in one process of each host; figures are medians.`,
    ...quietness(report),
    '',
    ...section('Goals', goals(report)),
    ...report.hosts.flatMap(hostSections),
    ...pictureSections(report),
    ...section(
      'Not measured',
      report.absent.map(({ what, reason }) => `- ${what}: ${reason}`),
    ),
  ].join('\n');
}

const isWhole = ({ parts }: BenchReport) => BENCH_PARTS.every((part) => parts.includes(part));

/** Rounds that differ more than this had company, whatever the machine says of itself: a neighbour on the same core, say. */
const QUIET = 0.1;

function quietness(report: BenchReport): string[] {
  const spread = spreadOf(report);
  if (spread === undefined) return [];
  const advice = spread > QUIET ? ' **The machine was not quiet: measure again before you compare.**' : '';
  return [`Rounds of a case differ by ${percent(spread)}.${advice}`, ...report.hosts.flatMap(disturbances)];
}

/** Of parts that were measured again, and still had company. */
function disturbances({ host, gemm, step, threads }: HostReport): string[] {
  const parts = [
    ...(step ? [{ what: 'one denoising step', result: step }] : []),
    ...(threads ? [{ what: 'threads', result: threads }] : []),
    ...gemm.map((result) => ({ what: `${result.m} x ${result.k} x ${result.n}`, result })),
  ];
  const calmness = calmnessOf(parts.map(({ result }) => result));
  const lines = parts.flatMap(({ what }, i) =>
    isDisturbed(calmness[i]) ? [`${what} (${percent(calmness[i]!)})`] : [],
  );
  if (lines.length === 0) return [];
  return [
    `${host.name} ${host.version}: beside these the control, the same product in every part, was slower than its best: ${lines.join(', ')}.`,
  ];
}

function goals(report: BenchReport): string[] {
  const asked = isWhole(report) ? goalsOf(report) : goalsOf(report).filter(({ met }) => met !== undefined);
  const rows = asked.map(({ what, goal, measured = '', met }) => [
    what,
    goal,
    measured,
    met === undefined ? 'not measured' : met ? 'met' : 'missed',
  ]);
  if (rows.length === 0) return [];
  return ['Set for an x86-64 processor with AVX-VNNI.', '', ...table(['', 'goal', 'measured', ''], rows)];
}

function hostSections(report: HostReport): string[] {
  const { host, gemm, step, profile, threads, scaling } = report;
  const named = (title: string) => `${title}, ${host.name} ${host.version}`;
  return [
    ...section(named('Linear layers'), gemm.length > 0 ? linearLayers(gemm) : []),
    ...section(named('One denoising step'), step ? stepTable(step) : []),
    ...section(
      named('Where its time goes'),
      profile ? profileTable(profile, atCeiling(report, profile.macs.linear)) : [],
    ),
    ...section(named('Threads'), threads ? threadsTable(threads) : []),
    ...section(named('Growth'), scaling.length > 0 ? growth(scaling) : []),
  ];
}

/** A row a shape: times from float to float beside onnxruntime-web's, and shares of the ceiling. */
function linearLayers(gemm: HostReport['gemm']): string[] {
  const names = gemm[0].cases.map(({ name }) => name);
  const layers = names.filter((name) => name.endsWith('/layer') || name.startsWith('onnxruntime/'));
  const shares = names.filter((name) => shareOf(gemm[0], name) !== undefined);
  const ceilings = gemm[0].cases.filter(isCeiling).map(({ name }) => name);
  const tableOf = (cases: readonly string[], cell: (shape: HostReport['gemm'][number], name: string) => string) =>
    table(
      ['rows', 'in', 'out', ...cases.map((name) => name.replace(/^(onnxruntime|ceiling)\/|\/layer$/g, ''))],
      gemm.map((shape) => [...[shape.m, shape.k, shape.n].map(String), ...cases.map((name) => cell(shape, name))]),
    );
  const rate = (shape: HostReport['gemm'][number], name: string) =>
    rateOf(shape.cases.find((one) => one.name === name)!).toFixed(1);
  return [
    'Milliseconds from float to float; fp32, int8 and int4 are onnxruntime-web:',
    '',
    ...tableOf(layers, (shape, name) => ms(timeOf(shape, name)!)),
    '',
    'Share of the ceiling of its own instruction; a product, of the fastest variant, is the layer without quantizing its input:',
    '',
    ...tableOf(shares, (shape, name) => percent(shareOf(shape, name)!)),
    '',
    'The ceilings, GMAC/s:',
    '',
    ...tableOf(ceilings, rate),
  ];
}

function stepTable(step: NonNullable<HostReport['step']>): string[] {
  const [{ name: first }] = step.cases;
  const networks = step.cases.filter((one) => !isYardstick(one));
  const rows = networks.map(({ name }) => {
    const check = step.checks.find((one) => one.name === name);
    const time = timeOf(step, name)!;
    const error = check ? check.relativeError.toExponential(1) : 'standard';
    return [name, ms(time), times(time / timeOf(step, first)!), error];
  });
  return table(['', 'ms', `of ${first}`, 'relative error'], rows);
}

function profileTable(profile: NonNullable<HostReport['profile']>, floor: number | undefined): string[] {
  const { kernels, totalMs, untimedMs, engine } = profile;
  const rows = KERNEL_CLASSES.map((name) => {
    const entries = kernels.filter((entry) => entry.class === name);
    const spent = entries.reduce((sum, entry) => sum + entry.ms, 0);
    const parts = entries.filter(({ kernel }) => kernel !== '').map((entry) => `${entry.kernel} ${ms(entry.ms)}`);
    return [name, ms(spent), percent(spent / totalMs), parts.join(', ')];
  });
  return [
    ...table(['', 'ms', 'of the step', 'kernels, ms'], rows),
    '',
    `${engine}: ${ms(totalMs)} ms with timers, ${ms(untimedMs)} ms without; ${percent(outsideProducts(profile))} outside matrix products.`,
    ...(floor === undefined
      ? []
      : [
          `The floor of a step, its linear layers at the ceiling, is ${ms(floor)} ms: it takes ${times(untimedMs / floor)} of it.`,
        ]),
  ];
}

function threadsTable(threads: NonNullable<HostReport['threads']>): string[] {
  const [{ name: first }] = threads.cases;
  const rows = threads.cases
    .filter((one) => !isYardstick(one))
    .map(({ name }) => {
      const time = timeOf(threads, name)!;
      return [name, ms(time), `${(timeOf(threads, first)! / time).toFixed(2)} ×`];
    });
  return table(['one denoising step', 'ms', 'as fast as one thread'], rows);
}

function growth(scaling: HostReport['scaling']): string[] {
  const points = scaling.map(({ tokens, depth, cases }) => ({ tokens, depth, time: median(cases[0].milliseconds) }));
  const rows = points.map(({ tokens, depth, time }) => [String(tokens), String(depth), ms(time)]);
  return [...table(['tokens', 'blocks', 'ms'], rows), '', ...growthLaws(scaling)];
}

/** In words: the exponents of cost over tokens and over depth. */
export function growthLaws(scaling: HostReport['scaling']): string[] {
  const points = scaling.map(({ tokens, depth, cases }) => ({ tokens, depth, time: median(cases[0].milliseconds) }));
  const depths = points.map(({ depth }) => depth);
  const common = depths.sort((a, b) => count(depths, b) - count(depths, a))[0];
  const byTokens = points.filter(({ depth }) => depth === common).sort((a, b) => a.tokens - b.tokens);
  const tokens = points.find(({ depth }) => depth !== common)?.tokens;
  const byDepth = points.filter((point) => point.tokens === tokens);
  const law = (chosen: typeof points, axis: 'tokens' | 'depth') =>
    exponent(chosen.map((point) => [point[axis], point.time])).toFixed(2);
  const lines: string[] = [];
  if (byTokens.length > 1) {
    const [last, end] = byTokens.slice(-2);
    const tail = exponent([last, end].map((point) => [point.tokens, point.time])).toFixed(2);
    lines.push(
      `Time grows as tokens^${law(byTokens, 'tokens')} from ${byTokens[0].tokens} to ${end.tokens} tokens (attention is quadratic; ^${tail} between the last two).`,
    );
  }
  if (byDepth.length > 1) lines.push(`Time grows as blocks^${law(byDepth, 'depth')}.`);
  return lines;
}

function pictureSections(report: BenchReport): string[] {
  const { pictures, startup } = report;
  const lines: string[] = [];
  if (pictures) {
    const found = PICTURE_STATES.flatMap((state) => picturesIn(pictures, state) ?? []);
    const timings = Object.keys(found[0]?.timings ?? {});
    const rows = found.map((one) => [
      one.state,
      String(one.count),
      ms(one.totalMs),
      ms(one.untilSamplingMs),
      ...timings.map((name) => ms(one.timings[name])),
      megabytes(one.peakBytes),
    ]);
    lines.push(...table(['', 'pictures', 'ms', 'until the first step', ...timings, 'peak'], rows), '');
    const host = report.hosts.find((one) => one.host.name === 'workerd');
    const floor = host && floorOf(host, pictures.steps);
    const warm = picturesIn(pictures, 'warm');
    if (floor !== undefined && warm) {
      lines.push(
        `${pictures.steps} steps, guidance ${pictures.guidance}. The floor is ${ms(floor)} ms (multiply-adds of the linear layers at ${ceilingOf(host!)!.toFixed(1)} GMAC/s); a warm picture takes ${times(warm.totalMs / floor)} of it.`,
      );
    }
  }
  if (startup) {
    const [modules, worker, carrying, empty] = [startup.modules, startup.worker, startup.carrying, startup.empty].map(
      median,
    );
    lines.push(
      `workerd answers after ${ms(empty)} ms with an empty worker, after ${ms(carrying)} ms with one that carries the same WebAssembly and does nothing, after ${ms(worker)} ms with ours, whose modules a running isolate compiles and evaluates in ${ms(modules)} ms.`,
    );
  }
  return section('Whole pictures, workerd', lines);
}

const count = (values: readonly number[], value: number) => values.filter((other) => other === value).length;
const ms = (value: number) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`## ${title}`, '', ...lines, ''];
}

/** Aligned, so that it reads well on a terminal too; all columns but the first stand to the right where they are numbers. */
function table(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(3, ...all.map((row) => row[column].length)));
  const right = heading.map((_, column) => rows.every((row) => /^[\d.,]*( [%×]| MB)?$/.test(row[column])));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  const rule = widths.map((width, i) => (right[i] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(heading), line(rule), ...rows.map(line)];
}
