/**
 * Measurements in a file that grows by a line each, in any order: a search that was broken off goes on where it was, and
 * another budget needs no new ones. The first line says what all have in common; the file's name is its digest.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import { z } from 'zod';
import { digestOf } from './bit-map.ts';
import type { Errors } from './lessons.ts';

export interface Measurement extends Errors {
  readonly layer: string;
  readonly bits: CodeBits;
}

const measurementSchema = z.strictObject({
  layer: z.string(),
  bits: z.union([z.literal(4), z.literal(5), z.literal(6), z.literal(8)]),
  picture: z.number().min(0),
  text: z.number().min(0),
});

export class MeasurementFile {
  readonly #path: string | undefined;
  readonly #found = new Map<string, Measurement>();

  /**
   * @param folder where it lies; in memory alone without
   * @param of all that decides over the figures
   */
  constructor(folder: string | undefined, of: Readonly<Record<string, unknown>>) {
    if (folder === undefined) return;
    const header = canonicalJson({ format: 'edge-dit-sensitivity', version: 1, ...of });
    this.#path = join(folder, `sensitivity-${digestOf(header).slice(0, 16)}.jsonl`);
    const first = Buffer.from(`${header}\n`);
    const bytes = existsSync(this.#path) ? readFileSync(this.#path) : Buffer.of();
    if (bytes.subarray(0, first.length).equals(first)) this.#read(this.#path, bytes, first.length);
    else {
      mkdirSync(folder, { recursive: true });
      writeFileSync(this.#path, first);
    }
  }

  get(layer: string, bits: CodeBits): Measurement | undefined {
    return this.#found.get(keyOf(layer, bits));
  }

  /** On the disk when it returns. */
  add(measurement: Measurement): void {
    if (this.#path !== undefined) appendFileSync(this.#path, `${JSON.stringify(measurement)}\n`);
    this.#found.set(keyOf(measurement.layer, measurement.bits), measurement);
  }

  /** Half a line at the end, which a process that was killed left, is cut off, and so is whatever follows a damaged one. */
  #read(path: string, bytes: Buffer, from: number): void {
    let at = from;
    for (let end = bytes.indexOf(NEWLINE, at); end >= 0; end = bytes.indexOf(NEWLINE, at)) {
      const measurement = measurementOf(bytes.toString('utf8', at, end));
      if (measurement === undefined) break;
      this.#found.set(keyOf(measurement.layer, measurement.bits), measurement);
      at = end + 1;
    }
    if (at < bytes.length) truncateSync(path, at);
  }
}

const NEWLINE = 10;
const keyOf = (layer: string, bits: CodeBits) => `${bits} ${layer}`;

function measurementOf(line: string): Measurement | undefined {
  try {
    return measurementSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
