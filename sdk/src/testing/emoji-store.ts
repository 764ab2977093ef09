/** For tests: the emoji model of the examples, quantized and published into a folder of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { type QuantizeResult, quantize } from '../quantize/quantize.ts';
import { recipeByName } from '../recipes/index.ts';

export interface EmojiStore extends QuantizeResult {
  readonly store: FsStore;
  readonly folder: string;
  remove(): Promise<void>;
}

/** Published as `emoji`. */
export async function publishEmoji(recipe: string): Promise<EmojiStore> {
  const checkpoint = await openCheckpoint(fileURLToPath(new URL('../../../examples/emoji/model', import.meta.url)));
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-emoji-'));
  const store = new FsStore(folder);
  const result = await quantize({ checkpoint, recipe: recipeByName(recipe), model: 'emoji', store });
  await checkpoint.close();
  return { ...result, store, folder, remove: () => rm(folder, { recursive: true }) };
}
