/**
 * Chromium as a host, headless. The page asks a server of this machine for its next part and posts the answer, so the
 * browser is started and ended, and nothing more. It is isolated from other origins, which gives it a clock of 5 µs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorker } from '@edge-dit/functions/bundle-worker';
import { listen } from '@edge-dit/functions/listen';
import { VARIANTS } from '@edge-dit/wasm-kernels';
import { assembleKernels } from '@edge-dit/wasm-kernels/assemble';
import { assembleCeiling } from '@edge-dit/wasm-kernels/bench/dot-ceiling';
import { HostAbsent, type HostAnswer, type HostKind, openHost } from './host.ts';

const USUAL_PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const START_MS = 60_000;
/** How long the server lets the page wait for its next part before it asks again. */
const POLL_MS = 20_000;

export const chromiumHost: HostKind = {
  name: 'chromium',
  async open() {
    const executable = process.env.CHROMIUM_PATH ?? USUAL_PLACES.find((path) => existsSync(path));
    if (executable === undefined || !existsSync(executable)) {
      throw new HostAbsent('no Chromium; set CHROMIUM_PATH to a chromium or chrome');
    }
    const folder = await mkdtemp(join(tmpdir(), 'edge-dit-bench-'));
    const mailbox = new Mailbox();
    const files = await pageFiles(folder);
    const server = await listen((request) => respond(request, files, mailbox));
    const browser = launch(executable, join(folder, 'profile'), server.url);
    // Interrupted commands end without closing their hosts.
    const kill = () => browser.kill();
    process.once('exit', kill);
    browser.on('error', (cause) => mailbox.end(new HostAbsent(`${executable} cannot be started: ${cause.message}`)));
    browser.on('exit', (code, signal) => mailbox.end(new Error(`Chromium ended early (${signal ?? code})`)));
    const late = setTimeout(() => mailbox.end(new HostAbsent(`${executable} loaded no page in time`)), START_MS);
    mailbox.onFirstPoll = () => clearTimeout(late);
    return openHost(
      'chromium',
      (request) => mailbox.ask(JSON.stringify(request)),
      async () => {
        clearTimeout(late);
        process.off('exit', kill);
        await ended(browser);
        await server.close();
        await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      },
    );
  },
};

function launch(executable: string, profile: string, url: string): ChildProcess {
  const flags = [
    '--headless=new',
    '--disable-gpu',
    '--no-first-run',
    '--disable-extensions',
    '--disable-dev-shm-usage',
    '--disable-background-timer-throttling',
    '--disable-renderer-backgrounding',
    `--user-data-dir=${profile}`,
    // Chromium refuses to run its sandbox as root, as in containers.
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  ];
  return spawn(executable, [...flags, url], { stdio: 'ignore' });
}

function ended(browser: ChildProcess): Promise<void> {
  if (browser.exitCode !== null || browser.signalCode !== null || browser.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    browser.once('exit', () => resolve());
    browser.kill();
  });
}

/** Requests and answers on their way. One at a time. */
class Mailbox {
  onFirstPoll = () => {};
  #request: string | undefined;
  #waiting: ((request: string | undefined) => void) | undefined;
  #settle: { resolve(answer: HostAnswer): void; reject(error: Error): void } | undefined;
  #over: Error | undefined;

  ask(request: string): Promise<HostAnswer> {
    if (this.#over) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      if (this.#waiting) this.#waiting(request);
      else this.#request = request;
    });
  }

  end(error: Error): void {
    this.#over = error;
    this.#settle?.reject(error);
    // Its timer would keep the process.
    this.#waiting?.(undefined);
  }

  answer(answer: HostAnswer): void {
    this.#settle?.resolve(answer);
  }

  /** The next request, or undefined when there is none yet. */
  async next(): Promise<string | undefined> {
    this.onFirstPoll();
    const request = this.#request;
    this.#request = undefined;
    if (request !== undefined) return request;
    return new Promise((resolve) => {
      const late = setTimeout(() => done(undefined), POLL_MS);
      const done = (value: string | undefined) => {
        clearTimeout(late);
        this.#waiting = undefined;
        resolve(value);
      };
      this.#waiting = done;
    });
  }
}

interface PageFile {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer> | string;
}
type Files = ReadonlyMap<string, PageFile>;

async function pageFiles(folder: string): Promise<Files> {
  const entry = fileURLToPath(new URL('chromium-page.js', import.meta.url));
  const { modules } = await bundleWorker({ entry, outdir: join(folder, 'page') });
  const ort = createRequire(import.meta.url).resolve('onnxruntime-web/ort-wasm-simd-threaded.wasm');
  const page = '<!doctype html><title>edge-dit bench</title><script type="module" src="/worker.js"></script>';
  const wasm = (body: Uint8Array<ArrayBuffer>) => ({ type: 'application/wasm', body });
  return new Map<string, PageFile>([
    ['/', { type: 'text/html', body: page }],
    ...modules.map(({ path, contents }) => [`/${path}`, { type: 'text/javascript', body: contents }] as const),
    ['/onnxruntime.wasm', wasm(new Uint8Array(await readFile(ort)))],
    ['/kernels.float.wasm', wasm(assembleKernels('float'))],
    ...VARIANTS.flatMap((variant) => [
      [`/kernels.${variant}.wasm`, wasm(assembleKernels(variant))] as const,
      [`/ceiling.${variant}.wasm`, wasm(assembleCeiling(variant))] as const,
    ]),
  ]);
}

async function respond(request: Request, files: Files, mailbox: Mailbox): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === '/next') {
    const next = await mailbox.next();
    return next === undefined ? new Response(null, { status: 204 }) : new Response(next);
  }
  if (pathname === '/answer' && request.method === 'POST') {
    mailbox.answer((await request.json()) as HostAnswer);
    return new Response(null, { status: 204 });
  }
  const file = files.get(pathname);
  if (file === undefined) return new Response('Not Found', { status: 404 });
  return new Response(file.body, {
    headers: {
      'content-type': file.type,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    },
  });
}
