/** Figures as reports and tables say them. */

/** `inf` for equal pictures. */
export const decibels = (value: number): string => (Number.isFinite(value) ? value.toFixed(1) : 'inf');
export const similarity = (value: number): string => value.toFixed(4);
export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2);
export const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
export const milliseconds = (ms: number): string => (ms >= 100 ? ms.toFixed(0) : ms.toFixed(1));

/** A table of Markdown, aligned so that it reads well as text too; columns of figures stand to the right. */
export function markdownTable(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = heading.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column].length)));
  const right = heading.map((_, column) => rows.every((row) => /^(?:[\d.,]*( [A-Za-z]+|%)?|inf)$/.test(row[column])));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  const rule = widths.map((width, i) => (right[i] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(heading), line(rule), ...rows.map(line)];
}
