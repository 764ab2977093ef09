/** Numbers to codes and back, as quantizers do it: asymmetric by row, from the row's least to its largest value, 0 included. */

/** `values` [rows, columns] as their codes of so many bits say them. */
export function roundTrip(values: Float32Array, columns: number, bits: number): Float32Array {
  const top = 2 ** bits - 1;
  const out = new Float32Array(values.length);
  for (let from = 0; from < values.length; from += columns) {
    let low = 0;
    let high = 0;
    for (let i = from; i < from + columns; i++) {
      const value = values[i];
      if (value < low) low = value;
      else if (value > high) high = value;
    }
    const step = (high - low) / top;
    if (step === 0) continue;
    const zero = Math.round(-low / step);
    for (let i = from; i < from + columns; i++) {
      out[i] = (Math.min(top, Math.max(0, Math.round(values[i] / step) + zero)) - zero) * step;
    }
  }
  return out;
}

/** ||got - exact|| / ||exact||; 0 where both are 0. */
export function relativeError(got: Float32Array, exact: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < exact.length; i++) {
    difference += (got[i] - exact[i]) ** 2;
    norm += exact[i] ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}
