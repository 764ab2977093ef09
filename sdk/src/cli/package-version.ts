/** The version of this package, which all packages of edge-dit have in common. */
import { readFileSync } from 'node:fs';

const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
export const packageVersion: string = JSON.parse(manifest).version;
