/**
 * Makes the playground at build time: one HTML of the page, its style and its script, and the policy that lets the browser run
 * these two and nothing else. Out: `built-page.js`, which workers and servers import.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';

const source = (name: string) => new URL(`../../src/playground/${name}`, import.meta.url);
const built = (name: string) => new URL(name, import.meta.url);

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(built('main.js'))],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  conditions: ['browser'],
  write: false,
});
const script = outputFiles[0].text.trim();
const { code } = await transform(await readFile(source('page.css'), 'utf8'), { loader: 'css', minify: true });
const style = code.trim();

const html = (await readFile(source('page.html'), 'utf8'))
  .replace(/\n\s*/g, '\n')
  .replace('<style></style>', () => `<style>${style}</style>`)
  .replace('<script type="module"></script>', () => `<script type="module">${script}</script>`);

const policy = [
  "default-src 'none'",
  `script-src ${hashOf(script)}`,
  `style-src ${hashOf(style)}`,
  'img-src blob: data:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

await writeFile(
  built('built-page.js'),
  `export const html = ${JSON.stringify(html)};\nexport const policy = ${JSON.stringify(policy)};\n`,
);
