/** The rules of this repository that the compiler and biome do not know. Prints each violation; exit code 1 if there is one. */
import { arithmetic } from './checks/arithmetic.ts';
import { dependencies } from './checks/dependencies.ts';
import { errorCodes } from './checks/error-codes.ts';
import { files } from './checks/files.ts';
import { links } from './checks/links.ts';
import { lists } from './checks/lists.ts';
import type { Check, SourceFile } from './checks/source.ts';
import { ownFiles, readBytes } from './repository.ts';

const CHECKS: readonly (readonly [name: string, check: Check])[] = [
  ['dependencies', dependencies],
  ['lists', lists],
  ['files', files],
  ['links', links],
  ['arithmetic', arithmetic],
  ['error codes', errorCodes],
];
/** What a host of repositories shows and a clone takes without complaint. */
const MAX_FILE_BYTES = 20e6;

const texts: SourceFile[] = [];
let violations = 0;
for (const path of ownFiles()) {
  const bytes = readBytes(path);
  if (bytes.length > MAX_FILE_BYTES) {
    violations++;
    console.error(`${path}:1: has ${bytes.length} bytes, at most ${MAX_FILE_BYTES} are allowed; divide it (size)`);
  }
  // Of binary files, checks see only that they are there.
  texts.push({ path, text: bytes.subarray(0, 8000).includes(0) ? '' : bytes.toString('utf8') });
}
for (const [name, check] of CHECKS) {
  for (const { path, line, message } of check(texts)) {
    violations++;
    console.error(`${path}:${line}: ${message} (${name})`);
  }
}
console.log(`${texts.length} files, ${CHECKS.length} checks, ${violations} violations`);
process.exitCode = violations > 0 ? 1 : 0;
