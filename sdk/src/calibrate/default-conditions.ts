/** What to calibrate on when nobody says: the checkpoint's own example prompts, or some of its classes. */
import { readFile } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Geometry } from '@edge-dit/runtime/models/architecture';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

const DEFAULT_CLASSES = 32;

/** One prompt a line; empty lines and those that start with # do not count. */
export function readPrompts(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/**
 * Lines of a calibration file: prompts for a model of texts, whatever they look like, and numbers of classes for a model
 * of classes.
 * @param name of the file, for messages
 * @throws `invalid-argument` for no lines, and for a line that is not a class
 */
export function parseConditions(text: string, { conditioning }: Geometry, name: string): (string | number)[] {
  const lines = readPrompts(text);
  if (lines.length === 0) throw new EdgeDitError('invalid-argument', `${name} has no prompts or classes.`);
  if (conditioning.kind === 'text') return lines;
  const strange = lines.find((line) => !/^\d+$/.test(line) || Number(line) >= conditioning.classes);
  if (strange === undefined) return lines.map(Number);
  throw new EdgeDitError(
    'invalid-argument',
    `${name}: "${strange.slice(0, 100)}" is not a class of this model; expected 0 to ${conditioning.classes - 1}.`,
  );
}

/** undefined for a model of text whose checkpoint has no calibration_prompts.txt or no text encoder. */
export async function defaultConditions(
  { files }: Checkpoint,
  { conditioning }: Geometry,
): Promise<(string | number)[] | undefined> {
  if (conditioning.kind === 'class') {
    const count = Math.min(DEFAULT_CLASSES, conditioning.classes);
    return Array.from({ length: count }, (_, i) => Math.floor((i * conditioning.classes) / count));
  }
  const { calibrationPrompts, tokenizer, textEncoder } = files;
  if (!calibrationPrompts || !tokenizer || !textEncoder) return undefined;
  const prompts = readPrompts(await readFile(calibrationPrompts, 'utf8'));
  return prompts.length > 0 ? prompts : undefined;
}
