/** What a device can do at most, by loops that do nothing else: products of bytes, of floats, and bytes moved. */
import type { Groups } from '@edge-dit/runtime/engines/webgpu/gpu-queue';
import { defineKernel, type Kernel } from '@edge-dit/runtime/engines/webgpu/kernel';
import type { BusyWork, DispatchClock, Work } from './dispatch-clock.ts';

export interface Ceilings {
  /** 10^12 multiplications with addition a second. */
  readonly packedDot: number;
  readonly f32: number;
  readonly f16?: number;
  /** 10^9 bytes a second, read and written. */
  readonly memory: number;
}

const CHAINS = 16;
const LOOPS = 256;
const UNROLLED = 4;
const THREADS = 256;
const GROUPS = 8192;

/** Chains of dependent operations: none can be left out, and a chain waits for itself only. */
function chains(
  name: string,
  type: string,
  start: string,
  operation: (x: string) => string,
  enables: string[],
): Kernel {
  const each = (body: (x: string) => string) => Array.from({ length: CHAINS }, (_, i) => body(`x${i}`)).join(' ');
  return defineKernel({
    name: `ceiling-${name}`,
    enables,
    parameters: { seed: 'u32' },
    buffers: { out: 'rw array<u32>' },
    body: `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let y = ${start.replace('SEED', '(p.seed + id.x)')};
  ${each((x) => `var ${x} = ${start.replace('SEED', `(p.seed + id.x * ${x.slice(1)}u)`)};`)}
  for (var i = 0u; i < ${LOOPS}u; i++) {
    ${Array.from({ length: UNROLLED }, () => each((x) => `${x} = ${operation(x)};`)).join('\n    ')}
  }
  var sum = ${type}();
  ${each((x) => `sum += ${x};`)}
  if (bitcast<u32>(sum) == 12345u) { out[id.x % 64u] = 1u; }
}`,
  });
}

const OPERATIONS = CHAINS * LOOPS * UNROLLED * THREADS * GROUPS;

const FMA = chains('f32', 'f32', 'f32(SEED) * 1e-9', (x) => `fma(${x}, y, y)`, []);

const COPY = defineKernel({
  name: 'ceiling-copy',
  parameters: { count: 'u32' },
  buffers: { x: 'array<vec4<u32>>', out: 'rw array<vec4<u32>>' },
  body: `
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < p.count; i += groups.x * 256u) { out[i] = x[i]; }
}`,
});

/** Work that keeps a device busy, some milliseconds a round, and its clocks up. */
export function busyWork(clock: DispatchClock, rounds: number): BusyWork {
  return { kernel: FMA, buffers: [clock.random(4096)], parameters: { seed: 3 }, groups: [GROUPS, 1, 1], rounds };
}

const NOTHING = defineKernel({
  name: 'nothing',
  parameters: {},
  buffers: { out: 'rw array<u32>' },
  body: `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { if (id.x < p.none) { out[0] = 1u; } }`,
});

/** What a dispatch of nothing takes in nanoseconds: in a pass of its own, and one of many in a pass. */
export interface Floor {
  readonly apart: number;
  readonly inRow: number;
}

export async function measureFloor(clock: DispatchClock, copies: number): Promise<Floor> {
  const mark = clock.mark;
  const works: Work[] = Array.from({ length: copies }, () => {
    return { kernel: NOTHING, buffers: [clock.blank(256)], parameters: {}, groups: [1, 1, 1] };
  });
  await clock.prepare([NOTHING]);
  const [apart] = await clock.time(works.slice(0, 1));
  const [together] = await clock.timePasses([works]);
  clock.clear(mark);
  return { apart, inRow: together / copies };
}

const DOT = chains('dot', 'i32', 'i32(SEED)', (x) => `${x} + dot4I8Packed(bitcast<u32>(${x}), bitcast<u32>(y))`, []);

/** The loop of dot4I8Packed, and its multiplications: timed beside products, it says what the clocks of a moment allow. */
export const packedDotWork = (clock: DispatchClock): Work & { readonly products: number } => {
  const groups = [GROUPS / 4, 1, 1] as const;
  return { kernel: DOT, buffers: [clock.random(4096)], parameters: { seed: 3 }, groups, products: OPERATIONS };
};

export async function measureCeilings(clock: DispatchClock, packed: boolean, half: boolean): Promise<Ceilings> {
  const mark = clock.mark;
  const out = clock.random(4096);
  const timeOne = async (...[kernel, buffers, parameters, groups]: [Kernel, GPUBuffer[], Work['parameters'], Groups]) =>
    (await clock.time([{ kernel, buffers, parameters, groups }], 9))[0];
  const rate = async (kernel: Kernel, per: number) =>
    (OPERATIONS * per) / (await timeOne(kernel, [out], { seed: 3 }, [GROUPS, 1, 1])) / 1000;
  const half2 = chains('f16', 'vec2<f16>', 'vec2<f16>(f16(SEED & 15u) * 0.01h)', (x) => `fma(${x}, y, y)`, ['f16']);
  const bytes = Math.min(2 ** 30, clock.device.limits.maxStorageBufferBindingSize);
  const [from, to] = [clock.random(bytes, 5), clock.random(bytes, 7)];
  const moved = await timeOne(COPY, [from, to], { count: bytes / 16 }, [16384, 1, 1]);
  const ceilings: Ceilings = {
    packedDot: packed ? await rate(DOT, 4) : 0,
    f32: await rate(FMA, 1),
    ...(half ? { f16: await rate(half2, 2) } : {}),
    memory: (2 * bytes) / moved,
  };
  clock.clear(mark);
  return ceilings;
}
