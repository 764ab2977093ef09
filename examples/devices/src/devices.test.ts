/** The same model on the same device code in Node and in Deno: the picture of the endpoint, to the byte. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createGateway } from '@edge-dit/functions/gateway/gateway';
import { listen, type Served } from '@edge-dit/functions/listen';
import { serveNode } from '@edge-dit/functions/targets/node';
import { type EmojiStore, publishEmoji } from '@edge-dit/sdk/testing/emoji-store';
import { generate } from '@edge-dit/sdk/testing/endpoint-client';

const DENO = process.env.DENO_PATH ?? 'deno';
const noDeno = spawnSync(DENO, ['--version']).status === 0 ? undefined : 'no Deno: install it, or set DENO_PATH';

let emoji: EmojiStore;
let endpoint: Served;
let gateway: Served;
let folder: string;
before(async () => {
  emoji = await publishEmoji('w4a8');
  endpoint = await serveNode({ store: emoji.store, models: ['emoji'] });
  gateway = await listen(createGateway({ store: emoji.store, models: ['emoji'] }).fetch);
  folder = await mkdtemp(join(tmpdir(), 'edge-dit-devices-'));
});
after(async () => {
  await gateway.close();
  await endpoint.close();
  await emoji.remove();
  await rm(folder, { recursive: true });
});

const hosts = [
  { name: 'Node', command: [process.execPath], skip: undefined },
  { name: 'Deno', command: [DENO, 'run', '--allow-all', '--quiet'], skip: noDeno },
];

for (const { name, command, skip } of hosts) {
  test(`${name} loads from the gateway, has the endpoint embed the prompt, and draws`, { skip }, async () => {
    const entry = fileURLToPath(new URL('draw.js', import.meta.url));
    const out = join(folder, `${name}.png`);
    const options = ['--model', 'emoji', '--from', gateway.url, '--endpoint', endpoint.url, '--steps', '2'];
    const [bin, ...before] = command;
    const cache = join(folder, name);
    const child = spawn(bin, [...before, entry, ...options, '--engine', 'wasm-simd', '--cache', cache, '--out', out]);
    let said = '';
    child.stdout.on('data', (data) => (said += data));
    child.stderr.on('data', (data) => (said += data));
    const [code] = await once(child, 'exit');
    assert.equal(code, 0, said);
    assert.match(said, /128 x 128, .* with wasm-simd\n {2}wasm-simd: asked for/);
    const { png } = await generate(endpoint.url, { prompt: 'red apple, fluent 3d style', seed: 1, steps: 2 });
    assert.deepEqual(new Uint8Array(await readFile(out)), png);
  });
}
