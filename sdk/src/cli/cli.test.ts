import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ModelDescription } from '../describe-model.ts';
import { createProgram } from './program.ts';
import { Session } from './session.ts';
import { documentOf, refused, runCli, startCli } from './testing/run-cli.ts';
import { FIXTURES, makeTinyPipeline, type TinyName } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-cli-'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(args, root);

/** Exit code 0, and --json's document. */
async function document<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  return documentOf<T>(await cli(...args, '--json'));
}

before(async () => {
  await makeTinyPipeline(root, 'dit');
  await document('quantize', 'dit', '--recipe', 'w4a8', '--out', 'models');
});

test('every command explains itself, with an example and the exit codes', async () => {
  const names = createProgram(new Session()).commands.map((command) => command.name());
  assert.ok(names.length >= 7, names.join(', '));
  const helps = await Promise.all([[], ...names.map((name) => [name])].map((args) => cli(...args, '--help')));
  for (const { code, stdout } of helps) {
    assert.equal(code, 0);
    for (const part of ['Usage: edge-dit', 'Example:\n  $ edge-dit', 'Exit codes:', '--json', '--quiet']) {
      assert.ok(stdout.includes(part), `${part} in ${stdout}`);
    }
  }
});

test('list names what there is', async () => {
  const { stdout } = await cli('list');
  for (const name of ['w4a8', 'PixArtTransformer2DModel', 'DDIMScheduler', 's3://bucket/prefix', 'workerd']) {
    assert.ok(stdout.includes(name), name);
  }
  const { recipes, targets } = await document<Record<string, { name: string }[]>>('list');
  assert.ok(recipes.some(({ name }) => name === 'w8a8'));
  assert.ok(targets.length >= 2);
});

test('quantize says what it sent, and sends nothing the second time', async () => {
  const args = ['quantize', 'dit/transformer/..', '--recipe', 'w8a8', '--out', 'models/'];
  const first = await cli(...args, '--license', 'MIT', '--steps', '7', '--guidance', '2.5');
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^Published dit-w8a8 \(w8a8\)/);
  assert.match(first.stdout, /Next: edge-dit generate --model models\/dit-w8a8 /);
  assert.match(first.stderr, /quantizing: \d+ layers/);
  const again = await document(...args, '--license', 'MIT', '--steps', '7', '--guidance', '2.5');
  assert.deepEqual(again.sent, { objects: 0, bytes: 0 });
  assert.equal(again.pointer, 'unchanged');
  const quiet = await cli(...args, '--name', 'other', '--quiet');
  assert.deepEqual([quiet.stdout, quiet.stderr], ['models/other\n', '']);
  const description = await document('inspect', 'models/dit-w8a8');
  assert.deepEqual(description.defaults, { steps: 7, guidance: 2.5 });
  assert.equal(description.license, 'MIT');
});

test('inspect counts every byte, and lists layers when asked', async () => {
  const description = await document<ModelDescription>('inspect', 'models#dit-w4a8', '--layers');
  const { shards, encodings, layers, bits, parameters, floatBytes16, ratio } = description;
  assert.equal(
    shards.bytes,
    encodings.reduce((sum, { bytes }) => sum + bytes, shards.paddingBytes),
  );
  assert.equal(2 * parameters, floatBytes16);
  assert.equal(ratio, shards.bytes / floatBytes16);
  for (const { weightBits, layers: count } of bits) {
    assert.equal(layers.filter((layer) => layer.weightBits === weightBits).length, count);
  }
  const { stdout } = await cli('inspect', 'models#dit-w4a8', '--layers');
  for (const part of ['DiTTransformer2DModel', 'int4', 'DDIMScheduler', 'vae-decoder.onnx', 'ratio', 'attn1']) {
    assert.ok(stdout.includes(part), `${part} in ${stdout}`);
  }
});

