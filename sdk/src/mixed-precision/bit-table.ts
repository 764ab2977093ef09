/** A map of widths as people read it: a row for each block, a column for each of its layers. */

/** The heading, then the rows; layers that are in no block have a row of their own. */
export function bitTable(layers: Readonly<Record<string, number>>): string[][] {
  const rows = new Map<string, Map<string, number>>();
  const columns: string[] = [];
  for (const [name, bits] of Object.entries(layers)) {
    const [, block = name, part = ''] = /^\w+\.(\d+)\.(.+)$/.exec(name) ?? [];
    const row = rows.get(block) ?? new Map<string, number>();
    rows.set(block, row.set(part, bits));
    if (!columns.includes(part)) columns.push(part);
  }
  return [
    ['block', ...columns],
    ...[...rows].map(([block, row]) => [block, ...columns.map((part) => String(row.get(part) ?? '-'))]),
  ];
}
