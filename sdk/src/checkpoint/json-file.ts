/** Reads a JSON object of a checkpoint from disk: bounded size, an object at the top, errors that name the file. */
import { open } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';

/** An index of 65,536 tensors needs about 10 MB; a config a few KB. */
export const MAX_JSON_BYTES = 16 * 2 ** 20;

/** @throws `checkpoint-malformed` when the file is missing, too large or not a JSON object */
export async function readJsonObject(path: string): Promise<Record<string, unknown>> {
  const found = await readJsonObjectIfPresent(path);
  if (found === undefined) throw new EdgeDitError('checkpoint-malformed', `${path} does not exist.`);
  return found;
}

/** As `readJsonObject`, but undefined when there is no such file. */
export async function readJsonObjectIfPresent(path: string): Promise<Record<string, unknown> | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EdgeDitError('checkpoint-malformed', `${path} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new EdgeDitError('checkpoint-malformed', `${path} must hold a JSON object.`);
  }
  return json as Record<string, unknown>;
}

async function readText(path: string): Promise<string | undefined> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new EdgeDitError('checkpoint-malformed', `${path} cannot be read (${code}).`, { cause: error });
  }
  try {
    const { size } = await handle.stat();
    if (size > MAX_JSON_BYTES) {
      throw new EdgeDitError('checkpoint-malformed', `${path} has ${size} bytes, at most ${MAX_JSON_BYTES} are read.`);
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}
