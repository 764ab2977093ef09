/** The status line of `edge-dit serve`, in a terminal of its own: util-linux's `script` gives a process one. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { publishTiny } from '../testing/tiny-class-model.ts';
import { BINARY } from './testing/run-cli.ts';

const skip = hasScript() ? false : 'no "script" of util-linux, which gives a process a terminal';
const PATIENCE_MS = 60_000;
const tiny = await publishTiny();
after(() => tiny.remove());

test('what an endpoint does stands on one line, until it is stopped', {
  skip,
  timeout: 180_000,
}, async () => {
  const command = `exec "${process.execPath}" "${BINARY}" serve --model "${tiny.folder}/tiny" --target node --port 0`;
  const terminal = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
    env: { ...process.env, LIMITS: '{"steps": 400, "pictures": 64}' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let seen = '';
  const shows = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(seen);
        if (match) resolve(match);
      };
      terminal.stdout.on('data', look);
      const fail = () => reject(new Error(`not seen: ${pattern}, in ${JSON.stringify(seen.slice(-2000))}`));
      terminal.once('exit', fail);
      setTimeout(fail, PATIENCE_MS).unref();
      look();
    });
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  const ended = once(terminal, 'close');
  try {
    const [, url] = await shows(/served at (http:\/\/[\d.]+:\d+)/);
    await shows(/tiny cold: idle, 0 waiting, 0 pictures, \d+ B\r/);
    const ask = (signal?: AbortSignal) =>
      fetch(`${url}/generate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        // The first is far longer than this test waits.
        body: JSON.stringify({ class: 1, ...(signal ? { steps: 400, n: 64 } : { steps: 2 }) }),
        signal,
      });
    const leaving = new AbortController();
    const [long, waiting] = [ask(leaving.signal), ask()];
    long.catch(() => {});
    await shows(/tiny ready: drawing, (?!0\.0)[\d.]+ steps\/s, 1 waiting, \d+ pictures?, [\d.]+ MiB\r/);
    leaving.abort();
    assert.equal((await waiting).status, 200);
    await shows(/tiny ready: idle, 0 waiting, [1-9]\d* pictures?, [\d.]+ MiB\r/);
    terminal.stdin.write('\x03');
    const [code] = await ended;
    assert.equal(code, 0);
    assert.ok(seen.includes('\x1b[2K\rstopping'), 'the line is gone before anything else is said');
  } finally {
    // It tells what runs in it.
    terminal.kill('SIGTERM');
  }
});

function hasScript(): boolean {
  try {
    return /util-linux/.test(execFileSync('script', ['--version'], { encoding: 'utf8' }));
  } catch {
    return false;
  }
}
