/** What quantizes weights, as one digest: measurements that another build made are not taken for this one's. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** All on the way from a float weight to an error. */
const MODULES = [
  ...['balance', 'gptq', 'input-transforms', 'quantize-weight', 'search-balance', 'weight-grid'].map(
    (name) => `../quantize/${name}.js`,
  ),
  ...['lessons', 'lesson-worker', 'sensitivity-worker', 'stored-weight'].map((name) => `./${name}.js`),
];

/** SHA-256 over the compiled modules. */
export async function quantizingCodeDigest(): Promise<string> {
  const hash = createHash('sha256');
  for (const module of MODULES) hash.update(await readFile(new URL(module, import.meta.url)));
  return hash.digest('hex');
}