test('verify: exit code 0 for a whole model, 1 naming the damaged shard', async () => {
  await document('quantize', 'dit', '--recipe', 'w8a8', '--out', 'damaged', '--name', 'm');
  assert.equal((await document('verify', 'damaged')).ok, true);
  const { shards } = await document<ModelDescription>('inspect', 'damaged');
  const keys = await readdir(join(root, 'damaged/shards'));
  assert.ok(keys.length > shards.count, 'shards and the VAE');
  const sizes = await Promise.all(keys.map(async (key) => (await readFile(join(root, 'damaged/shards', key))).length));
  const victim = join(root, 'damaged/shards', keys[sizes.indexOf(Math.max(...sizes))]);
  const bytes = await readFile(victim);
  bytes[bytes.length >> 1] ^= 1;
  await writeFile(victim, bytes);
  const { code, stdout } = await cli('verify', 'damaged');
  assert.equal(code, 1);
  assert.match(stdout, /shard 0: .*SHA-256 is .*DAMAGED: 1 finding/s);
  assert.ok(stdout.includes(keys[sizes.indexOf(Math.max(...sizes))]));
  const json = await cli('verify', 'damaged', '--json');
  assert.equal(json.code, 1);
  const report = JSON.parse(json.stdout);
  assert.equal(report.ok, false);
  assert.equal(report.damage[0].code, 'digest-mismatch');
  refused(
    await cli('generate', '--model', 'damaged', '--class', '1', '--out', 'x.png'),
    3,
    /^edge-dit: digest-mismatch: /m,
  );
});

const NAMES: readonly TinyName[] = ['dit', 'pixart-alpha', 'pixart-microcond'];

test('parity: the float network of each fixture, in both engines', async () => {
  for (const name of NAMES) {
    const io = join(FIXTURES, name, 'io.safetensors');
    for (const engine of ['wasm', 'reference']) {
      const args = ['parity', join(FIXTURES, name), '--io', io, '--engine', engine];
      const { error, ok } = await document<{ error: number; ok: boolean }>(...args);
      assert.ok(ok && error <= 1e-4 && error > 0, `${name} ${engine}: ${error}`);
    }
  }
});

test('parity: exit code 1 above the tolerance, 2 for a file without the tensors', async () => {
  const io = join(FIXTURES, 'dit', 'io.safetensors');
  const strict = await cli('parity', join(FIXTURES, 'dit/transformer'), '--io', io, '--tolerance', '1e-9');
  assert.equal(strict.code, 1);
  assert.match(strict.stdout, /output +\d\.\d+e-\d+\n {2}ABOVE the tolerance of 1e-9/);
  const weights = join(FIXTURES, 'dit/transformer/diffusion_pytorch_model.safetensors');
  refused(
    await cli('parity', 'dit', '--io', weights),
    2,
    /invalid-argument: --io: .*model\.safetensors has none of .*in\.hidden_states/,
  );
  const junk = await cli('parity', 'dit', '--io', join(root, 'dit/transformer/config.json'));
  refused(junk, 3, /checkpoint-malformed: --io: .*config\.json: /);
  refused(await cli('parity', 'dit', '--io', 'none.safetensors'), 2, /--io: "none.safetensors" does not exist/);
});

