/** Links of documents to files and folders of the repository lead somewhere. */
import { dirname, posix } from 'node:path';
import { type Check, matches } from './source.ts';

const LINK = /\]\((?![a-z]+:|#)([^)\s#]+)[^)]*\)/g;

export const links: Check = (files) => {
  const known = new Set<string>();
  for (const { path } of files) {
    for (let at = path; at !== '.'; at = dirname(at)) known.add(at);
  }
  return files
    .filter(({ path }) => path.endsWith('.md'))
    .flatMap(({ path, text }) =>
      [...matches(text, LINK)]
        .filter(({ match }) => !known.has(posix.join(dirname(path), match[1]).replace(/\/$/, '')))
        .map(({ match, line }) => ({ path, line, message: `the link to ${match[1]} leads nowhere; correct it` })),
    );
};
