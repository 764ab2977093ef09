/** Projects: what `init` writes is accepted by wrangler, served by `dev`, and served anew after every kind of change. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { openProject } from '../project/project.ts';
import { BINARY, documentOf, refused, runCli, startCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-project-'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(args, root);
const project = join(root, 'my-endpoint');

before(async () => {
  await makeTinyPipeline(root, 'dit');
  documentOf(await cli('quantize', 'dit', '--recipe', 'w4a8', '--out', 'models', '--json'));
});

test('init writes a project around a model, and nothing over what is there', async () => {
  const { files, ...rest } = documentOf<{ files: string[] }>(
    await cli('init', 'my-endpoint', '--model', 'models', '--json'),
  );
  assert.deepEqual(rest, { folder: project, name: 'my-endpoint', models: ['dit-w4a8'], store: '../models' });
  for (const file of files) assert.ok((await readFile(join(project, file), 'utf8')).length > 0, file);
  assert.ok(files.includes('wrangler.jsonc') && files.includes('edge-dit.json') && files.includes('README.md'));
  const own = join(root, 'own');
  await mkdir(own);
  await writeFile(join(own, 'README.md'), 'mine');
  refused(await cli('init', 'own'), 2, /own has README\.md already; nothing is overwritten/);
  assert.equal(await readFile(join(own, 'README.md'), 'utf8'), 'mine');
  refused(await cli('init', 'other', '--model', 'models/none'), 3, /none/);
  refused(await cli('init', 'other', '--name', 'My Endpoint'), 2, /--name: "My Endpoint": names are of a-z/);
  const { stdout } = await cli('init', 'Some Folder');
  assert.match(stdout, /named some-folder is in Some Folder[\s\S]*Write your model's name/);
});

test('wrangler takes the project as it is: modules, bucket, jobs, limiter', async () => {
  // As after `npm install`.
  await mkdir(join(project, 'node_modules/.bin'), { recursive: true });
  await symlink(BINARY, join(project, 'node_modules/.bin/edge-dit'));
  const wrangler = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin/wrangler.js');
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [wrangler, 'deploy', '--dry-run'], {
    cwd: project,
    env: { ...process.env, CI: 'true', NO_COLOR: '1', WRANGLER_SEND_METRICS: 'false' },
  });
  assert.doesNotMatch(stdout + stderr, /warning/i);
  for (const part of [
    'env.JOBS (JobObject)',
    'env.SHARDS (my-endpoint-models)',
    'env.RATE_LIMITER',
    '--dry-run: exiting',
  ]) {
    assert.ok(stdout.includes(part), `${part} in ${stdout}`);
  }
  assert.match(stdout, /ort-wasm-simd-threaded\.wasm\s*│ compiled-wasm/);
});

test('dev serves the project anew when its configuration, sources, secrets or model change, and never a broken one', async () => {
  const dev = startCli(['dev', '--project', project, '--port', '0'], root);
  try {
    const [, url] = await dev.shows('stdout', /^(http:\S+) /m);
    const ask = async (body: unknown) => {
      const response = await fetch(`${url}/generate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return { status: response.status, text: await response.text() };
    };
    assert.equal((await ask({ class: 1, seed: 1, steps: 2 })).status, 200);

    const config = join(project, 'edge-dit.json');
    await writeFile(config, (await readFile(config, 'utf8')).replace('"steps": 50', '"steps": 3'));
    await dev.shows('stderr', /reloaded in .*: edge-dit\.json/);
    assert.match((await ask({ class: 1, steps: 4 })).text, /whole number from 1 to 3/);

    const source = join(project, 'src/worker.js');
    await writeFile(source, 'export {');
    await dev.shows('stderr', /cannot bundle .*\nthe version before is still served|still served/);
    assert.equal((await ask({ class: 1, seed: 1, steps: 1 })).status, 200);

    const worker = '@edge-dit/functions/targets/cloudflare-workers';
    await writeFile(
      source,
      `import worker from '${worker}';
       export { JobObject } from '${worker}';
       export default {
         fetch: (request, env, context) =>
           request.url.endsWith('/who') ? new Response(env.WHO) : worker.fetch(request, env, context),
       };`,
    );
    await dev.shows('stderr', /reloaded in .*: src\/worker\.js/);
    await writeFile(join(project, '.dev.vars'), 'WHO="you"\n');
    await dev.shows('stderr', /reloaded in .*: .dev\.vars/);
    assert.equal(await (await fetch(`${url}/who`)).text(), 'you');

    const digest = async () => (await (await fetch(`${url}/models`)).json()).models[0].digest;
    const before = await digest();
    documentOf(await cli('quantize', 'dit', '--recipe', 'w8a8', '--out', 'models', '--name', 'dit-w4a8', '--json'));
    await dev.shows('stderr', /reloaded in .*: model dit-w4a8/);
    assert.notEqual(await digest(), before);
  } finally {
    dev.process.kill('SIGINT');
  }
  assert.equal((await dev.finished).code, 0);
});

test('what is wrong with a project names the file and the field', async () => {
  const folder = join(root, 'wrong');
  await mkdir(folder);
  const messageOf = (opening: Promise<unknown>) =>
    opening.then(
      () => assert.fail('it was opened'),
      (error) => (isEdgeDitError(error, 'invalid-argument') ? error.message : assert.fail(String(error))),
    );
  for (const [text, message] of [
    ['{', /edge-dit\.json is not JSON/],
    ['{"models": []}', /edge-dit\.json: models: /],
    ['{"models": ["m"], "limits": {"step": 1}}', /edge-dit\.json: limits: .*step/],
    ['{"models": ["m"], "variables": {"lower": "x"}}', /edge-dit\.json: variables: names are upper case/],
    ['{"models": ["m"], "stores": "x"}', /edge-dit\.json: .*stores/],
  ] as const) {
    await writeFile(join(folder, 'edge-dit.json'), text);
    assert.match(await messageOf(openProject(folder)), message);
  }
  assert.match(await messageOf(openProject(root)), /edge-dit\.json does not exist; "edge-dit init" writes one/);
  refused(await cli('bundle', '--target', 'node', '--out', 'out', '--project', 'wrong'), 2, /edge-dit\.json: .*stores/);
});
