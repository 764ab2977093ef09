/**
 * Codes of layers in a folder, a file each, from when they are computed until all of the model is stored. The folder's
 * name is the digest of all that decides over them; a file is there whole or not at all.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSafetensors, type SafetensorsTensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import type { QuantizedWeight } from './quantize-weight.ts';

export class KeptCodes {
  readonly #folder: string;

  /** @param digest of all that decides over codes, in hexadecimal */
  constructor(cache: string, digest: string) {
    this.#folder = join(cache, 'quantized', digest.slice(0, 32));
  }

  has(layer: string): boolean {
    return existsSync(this.#path(layer));
  }

  /** @throws EdgeDitError `checkpoint-malformed` naming a file that is not what was written */
  async read(layer: string): Promise<QuantizedWeight> {
    const path = this.#path(layer);
    const { tensors, metadata } = parseSafetensors(new Uint8Array(await readFile(path)), path);
    const bytes = (name: string) => tensors.get(name)!.bytes.slice();
    const records = tensors.get('records');
    return {
      codes: bytes('codes'),
      scale: new Float32Array(bytes('scale').buffer),
      zero: bytes('zero'),
      ...(records ? { groups: { size: Number(metadata.group), records: bytes('records') } } : {}),
    };
  }

  /** On the disk when it has ended. */
  async write(layer: string, { codes, scale, zero, groups }: QuantizedWeight): Promise<void> {
    const tensor = (dtype: SafetensorsTensor['dtype'], data: Uint8Array | Float32Array): SafetensorsTensor => {
      return { dtype, shape: [data.length], bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
    };
    const file = new Map([
      ['codes', tensor('U8', codes)],
      ['scale', tensor('F32', scale)],
      ['zero', tensor('U8', zero)],
    ]);
    if (groups) file.set('records', tensor('U8', groups.records));
    const path = this.#path(layer);
    await mkdir(this.#folder, { recursive: true });
    await writeFile(`${path}.new`, serializeSafetensors(file, groups ? { group: String(groups.size) } : {}));
    await rename(`${path}.new`, path);
  }

  /** When the model is stored. */
  async forget(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  #path(layer: string): string {
    return join(this.#folder, `${layer}.safetensors`);
  }
}
