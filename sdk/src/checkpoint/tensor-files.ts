/**
 * The weights of one folder: a safetensors file, or an index and its parts. Headers are read and checked at once,
 * tensors by their byte range when asked for. A part's name comes from the index, so it must be a plain file name.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import {
  parseSafetensorsHeader,
  type SafetensorsEntry,
  safetensorsHeaderEnd,
  toFloat32,
} from '@edge-dit/runtime/safetensors';
import { z } from 'zod';
import { readJsonObject } from './json-file.ts';

/** Published models have at most a few dozen parts; each is a file kept open. */
export const MAX_PARTS = 256;
/** How many names an error lists before it only counts the rest. */
const MAX_LISTED = 1000;

export interface CheckpointTensor extends SafetensorsEntry {
  /** Name of the file that holds it. */
  readonly file: string;
}

export interface TensorFiles {
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

interface Part {
  readonly handle: FileHandle;
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

const INDEX_ENDING = '.safetensors.index.json';
const PREFERRED = ['diffusion_pytorch_model', 'model'];
const PICKLES = /\.(bin|pt|pth|ckpt|pkl)$/;

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/**
 * Opens the weights in a folder.
 * @throws `checkpoint-not-found` without safetensors; `checkpoint-malformed` for an index that its parts contradict
 */
export async function openTensorFiles(folder: string): Promise<TensorFiles> {
  const weights = await findWeights(folder);
  const weightMap = weights.endsWith(INDEX_ENDING) ? await readIndex(join(folder, weights)) : undefined;
  const names = weightMap === undefined ? [weights] : [...new Set(weightMap.values())];
  if (names.length > MAX_PARTS) {
    throw malformed(join(folder, weights), `names ${names.length} parts, at most ${MAX_PARTS} are opened`);
  }
  const parts = new Map<string, Part>();
  const close = async () => {
    await Promise.all([...parts.values()].map(({ handle }) => handle.close()));
  };
  try {
    for (const name of names) parts.set(name, await openPart(join(folder, name)));
    if (weightMap !== undefined) checkIndex(join(folder, weights), weightMap, parts);
  } catch (error) {
    await close();
    throw error;
  }
  const tensors = new Map<string, CheckpointTensor>();
  for (const [file, part] of parts) {
    for (const [name, entry] of part.tensors) tensors.set(name, { ...entry, file });
  }
  const read = async (name: string) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) {
      throw new EdgeDitError('checkpoint-mismatch', `tensor "${name}" is not in the checkpoint "${folder}".`);
    }
    const { dtype, shape, begin, end, file } = tensor;
    const { handle } = parts.get(file)!;
    return toFloat32({ dtype, shape, bytes: await readRange(handle, begin, end, join(folder, file)) });
  };
  return { tensors, read, close };
}

async function findWeights(folder: string): Promise<string> {
  const names = (await readdir(folder)).sort();
  for (const stem of PREFERRED) {
    for (const name of [`${stem}${INDEX_ENDING}`, `${stem}.safetensors`]) {
      if (names.includes(name)) return name;
    }
  }
  const indexes = names.filter((name) => name.endsWith(INDEX_ENDING));
  const candidates = indexes.length > 0 ? indexes : names.filter((name) => name.endsWith('.safetensors'));
  if (candidates.length === 1) return candidates[0];
  if (candidates.length > 1) {
    throw new EdgeDitError(
      'checkpoint-malformed',
      `${folder} has several weights (${list(candidates)}); leave one, or name it diffusion_pytorch_model.safetensors.`,
    );
  }
  const pickles = names.filter((name) => PICKLES.test(name));
  throw new EdgeDitError(
    'checkpoint-not-found',
    pickles.length === 0
      ? `${folder} has no weights; looked for ${PREFERRED.join(' or ')}.safetensors, its .index.json, and any *.safetensors.`
      : `${folder} has only pickled weights (${list(pickles)}), which run code when they are loaded; convert them to safetensors, for instance with save_pretrained(…, safe_serialization=True) of diffusers.`,
  );
}

async function readIndex(path: string): Promise<Map<string, string>> {
  const parsed = indexSchema.safeParse(await readJsonObject(path));
  if (!parsed.success)
    throw malformed(path, `field weight_map is not a map of names: ${z.prettifyError(parsed.error)}`);
  const weightMap = new Map(Object.entries(parsed.data.weight_map));
  const strange = [...new Set(weightMap.values())].filter((name) => !isPlainName(name));
  if (strange.length > 0) {
    throw malformed(path, `field weight_map names ${list(strange)}; parts must be *.safetensors in the same folder`);
  }
  return weightMap;
}

function isPlainName(name: string): boolean {
  return name.endsWith('.safetensors') && !name.startsWith('.') && name.length <= 255 && !/[/\\:\0]/.test(name);
}

/** The index and the parts must say the same: every tensor listed once, in the part that holds it. */
function checkIndex(path: string, weightMap: ReadonlyMap<string, string>, parts: ReadonlyMap<string, Part>): void {
  const missing = [...weightMap].filter(([name, file]) => !parts.get(file)!.tensors.has(name));
  if (missing.length > 0) {
    throw malformed(path, `lists tensors that are not in their part: ${list(missing.map(([n, f]) => `${n} (${f})`))}`);
  }
  const extra = [...parts].flatMap(([file, { tensors }]) =>
    [...tensors.keys()].filter((name) => weightMap.get(name) !== file).map((name) => `${name} (${file})`),
  );
  if (extra.length > 0) throw malformed(path, `does not list tensors of its parts: ${list(extra)}`);
}

async function openPart(path: string): Promise<Part> {
  let handle: FileHandle;
  try {
    handle = await open(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new EdgeDitError('checkpoint-not-found', `${path} cannot be opened (${code}); the checkpoint needs it.`, {
      cause,
    });
  }
  try {
    const { size } = await handle.stat();
    const length = await readRange(handle, 0, Math.min(8, size), path);
    const header = await readRange(handle, 0, safetensorsHeaderEnd(length, size, path), path);
    return { handle, tensors: parseSafetensorsHeader(header, size, path).tensors };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readRange(handle: FileHandle, begin: number, end: number, path: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - begin);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, begin + done);
    if (bytesRead === 0) throw malformed(path, `ends at byte ${begin + done}, expected ${end}; it changed while open`);
    done += bytesRead;
  }
  return bytes;
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED).map((name) => (name.length > 300 ? `${name.slice(0, 300)}…` : name));
  const rest = names.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function malformed(path: string, fault: string): EdgeDitError {
  return new EdgeDitError('checkpoint-malformed', `${path}: ${fault}.`);
}
