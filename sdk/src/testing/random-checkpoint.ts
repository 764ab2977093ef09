/** A config and a seed in, a checkpoint folder of random float16 weights out, written tensor by tensor: of any size. */
import { type FileHandle, mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { floatToHalf } from '@edge-dit/runtime/format/half';
import { checkpointLayout } from '@edge-dit/runtime/models/checkpoint-layouts';
import { randomBits } from './random-bits.ts';

export interface RandomCheckpointOptions {
  readonly folder: string;
  readonly seed: number;
  readonly architecture: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Values of one tensor repeat after so many: nobody reads them but a quantizer, which takes as long for any. */
const DISTINCT = 2 ** 20;

/** @returns bytes of the weights' file */
export async function writeRandomCheckpoint(options: RandomCheckpointOptions): Promise<number> {
  const { folder, seed, architecture, config } = options;
  const random = randomBits(seed);
  const halves = Uint16Array.from({ length: DISTINCT }, () => floatToHalf(0.05 * (random() / 2 ** 31 - 1)));
  const block = new Uint8Array(halves.buffer);
  const { tensors } = checkpointLayout(architecture, config);
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const { name, shape } of tensors) {
    const bytes = 2 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: 'F16', shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await mkdir(join(folder, 'transformer'), { recursive: true });
  await mkdir(join(folder, 'scheduler'), { recursive: true });
  const file = await open(join(folder, 'transformer', 'diffusion_pytorch_model.safetensors'), 'w');
  try {
    await file.write(length);
    await file.write(json);
    await writeRepeated(file, block, at, random);
  } finally {
    await file.close();
  }
  const named = { _class_name: architecture, ...config };
  await writeFile(join(folder, 'transformer', 'config.json'), JSON.stringify(named));
  await writeFile(join(folder, 'scheduler', 'scheduler_config.json'), '{"_class_name": "DDIMScheduler"}');
  return length.length + json.length + at;
}

/** Starts elsewhere in the block each time, so that no two shards become the same. */
async function writeRepeated(file: FileHandle, block: Uint8Array, bytes: number, random: () => number): Promise<void> {
  for (let left = bytes; left > 0; ) {
    const from = 2 * (random() % (block.length / 4));
    const piece = block.subarray(from, Math.min(block.length, from + left));
    await file.write(piece);
    left -= piece.length;
  }
}
