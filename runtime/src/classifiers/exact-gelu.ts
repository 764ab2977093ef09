/**
 * GELU by the error function (arXiv 1606.08415), x Phi(x), which timm's networks use; the engines' pass is its tanh
 * approximation. On the host, from a table: no picture depends on it, and no kernel needs to have it.
 */
import { exp } from '../math.ts';

const PER_UNIT = 64;
/** From here on Phi is 1 in float32, and from minus here on x Phi(x) is 0 to float32's accuracy beside other values. */
const END = 8;
const LAST = 2 * END * PER_UNIT;
const INVERSE_ROOT_TWO_PI = 0.3989422804014327;

const density = (x: number) => INVERSE_ROOT_TWO_PI * exp(-0.5 * x * x);

/** Phi(x) = 1/2 + density(x) (x + x^3/3 + x^5/15 + ...): terms of one sign, so nothing cancels for x >= 0. */
function cumulative(x: number): number {
  if (x < 0) return 1 - cumulative(-x);
  let term = x;
  let sum = 0;
  for (let n = 3; sum + term !== sum; n += 2) {
    sum += term;
    term *= (x * x) / n;
  }
  return 0.5 + density(x) * sum;
}

/** Phi and its slope a step, at every 64th from -8 to 8. */
let table: Float64Array | undefined;

function makeTable(): Float64Array {
  const out = new Float64Array(2 * (LAST + 1));
  for (let i = 0; i <= LAST; i++) {
    const x = i / PER_UNIT - END;
    out[2 * i] = cumulative(x);
    out[2 * i + 1] = density(x) / PER_UNIT;
  }
  return out;
}

/** In place. Phi by cubic Hermite interpolation, within 3e-10. NaN stays NaN. */
export function exactGelu(values: Float32Array): Float32Array {
  table ??= makeTable();
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    if (x >= END) continue;
    if (x <= -END) {
      values[i] = 0;
      continue;
    }
    const position = (x + END) * PER_UNIT;
    const at = Math.floor(position);
    const t = position - at;
    const [p0, m0, p1, m1] = [table[2 * at], table[2 * at + 1], table[2 * at + 2], table[2 * at + 3]];
    const rise = p1 - p0;
    values[i] = x * (p0 + t * (m0 + t * (3 * rise - 2 * m0 - m1 + t * (m0 + m1 - 2 * rise))));
  }
  return values;
}
