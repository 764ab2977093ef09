/**
 * What quantizing the emoji example takes end to end, each from nothing, by the command line: seconds, and memory at most.
 * Writes examples/emoji/results/times.json and .md after each; exit code 1 above a bar. With names it runs these, and the
 * rows of the others stay; `--note` says what else the machine did.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { documentOf, startCli } from '@edge-dit/sdk/cli/testing/run-cli';
import { watchPeakMemory } from '@edge-dit/sdk/testing/peak-memory';
import { root } from './repository.ts';

interface Row {
  readonly name: string;
  readonly command: string;
  readonly date: string;
  readonly node: string;
  readonly machine: string;
  readonly note?: string;
  readonly seconds: number;
  readonly mostSeconds: number;
  readonly peakBytes: number;
}

const MOST_BYTES = 2e9;
const checkpoint = join(root, 'examples/emoji/model');
const quantize = (recipe: string) => ['quantize', checkpoint, '--recipe', recipe, '--out', 'models'];
/** In the order of the table. `quantize` takes the map that comes with the checkpoint; `mix` searches for one. */
const TASKS = [
  { name: 'vidit-q-w8a8', args: quantize('vidit-q-w8a8'), mostSeconds: 180 },
  { name: 'vidit-q-w4a8-uniform', args: quantize('vidit-q-w4a8-uniform'), mostSeconds: 600 },
  { name: 'vidit-q-w4a8', args: quantize('vidit-q-w4a8'), mostSeconds: 600 },
  {
    name: 'search',
    args: ['mix', checkpoint, '--recipe', 'vidit-q-w4a8', '--out', 'map.json'],
    mostSeconds: 2700,
  },
];

const { values: flags, positionals } = parseArgs({ options: { note: { type: 'string' } }, allowPositionals: true });
const chosen = TASKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
const results = join(root, 'examples/emoji/results');
const rows = new Map<string, Row>(
  existsSync(join(results, 'times.json'))
    ? JSON.parse(readFileSync(join(results, 'times.json'), 'utf8')).rows.map((row: Row) => [row.name, row])
    : [],
);

for (const { name, args, mostSeconds } of chosen) {
  const folder = mkdtempSync(join(tmpdir(), 'edge-dit-times-'));
  try {
    const started = performance.now();
    const cli = startCli([...args, '--json'], folder);
    const peak = watchPeakMemory(cli.process);
    documentOf(await cli.finished);
    const seconds = (performance.now() - started) / 1000;
    const command = `edge-dit ${args.join(' ').replaceAll(root, '')}`;
    const machine = `${cpus().length} cores of ${cpus()[0].model.trim()}`;
    const date = new Date().toISOString();
    const { note } = flags;
    const row = { name, command, date, node: process.version, machine, ...(note ? { note } : {}) };
    rows.set(name, { ...row, seconds, mostSeconds, peakBytes: peak.bytes });
    console.log(`${name}: ${seconds.toFixed(0)} s of ${mostSeconds}, at most ${(peak.bytes / 1e6).toFixed(0)} MB`);
    if (seconds > mostSeconds || peak.bytes > MOST_BYTES) process.exitCode = 1;
    save();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function save(): void {
  const ordered = TASKS.flatMap(({ name }) => rows.get(name) ?? []);
  const report = { command: 'npm run evidence:times', mostBytes: MOST_BYTES, rows: ordered };
  writeFileSync(join(results, 'times.json'), `${JSON.stringify(report, null, 2)}\n`);
  const text = [
    '# What quantizing takes, from nothing',
    '',
    'Calibration, and all that follows it, by one command and with an empty cache.',
    '',
    '| command | s | bar, s | memory at most, MB | on |',
    '| --- | ---: | ---: | ---: | --- |',
    ...ordered.map(({ command, seconds, mostSeconds, peakBytes, machine, node, date, note }) => {
      const on = `${machine}, Node ${node}, ${date.slice(0, 10)}${note ? `; ${note}` : ''}`;
      return `| \`${command}\` | ${seconds.toFixed(0)} | ${mostSeconds} | ${(peakBytes / 1e6).toFixed(0)} | ${on} |`;
    }),
    '',
    'Made by `npm run evidence:times`.',
  ];
  writeFileSync(join(results, 'times.md'), `${text.join('\n')}\n`);
}
