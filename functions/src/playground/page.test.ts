/** The playground as it is built: its bytes, its policy, and that every label belongs to something. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { playground } from './playground.ts';

/** They are part of every worker. */
const GZIP_BYTES = 15_000;

const response = await playground();
const html = await response.text();
const policy = response.headers.get('content-security-policy')!;

test('the page is small', (t) => {
  const bytes = gzipSync(html, { level: 9 }).length;
  t.diagnostic(`${html.length} bytes, ${bytes} gzip`);
  assert.ok(bytes <= GZIP_BYTES, `${bytes} bytes gzip`);
});

test('nothing runs but the script and the style of the page, and nothing is fetched from elsewhere', () => {
  for (const [directive, pattern] of [
    ['script-src', /<script[^>]*>([\s\S]*?)<\/script>/g],
    ['style-src', /<style[^>]*>([\s\S]*?)<\/style>/g],
  ] as const) {
    const [found, ...more] = [...html.matchAll(pattern)];
    assert.equal(more.length, 0);
    const hash = createHash('sha256').update(found[1]).digest('base64');
    assert.ok(policy.includes(`${directive} 'sha256-${hash}'`), `${directive} in ${policy}`);
  }
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  assert.doesNotMatch(html.replaceAll('http://www.w3.org/2000/svg', ''), /(src|href|action)="?https?:/);
  assert.doesNotMatch(html, / style="| on[a-z]+="/);
});

test('every label and description names an element of the page', () => {
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length, 'each id once');
  for (const [, names] of html.matchAll(/ (?:for|aria-describedby|aria-labelledby)="([^"]+)"/g)) {
    for (const name of names.split(' ')) assert.ok(ids.includes(name), name);
  }
});
