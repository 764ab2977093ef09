/** Files are small, are named for what they are, and know nothing of the machine on which they were written. */
import { basename } from 'node:path';
import { type Check, isTypeScript, matches, type Violation } from './source.ts';

const MAX_LINES = 400;
/** Names that say nothing: such a file collects what has no place. */
const EMPTY_NAMES = /^(utils?|helpers?|common|types?|misc|shared|stuff)\b/;
const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*(\.(test|d))?\.ts$/;
/** Folders of one machine, as a path of its own: not `../work/`, not `https://host/home/`. */
const MACHINE_PATH = /(?<![\w./~-])\/(?:work|root|home|Users)\/[\w.-]+|\/tmp\/bash/g;

export const files: Check = (all) =>
  all.flatMap((file): Violation[] => {
    const found: Violation[] = [];
    const report = (line: number, message: string) => found.push({ path: file.path, line, message });
    if (isTypeScript(file)) {
      const lines = file.text.split('\n').length - 1;
      if (lines > MAX_LINES)
        report(MAX_LINES + 1, `has ${lines} lines, at most ${MAX_LINES} are allowed; split it by what its parts do`);
      const name = basename(file.path);
      if (EMPTY_NAMES.test(name))
        report(1, `the name ${name} says nothing; move what it holds to files named for that`);
      else if (!KEBAB.test(name)) report(1, `the name ${name} is not kebab-case`);
    }
    for (const { match, line } of matches(file.text, MACHINE_PATH)) {
      report(line, `${match[0]} is a path of one machine; make it relative to the file or the repository`);
    }
    return found;
  });
