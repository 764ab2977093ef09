/**
 * Runs the compiled tests: `npm test`, or `npm test -- samplers` for those whose path has "samplers" in it. Says first
 * which optional servers are absent, and at the end, on a line of its own, `N passed, N failed, N skipped`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';
import { filesBelow, packageFolders, readBytes, root } from './repository.ts';

/** What some tests need and this repository does not install. Absent, those tests are skipped. */
const SERVERS = [
  {
    variable: 'S3_ENDPOINT',
    name: 'an S3 server',
    enable: 'eval "$(scripts/s3-ceph.sh start)" as root on Debian, or S3_ENDPOINT and AWS_* of your own server',
  },
  {
    variable: 'DENO_PATH',
    name: 'Deno',
    enable: 'npm install --prefix <folder> deno, DENO_PATH=<folder>/node_modules/.bin/deno',
  },
  { variable: 'CHROMIUM_PATH', name: 'Chromium', enable: 'CHROMIUM_PATH=<path of a chromium or chrome>' },
];

const TESTS_AT_ONCE = 2;
/** Begins first, so that it does not run alone at the end. */
const LONGEST = 'recipes/presets';
/** For one file. */
const FILE_TIMEOUT_MS = 12 * 60_000;

const filters = process.argv.slice(2);
const all = packageFolders()
  .filter((folder) => existsSync(join(root, folder, 'dist')))
  .flatMap((folder) => filesBelow(`${folder}/dist`))
  .filter((path) => path.endsWith('.test.js') && existsSync(join(root, sourceOf(path))));
const chosen = all
  .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
  .sort((a, b) => Number(b.includes(LONGEST)) - Number(a.includes(LONGEST)));

if (chosen.length === 0) {
  console.error(`no test has ${filters.join(' or ')} in its path; there are:\n${all.join('\n')}`);
  process.exit(1);
}
for (const line of describeServers(chosen)) console.log(line);
process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --enable-source-maps`.trim();

/** Totals that the runner reports at its end; groups (`describe`) are not in them. */
const totals = new Map<string, number>();
/** Why tests, or groups as one, were skipped, and how many for it. */
const skips = new Map<string, number>();
let anyFailed = false;
const events = run({
  files: chosen.map((path) => join(root, path)),
  concurrency: TESTS_AT_ONCE,
  timeout: FILE_TIMEOUT_MS,
});
events.on('test:diagnostic', ({ message, nesting }) => {
  const total = /^(pass|fail|cancelled) (\d+)$/.exec(message);
  if (total && nesting === 0) totals.set(total[1], Number(total[2]));
});
events.on('test:pass', ({ skip }) => {
  if (skip === undefined) return;
  const reason = typeof skip === 'string' ? skip : 'no reason given';
  skips.set(reason, (skips.get(reason) ?? 0) + 1);
});
events.on('test:fail', () => {
  anyFailed = true;
});
const report = events.compose(new Spec());
report.on('end', () => {
  const total = (name: string) => totals.get(name) ?? 0;
  const passed = total('pass');
  const failed = Math.max(total('fail') + total('cancelled'), Number(anyFailed));
  const skipped = [...skips.values()].reduce((a, b) => a + b, 0);
  if (skipped > 0) console.log('\nskipped:');
  for (const [reason, count] of skips) console.log(`  ${count} x ${reason}`);
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
});
report.pipe(process.stdout, { end: false });

/** The compiler leaves the output of a deleted file behind. */
function sourceOf(compiled: string): string {
  return compiled.replace('/dist/', '/src/').replace(/\.js$/, '.ts');
}

function describeServers(tests: readonly string[]): string[] {
  return SERVERS.flatMap(({ variable, name, enable }) => {
    const users = tests.filter((path) => readBytes(path).includes(`process.env.${variable}`)).map(sourceOf);
    if (users.length === 0) return [];
    if (process.env[variable]) return [`${name}: ${variable} is ${process.env[variable]}`];
    return [`${name}: ${variable} is not set; skipping what needs it in ${users.join(', ')}. To run it: ${enable}`];
  });
}
