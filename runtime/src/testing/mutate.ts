/** Good bytes in, hostile ones out, from a seed: for tests that nothing is accepted that should not be. */

/** Whole numbers from 0 to less than what is asked for. */
export type Below = (below: number) => number;

/** mulberry32 */
export function random(seed: number): Below {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** One to four edits: bytes changed, removed, repeated, cut off, or pieces of JSON put in. */
export function mutateBytes(bytes: Uint8Array, below: Below): Uint8Array {
  let out = [...bytes];
  for (let edits = 1 + below(4); edits > 0; edits--) {
    const at = below(out.length + 1);
    const kind = below(6);
    if (kind === 0) out[at] = below(256);
    else if (kind === 1) out[at] = (out[at] ?? 0) ^ (1 << below(8));
    else if (kind === 2) out.splice(at, 1 + below(40));
    else if (kind === 3) out.splice(at, 0, ...out.slice(at, at + 1 + below(200)));
    else if (kind === 4) out = out.slice(0, at);
    else out.splice(at, 0, ...Array.from({ length: 1 + below(8) }, () => '[]{}",:0123456789-e'.charCodeAt(below(19))));
  }
  return Uint8Array.from(out);
}

const HOSTILE: readonly unknown[] = [
  0,
  -1,
  1,
  63,
  64,
  65,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 53 + 2,
  1e308,
  -1e308,
  0.5,
  null,
  true,
  '',
  'a',
  '__proto__',
  'constructor',
  'f32',
  'u4-8x4',
  'a'.repeat(1000),
  [],
  [[]],
  {},
  [0],
  [2 ** 25, 2 ** 25, 2 ** 25],
  [1e300, 1e300],
  [-1, -1],
  { length: 2 ** 31 },
];

/** Replaces, deletes, moves or repeats one value anywhere in the tree. */
export function mutateTree(text: string, below: Below): Uint8Array {
  const tree = JSON.parse(text);
  for (let edits = 1 + below(3); edits > 0; edits--) {
    let parent = tree;
    for (let depth = 0; depth < 6; depth++) {
      const keys = Object.keys(parent);
      if (keys.length === 0) break;
      const key = keys[below(keys.length)];
      const child = parent[key];
      if (child !== null && typeof child === 'object' && below(8) !== 0) {
        parent = child;
        continue;
      }
      const kind = below(5);
      if (kind === 0 && !Array.isArray(parent)) delete parent[key];
      else if (kind === 1 && typeof child === 'number') parent[key] = child + [1, -1, 64, -64][below(4)];
      else if (kind === 2) parent[key] = structuredClone(parent[keys[below(keys.length)]]);
      else if (kind === 3 && Array.isArray(parent)) parent.push(structuredClone(child));
      else parent[key] = structuredClone(HOSTILE[below(HOSTILE.length)]);
      break;
    }
  }
  return new TextEncoder().encode(JSON.stringify(tree));
}
