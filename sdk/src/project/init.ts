/** A new project: a folder in, its files written; nothing that is there is touched. */
import { access, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type ProjectValues, projectFiles } from './templates.ts';

/**
 * @returns the paths of the files, from the folder
 * @throws EdgeDitError `invalid-argument` naming the files that are there already; none is written then
 */
export async function initProject(folder: string, values: ProjectValues): Promise<readonly string[]> {
  const files = projectFiles(values);
  const present = (await Promise.all([...files.keys()].map((path) => exists(join(folder, path))))).flatMap((is, i) =>
    is ? [[...files.keys()][i]] : [],
  );
  if (present.length > 0) {
    const message = `${folder} has ${present.join(', ')} already; nothing is overwritten. Name another folder.`;
    throw new EdgeDitError('invalid-argument', message);
  }
  for (const [path, text] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    // Should somebody else have been faster.
    await writeFile(join(folder, path), text, { flag: 'wx' });
  }
  return [...files.keys()];
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
