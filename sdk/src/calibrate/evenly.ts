/** At most `count` of the values, evenly spaced, the first among them. */
export function evenly<T>(values: readonly T[], count = values.length): T[] {
  const taken = Math.min(count, values.length);
  return Array.from({ length: taken }, (_, i) => values[Math.floor((i * values.length) / taken)]);
}
