/** For tests: a bundle in a folder, and variables, in; the endpoint in the program that it was made for, out. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { REPORT } from '../bundles/bundle-endpoint.ts';
import type { Served } from '../listen.ts';
import { WORKERD_COMPATIBILITY } from '../serve-workerd.ts';

type Variables = Readonly<Record<string, string>>;

export interface BundleRun {
  /** Of `BundleTarget`. */
  readonly target: string;
  /** How it runs, where there is more than one way. */
  readonly title: string;
  /** Why it cannot run here. */
  readonly skip?: string;
  start(folder: string, variables: Variables): Promise<Served>;
}

const deno = process.env.DENO_PATH;
const lambda = fileURLToPath(new URL('lambda-process.js', import.meta.url));

export const bundleRuns: readonly BundleRun[] = [
  { target: 'cloudflare-workers', title: 'workerd', start: startWorkerd },
  {
    target: 'node',
    title: 'node',
    start: (folder, variables) =>
      startProgram(process.execPath, [join(folder, 'server.mjs')], { ...variables, PORT: '0' }),
  },
  {
    target: 'deno',
    title: 'deno serve',
    skip: deno === undefined ? 'no Deno: set DENO_PATH to a deno' : undefined,
    start: (folder, variables) =>
      startProgram(
        deno!,
        ['serve', '--host', '127.0.0.1', '--port', '0', ...denoPermissions(variables), join(folder, 'server.mjs')],
        variables,
      ),
  },
  {
    target: 'aws-lambda',
    title: 'events in one piece',
    start: (folder, variables) =>
      startProgram(process.execPath, [lambda, join(folder, 'index.mjs'), 'handler'], variables),
  },
  {
    target: 'aws-lambda',
    title: 'response streaming',
    start: (folder, variables) =>
      startProgram(process.execPath, [lambda, join(folder, 'index.mjs'), 'streamHandler'], variables),
  },
];

/** Those of the deployment guide. */
const denoPermissions = ({ SHARDS_URL = '' }: Variables) => [
  ...['--allow-env', '--allow-read', '--allow-net'],
  ...(SHARDS_URL.startsWith('s3:') ? ['--allow-sys'] : []),
];

async function startWorkerd(folder: string, variables: Variables): Promise<Served> {
  const { modules } = JSON.parse(await readFile(join(folder, REPORT), 'utf8')) as { modules: { path: string }[] };
  const worker = new Miniflare({
    ...WORKERD_COMPATIBILITY,
    modules: modules.map(({ path }) => ({
      type: path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule',
      path: join(folder, path),
    })),
    modulesRoot: folder,
    bindings: variables,
  });
  const url = await worker.ready;
  return { url: url.origin, close: () => worker.dispose() };
}

/** With the variables alone: nothing of this process's environment helps it. */
async function startProgram(program: string, args: readonly string[], variables: Variables): Promise<Served> {
  const child = spawn(program, args, { env: { NO_COLOR: '1', ...variables }, stdio: ['ignore', 'pipe', 'pipe'] });
  const url = await new Promise<string>((resolve, reject) => {
    let seen = '';
    const look = (text: string) => {
      seen += text;
      const match = /listening on (http:\/\/\S+:\d+)/i.exec(seen);
      if (match) resolve(match[1]);
    };
    child.stdout.setEncoding('utf8').on('data', look);
    child.stderr.setEncoding('utf8').on('data', look);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}: ${seen}`)));
  });
  return {
    url,
    async close() {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    },
  };
}
