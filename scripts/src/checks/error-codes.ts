/** Every error code is raised or handled somewhere; a code that nobody uses promises what does not happen. */
import { type Check, isTest, isTypeScript, matches } from './source.ts';

const PATH = 'runtime/src/errors.ts';

export const errorCodes: Check = (files) => {
  const file = files.find(({ path }) => path === PATH);
  if (!file) return [{ path: PATH, line: 1, message: 'the list of error codes is missing' }];
  const end = file.text.indexOf('} as const');
  const others = files.filter((other) => isTypeScript(other) && !isTest(other));
  return [...matches(file.text.slice(0, end), /^ {2}'?([a-z-]+)'?: '/gm)]
    .filter(({ match }) => !others.some(({ text }) => new RegExp(`(?<!^ {2})'${match[1]}'`, 'm').test(text)))
    .map(({ match, line }) => ({ path: PATH, line, message: `nothing uses the code ${match[1]}; remove it` }));
};
