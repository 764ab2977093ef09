/** A checkpoint's tokenizer.json in, a tokenizer out; what is wrong with the file is said of the file. */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { loadTokenizer, type Tokenizer } from '@edge-dit/runtime/text/tokenizer';
import { readJsonObject } from './json-file.ts';

/** @throws `checkpoint-malformed` naming the file, for what is not JSON or not a tokenizer that can be used */
export async function readTokenizer(path: string): Promise<Tokenizer> {
  const json = await readJsonObject(path);
  try {
    return loadTokenizer(json);
  } catch (cause) {
    if (!isEdgeDitError(cause)) throw cause;
    throw new EdgeDitError('checkpoint-malformed', `${path}: ${cause.message}`, { cause });
  }
}
