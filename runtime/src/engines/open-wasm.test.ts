/** Which variant of the kernels a host gets, by what its processor does with them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { instantiateKernels, type KernelModules, type Kernels } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { Meter } from '../meter.ts';
import { openFastest } from './open-wasm.ts';
import { WasmMemory } from './wasm-memory.ts';

/** On a processor whose relaxed dot takes bytes beyond 127 in this form; every variant computes by plain SIMD here. */
async function open(form: Kernels['form'], ship: readonly ('simd' | 'relaxed')[], only?: 'relaxed') {
  const { float, simd } = await compileKernels();
  const modules: KernelModules = { float, ...Object.fromEntries(ship.map((variant) => [variant, simd])) };
  const meter = new Meter();
  const opened = await openFastest(
    modules,
    only,
    async (passes, linear, variant) => {
      const memory = new WasmMemory(meter);
      const kernels = instantiateKernels(passes, linear, memory.memory, 'simd');
      return { memory, kernels: { ...kernels, variant, ...(variant === 'relaxed' && { form }) }, close: () => {} };
    },
    ['relaxed', 'simd'],
  );
  const { name } = opened.engine;
  opened.close();
  assert.equal(meter.current, 0);
  return { name, notes: opened.notes };
}

test('relaxed SIMD is taken where one product does, plain SIMD where bytes beyond 127 take two', async () => {
  assert.deepEqual(await open('unsigned', ['relaxed', 'simd']), { name: 'wasm-relaxed', notes: [] });
  const { name, notes } = await open('nibbles', ['relaxed', 'simd']);
  assert.equal(name, 'wasm-simd');
  assert.match(notes.join(), /relaxed: this processor takes two products/);
});

test('relaxed SIMD is taken all the same where it alone is shipped, or asked for', async () => {
  assert.equal((await open('nibbles', ['relaxed'])).name, 'wasm-relaxed');
  assert.equal((await open('nibbles', ['relaxed', 'simd'], 'relaxed')).name, 'wasm-relaxed');
});