test('bad usage: exit code 2, and what was meant', async () => {
  refused(await cli('genrate'), 2, /unknown command 'genrate'\n\(Did you mean generate\?\)/);
  refused(await cli('inspect', '--layer', 'x'), 2, /unknown option '--layer'\n\(Did you mean --layers\?\)/);
  refused(await cli('inspect'), 2, /missing required argument 'model'/);
  refused(
    await cli('quantize', 'dit', '--recipe', 'w4a9', '--out', 'm'),
    2,
    /unknown recipe "w4a9".*Known: w8a8, .*vidit-q-w4a8/,
  );
  refused(await cli('quantize', 'dit', '--recipe', 'w4a8', '--out', 'ftp://x'), 2, /unknown kind of store "ftp"/);
  refused(
    await cli('quantize', 'dit', '--recipe', 'w4a8', '--out', 'm', '--name', 'A b'),
    2,
    /"A b" is not a model name/,
  );
  const generate = ['generate', '--model', 'models#dit-w4a8', '--out', 'x.png'];
  refused(await cli(...generate, '--steps', '0'), 2, /--steps.*integer from 1 to 1000/);
  refused(await cli(...generate, '--class', '11'), 2, /invalid-request: class: got 11/);
  refused(await cli(...generate, '--prompt', 'a cat'), 2, /invalid-request: prompt: this model takes a class, not a/);
  refused(await cli(...generate), 2, /invalid-request: class: got nothing/);
  refused(
    await cli(...generate, '--class', '1', '--seed', '9007199254740991', '--count', '2'),
    2,
    /lead beyond the largest seed, 9007199254740991/,
  );
  assert.equal(existsSync(join(root, 'x-1.png')), false);
  const jpeg = ['generate', '--model', 'models#dit-w4a8', '--class', '1', '--out', 'x.jpg'];
  refused(await cli(...jpeg), 2, /--out: "x.jpg" does not end in \.png/);
  assert.equal(existsSync(join(root, 'x.jpg')), false);
  refused(await cli(...generate, '--class', '1', '--memory', '1 kg'), 2, /--memory.*128MB/);
  refused(await cli('serve', '--model', 'models#dit-w4a8', '--target', 'workrd'), 2, /did you mean "workerd"\?/);
  assert.equal((await cli()).code, 2);
  const json = await cli('list', '--jsno', '--json');
  assert.equal(json.code, 2);
  assert.deepEqual(Object.keys(JSON.parse(json.stderr).error), ['code', 'message']);
  assert.equal(existsSync(join(root, 'x.png')), false);
});

test('what is not there or does not fit: exit code 3', async () => {
  refused(
    await cli('quantize', 'nowhere', '--recipe', 'w4a8', '--out', 'm'),
    3,
    /checkpoint-not-found: checkpoint "nowhere"/,
  );
  refused(await cli('inspect', 'models/dit-w4a9'), 3, /model-not-found: .*dit-w4a8/);
  await mkdir(join(root, 'strange/transformer'), { recursive: true });
  await writeFile(join(root, 'strange/transformer/config.json'), '{"_class_name":"FluxTransformer2DModel"}');
  await writeFile(
    join(root, 'strange/transformer/diffusion_pytorch_model.safetensors'),
    await readFile(join(FIXTURES, 'dit/transformer/diffusion_pytorch_model.safetensors')),
  );
  refused(
    await cli('quantize', 'strange', '--recipe', 'w4a8', '--out', 'm'),
    3,
    /unknown-name: unknown architecture "Flux/,
  );
  const poor = ['generate', '--model', 'models#dit-w4a8', '--class', '1', '--out', 'x.png', '--memory', '64KiB'];
  refused(await cli(...poor), 3, /memory-exceeded: .* 65536 /);
  const json = await cli('inspect', 'models/none', '--json');
  assert.equal(JSON.parse(json.stderr).error.code, 'model-not-found');
});

test('Ctrl-C: exit code 130, long before the end, and no picture', async () => {
  const args = ['generate', '--model', 'models#dit-w4a8', '--class', '1', '--steps', '1000', '--out', 'never.png'];
  const running = startCli(args, root);
  await running.shows('stderr', /seed 1: 1,000 steps/);
  running.process.kill('SIGINT');
  const { code, stderr } = await running.finished;
  assert.equal(code, 130, stderr);
  assert.match(stderr, /edge-dit: aborted: /);
  assert.equal(existsSync(join(root, 'never.png')), false);
});

test('serve: answers until it is stopped, on each target', async () => {
  for (const [target, signal] of [
    ['node', 'SIGTERM'],
    ['workerd', 'SIGINT'],
  ] as const) {
    const args = ['serve', '--model', 'models#dit-w4a8', '--target', target, '--port', '0', '--json'];
    const running = startCli(args, root);
    const [text] = await running.shows('stdout', /^\{.*\}\n$/s);
    const { url } = JSON.parse(text);
    assert.equal((await fetch(`${url}/healthz`)).status, 200, target);
    running.process.kill(signal);
    const { code, stderr } = await running.finished;
    assert.deepEqual([code, stderr], [0, ''], target);
  }
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const { port } = taken.address() as { port: number };
  refused(
    await cli('serve', '--model', 'models#dit-w4a8', '--target', 'node', '--port', String(port)),
    2,
    /invalid-argument/,
  );
  taken.close();
});
