/**
 * What a classifier said of many pictures, in a file that grows by one record a picture, in any order: a run that was
 * broken off goes on where it was. A line of JSON names what all records have in common; a record is its index (uint32),
 * milliseconds a step, features and logits (float32, little-endian, as everything here).
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';

export interface FeatureRecord {
  readonly features: Float32Array;
  readonly logits: Float32Array;
  /** Milliseconds of a step of the sampler; 0 for pictures that no sampler made. */
  readonly msPerStep: number;
}

export interface FeatureSetting {
  readonly features: number;
  readonly classes: number;
  /** Whatever else decides over a record's content. */
  readonly of: Readonly<Record<string, string | number>>;
}

export class FeatureFile {
  readonly #path: string;
  readonly #setting: FeatureSetting;
  readonly #records = new Map<number, FeatureRecord>();

  /**
   * Opens or makes a file. Half a record at its end, which a process that was killed left, is cut off.
   * @throws `invalid-argument` for a file of another setting
   */
  constructor(path: string, setting: FeatureSetting) {
    this.#path = path;
    this.#setting = setting;
    const header = Buffer.from(`${canonicalJson(setting)}\n`);
    if (!existsSync(path)) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, header);
      return;
    }
    const bytes = readFileSync(path);
    if (!bytes.subarray(0, header.length).equals(header)) {
      throw new EdgeDitError(
        'invalid-argument',
        `${path} holds features of something else than ${canonicalJson(setting)}; remove it, or choose another folder.`,
      );
    }
    const length = this.#length;
    let at = header.length;
    for (; at + length <= bytes.length; at += length) this.#take(bytes.subarray(at, at + length));
    if (at < bytes.length) truncateSync(path, at);
  }

  get size(): number {
    return this.#records.size;
  }

  has(index: number): boolean {
    return this.#records.has(index);
  }

  /** @throws `internal` where it is not there */
  get(index: number): FeatureRecord {
    const found = this.#records.get(index);
    if (!found) throw new EdgeDitError('internal', `${this.#path} has no record ${index}.`);
    return found;
  }

  /** On the disk when it returns. */
  add(index: number, { features, logits, msPerStep }: FeatureRecord): void {
    const record = new DataView(new ArrayBuffer(this.#length));
    record.setUint32(0, index, true);
    [msPerStep, ...features, ...logits].forEach((value, i) => {
      record.setFloat32(4 * (i + 1), value, true);
    });
    const bytes = new Uint8Array(record.buffer);
    appendFileSync(this.#path, bytes);
    this.#take(bytes);
  }

  /** Bytes of a record. */
  get #length(): number {
    return 4 * (2 + this.#setting.features + this.#setting.classes);
  }

  #take(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const floats = (from: number, count: number) =>
      Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * (from + i), true));
    const { features, classes } = this.#setting;
    this.#records.set(view.getUint32(0, true), {
      msPerStep: view.getFloat32(4, true),
      features: floats(2, features),
      logits: floats(2 + features, classes),
    });
  }
}
