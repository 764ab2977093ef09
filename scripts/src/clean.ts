/** Removes what the build made. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolders, root } from './repository.ts';

for (const folder of packageFolders()) rmSync(join(root, folder, 'dist'), { recursive: true, force: true });
