/** Where this repository is, and the files in it that people write: nothing installed, built or fetched. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Paths from the root, with slashes, sorted; `enter` says which folders are entered, by their name. */
export function filesBelow(folder: string, enter: (name: string) => boolean = () => true): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (enter(entry.name)) found.push(...filesBelow(path, enter));
      // In a worktree `.git` is a file.
    } else if (entry.isFile() && entry.name !== '.git') found.push(path.split(sep).join('/'));
  }
  return found.sort();
}

const MADE_BY_TOOLS = new Set(['node_modules', 'dist', '.git', '.edge-dit']);

/** Every file of the repository itself. */
export function ownFiles(): string[] {
  return filesBelow('.', (name) => !MADE_BY_TOOLS.has(name)).filter((path) => !path.endsWith('.log'));
}

/** The folders of the workspaces. */
export function packageFolders(): string[] {
  const entries = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const examples = readdirSync(join(root, 'examples'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...entries.map(({ name }) => name), ...examples.map(({ name }) => `examples/${name}`)]
    .filter((folder) => readdirSync(join(root, folder)).includes('package.json'))
    .sort();
}

export const readBytes = (path: string): Buffer => readFileSync(join(root, path));
export const fromRoot = (path: string): string => relative(root, path).split(sep).join('/');
