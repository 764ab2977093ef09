/**
 * Pictures repeat bit for bit on every JavaScript engine, but `Math.exp` and its like, and `**`, may differ in the last
 * bit from engine to engine. The code that computes uses runtime/src/math.ts. Of literals alone they are allowed: such
 * constants are limits, powers of two and coefficients.
 */
import { type Check, isBelow, isTest, isTypeScript, matches, type Violation, withoutComments } from './source.ts';

const FOLDERS = ['runtime/src', 'wasm-kernels/src'];
const EXEMPT = ['runtime/src/math.ts'];
/** Measures, and computes no picture. */
const EXEMPT_FOLDER = 'wasm-kernels/src/bench';

const NUMBER = String.raw`-?(?:\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?|0x[\da-f]+)`;
const FUNCTIONS =
  'exp|expm1|log|log2|log10|log1p|pow|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|cbrt|hypot';
const CALL = new RegExp(String.raw`\bMath\.(${FUNCTIONS})\b(?!\(\s*${NUMBER}\s*(?:,\s*${NUMBER}\s*)*\))`, 'g');
const POWER = /([\w.)\]!]+)\s*\*\*=?\s*([-\w.(]+)/g;
const LITERAL = new RegExp(`^${NUMBER}$`, 'i');

export const arithmetic: Check = (files) =>
  files
    .filter((file) => isTypeScript(file) && !isTest(file) && !EXEMPT.includes(file.path))
    .filter(({ path }) => FOLDERS.some((folder) => isBelow(path, folder)) && !isBelow(path, EXEMPT_FOLDER))
    .flatMap(({ path, text }): Violation[] => {
      const code = withoutComments(text);
      const calls = [...matches(code, CALL)].map(({ match, line }) => ({
        path,
        line,
        message: `Math.${match[1]} differs from engine to engine; use the function of runtime/src/math.ts`,
      }));
      const powers = [...matches(code, POWER)]
        .filter(({ match }) => !(LITERAL.test(match[1]) && LITERAL.test(match[2])))
        .map(({ match, line }) => ({
          path,
          line,
          message: `${match[0]} differs from engine to engine; multiply, shift, or use pow of runtime/src/math.ts`,
        }));
      return [...calls, ...powers];
    });
