/** Bytes, durations and tables as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** 5.9 MiB; bytes below 1 KiB as they are. */
export function shortBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** 6,190,336 bytes (5.9 MiB). */
export function longBytes(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${counted(bytes)} bytes (${shortBytes(bytes)})`;
}

export const counted = (count: number) => count.toLocaleString('en-US');

/** "1 shard", "3 shards". */
export const plural = (count: number, noun: string) => `${counted(count)} ${noun}${count === 1 ? '' : 's'}`;

export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

/** Columns side by side; those that hold only numbers stand to the right. The first row is the heading. */
export function table(rows: readonly (readonly string[])[], indent = '  '): string[] {
  const columns = rows[0].map((_, column) => rows.map((row) => row[column]));
  const widths = columns.map((cells) => Math.max(...cells.map((cell) => cell.length)));
  const numeric = columns.map((cells) => cells.slice(1).every((cell) => /^[\d,.]+( [A-Za-z]+)?$/.test(cell)));
  return rows.map((row) =>
    `${indent}${row.map((cell, i) => (numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ')}`.trimEnd(),
  );
}
