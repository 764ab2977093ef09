/**
 * Measures the WebGPU engine on this machine's GPU and prints a report; `--save` writes docs/bench/webgpu, `--save FOLDER`
 * another folder, as soon as something is measured. `--emoji FOLDER` is where `evidence:webgpu FOLDER --prepare` put the
 * published emoji model, which is made anew without it. `--quick` is a look at whether all runs. Needs a GPU with timestamps.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import { measureWebGpu, type WebGpuReport } from '@edge-dit/sdk/bench/webgpu/measure';
import { markdownOf } from '@edge-dit/sdk/bench/webgpu/report';
import { stepModels } from '@edge-dit/sdk/bench/webgpu/step-models';

const RECIPE = 'vidit-q-w4a8';
const { values: flags, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    emoji: { type: 'string' },
  },
  allowPositionals: true,
});
const found = await nodeGpu([
  // Timestamps in nanoseconds, and float16 where Dawn has it off by default.
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  'disable-dawn-features=timestamp_quantization',
]);
if (typeof found === 'string') {
  console.error(found);
  process.exit(1);
}
const folder = positionals[0] ?? 'docs/bench/webgpu';

function save(report: WebGpuReport): void {
  if (!flags.save) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'README.md'), markdownOf(report));
  writeFileSync(join(folder, 'results.json'), `${JSON.stringify(report, null, 1)}\n`);
}

async function publishEmoji(): Promise<string> {
  console.log(`publishing the emoji model by ${RECIPE}`);
  const made = mkdtempSync(join(tmpdir(), 'webgpu-'));
  const { prepareEmoji } = await import('./webgpu-models.ts');
  await prepareEmoji(made, [RECIPE], 2);
  return made;
}

const emoji = flags.quick ? '' : (flags.emoji ?? (await publishEmoji()));
const report = await measureWebGpu(found, {
  quick: flags.quick,
  models: flags.quick ? [] : stepModels({ store: new FsStore(join(emoji, RECIPE)), recipe: RECIPE }),
  onProgress: (line) => console.log(line),
  onReport: save,
});
console.log(markdownOf(report));
process.exit(0);
