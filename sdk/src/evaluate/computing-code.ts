/** What computes pictures, as one digest: pictures that another build of the runtime made are not taken for this one's. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** A module at the top of each package whose code computes. */
const ENTRIES = ['@edge-dit/runtime/pipeline', '@edge-dit/wasm-kernels/assemble'];
/** They bring bytes and change none. */
const CARRIERS = /(?:^|\/)(?:stores|bench|testing)\/|(?:^|\/)fetch[^/]*$|\.test\.js$/;

/** SHA-256 over the compiled modules of the runtime and the kernels, without stores and tests. */
export async function computingCodeDigest(): Promise<string> {
  const { resolve } = createRequire(import.meta.url);
  const hash = createHash('sha256');
  for (const entry of ENTRIES) {
    const folder = dirname(resolve(entry));
    const names = (await readdir(folder, { recursive: true })).map((name) => name.replaceAll('\\', '/'));
    for (const name of names.filter((path) => path.endsWith('.js') && !CARRIERS.test(path)).sort()) {
      hash.update(`${name}\n`).update(await readFile(join(folder, name)));
    }
  }
  return hash.digest('hex');
}
