/** Settings in, the same request as people paste it elsewhere out. The key is never in it, only its variable. */
import type { Settings } from './endpoint.ts';

export const VARIABLE = 'EDGE_DIT_API_KEY';

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

export function asCurl(origin: string, settings: Settings, withKey: boolean): string {
  return [
    `curl ${quoted(`${origin}/generate`)}`,
    `-H 'content-type: application/json'`,
    ...(withKey ? [`-H "authorization: Bearer $${VARIABLE}"`] : []),
    `-d ${quoted(JSON.stringify(settings))}`,
    '-o picture.png',
  ].join(' \\\n  ');
}

export function asTypeScript(origin: string, settings: Settings, withKey: boolean): string {
  const key = withKey ? `,\n    authorization: \`Bearer \${process.env.${VARIABLE}}\`` : '';
  const body = JSON.stringify(settings, null, 2).replaceAll('\n', '\n  ');
  return `import { writeFile } from 'node:fs/promises';

const response = await fetch(${JSON.stringify(`${origin}/generate`)}, {
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    accept: 'image/png'${key},
  },
  body: JSON.stringify(${body}),
});
if (!response.ok) throw new Error(await response.text());
await writeFile('picture.png', new Uint8Array(await response.arrayBuffer()));
`;
}
