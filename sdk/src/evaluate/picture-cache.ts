/**
 * Finished pictures in a folder, `<digest of the model>/<digest of the request>.safetensors`: a run that was broken off, or
 * one that evaluates a further model, does not compute them again. A file is there whole or not at all.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import type { GenerateRequest } from '@edge-dit/runtime/pipeline';
import { float32Tensor, parseSafetensors, serializeSafetensors, toFloat32 } from '@edge-dit/runtime/safetensors';
import { z } from 'zod';
import { computingCodeDigest } from './computing-code.ts';
import { channelsOf, type PictureValues } from './picture-values.ts';
import type { GeneratedPicture } from './picture-worker.ts';

/** A picture as metrics need it, and what it took to make. */
export interface KeptPicture extends PictureValues {
  readonly engine: string;
  readonly msPerStep: number;
  readonly peakBytes: number;
}

/** The metadata `made` of a file, as JSON. */
const madeSchema = z.strictObject({ engine: z.string(), msPerStep: z.number(), peakBytes: z.number() });

export class PictureCache {
  readonly #folder: string;
  readonly #code: string;

  private constructor(folder: string, code: string) {
    this.#folder = folder;
    this.#code = code;
  }

  static async open(folder: string): Promise<PictureCache> {
    return new PictureCache(folder, await computingCodeDigest());
  }

  has(model: string, request: GenerateRequest): boolean {
    return existsSync(this.pathOf(model, request));
  }

  /** @throws EdgeDitError `object-missing`; `checkpoint-malformed` naming a file that is not what was written */
  async read(model: string, request: GenerateRequest): Promise<KeptPicture> {
    const path = this.pathOf(model, request);
    const bytes = await readFile(path).catch((cause) => {
      throw new EdgeDitError('object-missing', `${path} was removed while it was needed; run again.`, { cause });
    });
    const { tensors, metadata } = parseSafetensors(new Uint8Array(bytes), path);
    const picture = tensors.get('picture');
    const made = madeSchema.safeParse(jsonOf(metadata.made));
    if (picture?.shape.length !== 3 || !made.success) {
      throw new EdgeDitError(
        'checkpoint-malformed',
        `${path} is not a picture that was kept; remove it and run again.`,
      );
    }
    const [, height, width] = picture.shape;
    return { width, height, values: toFloat32(picture), ...made.data };
  }

  write(model: string, request: GenerateRequest, picture: GeneratedPicture): void {
    const { width, height, values, engine, peakBytes, timings, steps } = picture;
    const made = { engine, peakBytes, msPerStep: timings.sample / steps };
    const tensor = float32Tensor(values, [channelsOf(picture), height, width]);
    const metadata = { made: JSON.stringify(made), request: canonicalJson(request) };
    writeWhole(this.pathOf(model, request), serializeSafetensors(new Map([['picture', tensor]]), metadata));
  }

  /** What was found of a model's pictures: computed once, and kept as JSON. `of` says all that it depends on. */
  async remember<T>(model: string, of: Readonly<Record<string, unknown>>, compute: () => Promise<T>): Promise<T> {
    const path = this.#path(model, of, 'json');
    if (existsSync(path)) return JSON.parse(await readFile(path, 'utf8'));
    const found = await compute();
    writeWhole(path, JSON.stringify(found));
    return found;
  }

  pathOf(model: string, request: GenerateRequest): string {
    return this.#path(model, { request }, 'safetensors');
  }

  #path(model: string, of: Readonly<Record<string, unknown>>, ending: string): string {
    const key = createHash('sha256').update(canonicalJson({ ...of, code: this.#code }));
    return join(this.#folder, model, `${key.digest('hex').slice(0, 32)}.${ending}`);
  }
}

function writeWhole(path: string, content: Uint8Array | string): void {
  const partial = `${path}.${randomUUID()}`;
  mkdirSync(dirname(path), { recursive: true });
  try {
    writeFileSync(partial, content);
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

function jsonOf(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}
