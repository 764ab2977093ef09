/** At loading: the sum of a column's codes into its record, a thread a column of a panel. */
import type { CodeBits } from '../engine.ts';
import { dots, groupElements, panelType, returnRecord, signedColumns, wordsOfElement } from './codes.ts';
import { range } from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';

export interface ColumnSums {
  readonly bits: CodeBits;
  readonly grouped: boolean;
  readonly packed: boolean;
}

/** Threads that share a panel. */
const THREADS = 32;

export const columnSums = kernelFamily(defineColumnSums);

function defineColumnSums(options: ColumnSums): Kernel {
  const { bits, grouped, packed } = options;
  const words = wordsOfElement(bits);
  const columns = signedColumns(bits, (i) => `e${i}`, grouped ? 'record' : undefined);
  const setSum = (n: string, value: string) => {
    const at = `p.columnsAt + (panel * 8u + ${n}) * ${4 / words}u`;
    return words === 4 ? `w[${at}].z = ${value};` : `w[${at} + 2u] = ${value};`;
  };
  return defineKernel({
    name: kernelName('column-sums', { ...options }),
    parameters: { panels: 'u32', fours: 'u32', groupsAt: 'u32', columnsAt: 'u32', groupFours: 'u32' },
    buffers: { w: `rw array<${panelType(bits)}>` },
    body: `
${dots(packed)}
var<workgroup> parts: array<array<i32, 8>, ${THREADS}>;
fn panelVector(at: u32) -> vec4<u32> { ${returnRecord(bits, (at) => `w[${at}]`)} }
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let panel = group.x + group.y * groups.x;
  if (panel >= p.panels) { return; }
  var sums: array<i32, 8>;
  for (var four = t; four < p.fours; four += ${THREADS}u) {
    let at = (panel * p.fours + four) * ${bits / words}u;
    ${range(groupElements(bits))
      .map((i) => `let e${i} = w[at + ${i}u];`)
      .join(' ')}
    ${grouped ? `let record = panelVector(p.groupsAt + (panel * (p.fours / p.groupFours) + four / p.groupFours) * ${4 / words}u);` : ''}
    ${columns.map((word, n) => `sums[${n}] += dotSigned(${word}, 0x01010101u);`).join('\n    ')}
  }
  parts[t] = sums;
  workgroupBarrier();
  if (t < 8u) {
    var sum = 0;
    for (var i = 0u; i < ${THREADS}u; i++) { sum += parts[i][t]; }
    ${setSum('t', 'bitcast<u32>(sum)')}
  }
}`,
  });
}
