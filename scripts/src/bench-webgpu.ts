/**
 * Measures the WebGPU engine on this machine's GPU and prints a report; `--save` writes docs/bench/webgpu, `--save=FOLDER`
 * another folder; `--quick` is a look at whether all runs. Needs a GPU with timestamps, and npm `webgpu`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import { measureWebGpu } from '@edge-dit/sdk/bench/webgpu/measure';
import { markdownOf } from '@edge-dit/sdk/bench/webgpu/report';

const found = await nodeGpu([
  // Timestamps in nanoseconds, and float16 where Dawn has it off by default.
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  'disable-dawn-features=timestamp_quantization',
]);
if (typeof found === 'string') {
  console.error(found);
  process.exit(1);
}
const report = await measureWebGpu(found, {
  quick: process.argv.includes('--quick'),
  onProgress: (line) => console.log(line),
});
console.log(markdownOf(report));
const save = process.argv.find((argument) => argument.startsWith('--save'));
if (save !== undefined) {
  const folder = save.split('=')[1] ?? 'docs/bench/webgpu';
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'README.md'), markdownOf(report));
  writeFileSync(join(folder, 'results.json'), `${JSON.stringify(report, null, 1)}\n`);
}
process.exit(0);
