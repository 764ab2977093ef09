/** What every check reads and says. */

export interface SourceFile {
  /** From the root of the repository, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** What is wrong, and what to do. */
  readonly message: string;
}

export type Check = (files: readonly SourceFile[]) => Violation[];

export const isTypeScript = ({ path }: SourceFile): boolean => path.endsWith('.ts');
/** Tests, and what only they use. */
export const isTest = ({ path }: SourceFile): boolean =>
  /\.test\.ts$|(^|\/)testing\/|(^|\/)conformance\.ts$/.test(path);

/** `a/b/c.ts` lies below `a/b`. */
export const isBelow = (path: string, folder: string): boolean => path.startsWith(`${folder}/`);

const COMMENT_OR_TEXT = /\/\/.*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`/g;

/** The text with blanks instead of comments, so that lines and columns stay. */
export function withoutComments(text: string): string {
  return text.replace(COMMENT_OR_TEXT, (found) => (found.startsWith('/') ? found.replace(/[^\n]/g, ' ') : found));
}

/** Every match of `pattern` (global) with its line. */
export function* matches(text: string, pattern: RegExp): Generator<{ match: RegExpMatchArray; line: number }> {
  let line = 1;
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    for (; from < match.index; from++) if (text.charCodeAt(from) === 10) line++;
    yield { match, line };
  }
}
