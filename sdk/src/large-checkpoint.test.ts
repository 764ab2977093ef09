/** That quantizing takes memory by the tensor and not by the checkpoint; `npm run evidence:large-checkpoint` has 1 GB. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { documentOf, startCli } from './cli/testing/run-cli.ts';
import { watchPeakMemory } from './testing/peak-memory.ts';
import { writeRandomCheckpoint } from './testing/random-checkpoint.ts';

test('a checkpoint of 100 MB takes little more memory to quantize and publish than one of 15 MB', {
  skip: process.platform !== 'linux' && 'only Linux tells how much memory a process held at most',
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-large-'));
  t.after(() => rm(folder, { recursive: true }));
  const quantized = async (layers: number) => {
    const checkpoint = join(folder, `checkpoint-${layers}`);
    const bytes = await writeRandomCheckpoint({
      folder: checkpoint,
      seed: 1,
      architecture: 'PixArtTransformer2DModel',
      config: {
        num_attention_heads: 8,
        attention_head_dim: 72,
        in_channels: 3,
        out_channels: 3,
        num_layers: layers,
        cross_attention_dim: 576,
        caption_channels: 256,
        sample_size: 16,
      },
    });
    const args = ['quantize', checkpoint, '--recipe', 'w4a8', '--name', 'a', '--out', `models-${layers}`, '--json'];
    const cli = startCli(args, folder);
    const peak = watchPeakMemory(cli.process);
    documentOf(await cli.finished);
    t.diagnostic(`${layers} blocks, ${bytes} bytes: ${peak.bytes} bytes of memory`);
    return { bytes, peak: peak.bytes };
  };
  const [small, large] = [await quantized(1), await quantized(9)];
  assert.ok(large.bytes > 95e6 && small.peak > 0);
  assert.ok(large.peak - small.peak < (large.bytes - small.bytes) / 2, `${small.peak} and ${large.peak} bytes`);
});
