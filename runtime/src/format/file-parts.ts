/** An auxiliary file (tokenizer, text encoder, VAE) in; its record for the manifest and its parts out. */
import { sha256Hex } from '../verify.ts';
import { PART_BYTES } from './limits.ts';
import type { FileRecord } from './manifest-schema.ts';

/** Views of the parts in which a file is stored: 4 MiB each, the last one shorter. */
export function* partsOfFile(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += PART_BYTES) yield bytes.subarray(at, at + PART_BYTES);
}

/** The record of a file for `manifest.files`. */
export async function describeFile(name: string, bytes: Uint8Array): Promise<FileRecord> {
  const parts: FileRecord['parts'] = [];
  for (const part of partsOfFile(bytes)) parts.push({ sha256: await sha256Hex(part), length: part.length });
  return { name, length: bytes.length, sha256: await sha256Hex(bytes), parts };
}
