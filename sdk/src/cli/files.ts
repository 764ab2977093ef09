/** Files that the user names, read and written: what is wrong with them is said of the option that named them. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EISDIR: 'is a folder',
  ENOTDIR: 'is below a file',
  EACCES: 'may not be opened: permission denied',
  EEXIST: 'is in the way of a folder',
};

function refused(option: string, path: string, cause: unknown): EdgeDitError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason = (code !== undefined && REASONS[code]) || `cannot be used (${message})`;
  return new EdgeDitError('invalid-argument', `${option}: "${path}" ${reason}.`, { cause });
}

export async function readUserFile(option: string, path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    throw refused(option, path, cause);
  }
}

/** Makes the folder of a file, so that a long computation does not end in front of a missing one. */
export async function prepareFolder(option: string, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw refused(option, dirname(path), cause);
  }
}

export async function writeUserFile(option: string, path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes);
  } catch (cause) {
    throw refused(option, path, cause);
  }
}
