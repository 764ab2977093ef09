/** WGSL for codes: products of four of them at a time, and weights out of the panels of FORMAT.md. */
import type { CodeBits } from '../engine.ts';

/** Four products of signed bytes and their sum, exactly, where the language lacks dot4I8Packed; likewise of unsigned. */
const PLAIN_DOTS = `
fn dotSigned(a: u32, b: u32) -> i32 {
  let x = vec4<i32>(bitcast<vec4<i32>>(vec4<u32>(a) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
  let y = vec4<i32>(bitcast<vec4<i32>>(vec4<u32>(b) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
  return x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
}
fn dotUnsigned(a: u32, b: u32) -> u32 {
  let x = (vec4<u32>(a) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  let y = (vec4<u32>(b) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  return x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
}`;

const PACKED_DOTS = `
fn dotSigned(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }
fn dotUnsigned(a: u32, b: u32) -> u32 { return dot4U8Packed(a, b); }`;

export const dots = (packed: boolean) => (packed ? PACKED_DOTS : PLAIN_DOTS);

/** What weights lack as signed bytes: codes of 8 bits are those less 128; expanded codes and narrow ones fit as they are. */
export const codeOffset = (bits: CodeBits, grouped: boolean) => (bits === 8 && !grouped ? 128 : 0);

/** 32-bit words of a group of a panel: eight columns, four inputs. */
export const groupWords = (bits: CodeBits) => bits;

/** WGSL type of a buffer of panels: vectors where groups are whole vectors. */
export const panelType = (bits: CodeBits) => (bits === 4 || bits === 8 ? 'vec4<u32>' : 'u32');

/** Panels go by vectors of four words or by words. */
export const wordsOfElement = (bits: CodeBits) => (bits === 4 || bits === 8 ? 4 : 1);

/** WGSL that returns a record of four words, from element `at` on. @param read an element at an index */
export const returnRecord = (bits: CodeBits, read: (at: string) => string): string =>
  wordsOfElement(bits) === 4
    ? `return ${read('at')};`
    : `return vec4<u32>(${read('at')}, ${read('at + 1u')}, ${read('at + 2u')}, ${read('at + 3u')});`;

/** Names of the elements of a group that a thread holds. */
export const groupElements = (bits: CodeBits) => bits / wordsOfElement(bits);

/**
 * WGSL expressions of the eight columns' signed bytes, four inputs of a column in a word.
 * @param element names the elements of a group of a panel
 * @param record names the multipliers and bases of a layer that has groups
 */
export function signedColumns(bits: CodeBits, element: (i: number) => string, record: string | undefined): string[] {
  const words = columnWords(bits, element);
  if (record !== undefined) return words.map((word, n) => expandedWord(word, n, record));
  return bits === 8 ? words.map((word) => `(${word} ^ 0x80808080u)`) : words;
}

/** As they are stored. */
function columnWords(bits: CodeBits, element: (i: number) => string): string[] {
  const low = (word: string, column: number) => `((${word}${column > 3 ? ' >> 4u' : ''}) & 0x0f0f0f0fu)`;
  const columns = Array.from({ length: 8 }, (_, n) => n);
  if (bits === 8) return columns.map((n) => `${element(n >> 2)}.${'xyzw'[n & 3]}`);
  if (bits === 4) return columns.map((n) => low(`${element(0)}.${'xyzw'[n & 3]}`, n));
  if (bits === 6) {
    return columns.map((n) => {
      const high = `((${element(4 + (n & 1))} >> ${2 * (n >> 1)}u) & 0x03030303u)`;
      return `(${low(element(n & 3), n)} | (${high} << 4u))`;
    });
  }
  return columns.map((n) => `(${low(element(n & 3), n)} | (((${element(4)} >> ${n}u) & 0x01010101u) << 4u))`);
}

/** What groups make of column `n`'s word: multiplier times code plus base, byte by byte, none beyond 127. */
function expandedWord(word: string, n: number, record: string): string {
  const byte = (vector: number) => `((${record}.${'xyzw'[vector + (n >> 2)]} >> ${8 * (n & 3)}u) & 255u)`;
  return `(${word} * ${byte(0)} + ${byte(2)} * 0x01010101u)`;
}
