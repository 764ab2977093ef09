/** A report as one SVG: rates of linear layers in each host, times of a step in all, and growth. */
import type { BenchReport, HostReport } from '../bench.ts';
import { isYardstick, median, rateOf } from './figures.ts';
import { type BarGroup, barPanel, logPanel, type Panel, svgOf } from './svg.ts';

export function plotOf(report: BenchReport): string {
  const panels = report.hosts.flatMap((host) => (host.gemm.length > 0 ? [linearPanel(host)] : []));
  const steps = report.hosts.flatMap(({ host, step }): BarGroup[] =>
    step
      ? [{ label: `${host.name} ${host.version}`, bars: step.cases.filter((one) => !isYardstick(one)).map(barOf) }]
      : [],
  );
  if (steps.length > 0) panels.push(barPanel('One denoising step, ms', steps));
  return svgOf([...panels, ...report.hosts.flatMap(growthPanels)]);
}

function linearPanel({ host, gemm }: HostReport): Panel {
  const integers = host.variants[0] === 'relaxed' ? 'ceiling/relaxed_dot' : 'ceiling/i16_dot';
  // Bars of every shape would be too many to tell apart: those of the fewest rows, square or of a feed forward.
  const fewest = Math.min(...gemm.map(({ m }) => m));
  const shown = gemm.filter(({ m, n, k }) => m === fewest && (n === k || n === 4 * k || k === 4 * n));
  const groups = (shown.length > 0 ? shown : gemm).map(({ m, n, k, cases }) => ({
    label: `${m} × ${k} × ${n}`,
    bars: cases
      .filter(({ name }) => name === integers || name.endsWith('/layer') || name.startsWith('onnxruntime'))
      .map((one) => ({ series: one.name.replace(/\/(layer|\w+_dot)$/, ''), value: rateOf(one) })),
  }));
  return barPanel(`Linear layers from float to float, GMAC/s, ${host.name} ${host.version}`, groups);
}

const barOf = ({ name, milliseconds }: { readonly name: string; readonly milliseconds: readonly number[] }) => ({
  // The name of our engine differs from host to host, and the bars are to be compared.
  series: name.replace(/^wasm-\w+/, 'edge-dit'),
  value: median(milliseconds),
});

function growthPanels({ host, scaling }: HostReport): Panel[] {
  if (scaling.length === 0) return [];
  const line = (depth: number) => ({
    series: `${depth} blocks`,
    points: scaling
      .filter((one) => one.depth === depth)
      .sort((a, b) => a.tokens - b.tokens)
      .map(({ tokens, cases }) => [tokens, median(cases[0].milliseconds)] as const),
  });
  const depths = [...new Set(scaling.map(({ depth }) => depth))].sort((a, b) => a - b);
  return [logPanel(`A step of width 384, ms, ${host.name} ${host.version}`, depths.map(line), 'tokens')];
}
