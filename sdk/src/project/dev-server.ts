/**
 * A project, served in workerd on this machine, and served anew when its configuration, its sources, its secrets or its models
 * change. What cannot be served is said, and the version before goes on answering.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseEnv } from 'node:util';
import { bundleEndpoint, REPORT } from '@edge-dit/functions/bundles/bundle-endpoint';
import { cloudflareWorkers } from '@edge-dit/functions/bundles/cloudflare-workers';
import { cannotListen, DEFAULT_HOST, type ListenOptions, type Served } from '@edge-dit/functions/listen';
import { WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import { serveStore } from '@edge-dit/functions/store-server';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { readPointer } from '@edge-dit/runtime/load-manifest';
import type { Store } from '@edge-dit/runtime/stores/store';
import { watch } from 'chokidar';
import { Miniflare, type MiniflareOptions } from 'miniflare';
import { openStore } from '../stores.ts';
import { openProject, type Project } from './project.ts';

/** Secrets of this machine, as wrangler has them. */
export const SECRETS_FILE = '.dev.vars';

export interface DevServerOptions extends ListenOptions {
  /** Of the project. */
  readonly folder: string;
  /** It serves anew, because of these. */
  readonly onReload?: (changes: readonly string[], ms: number) => void;
  /** The change cannot be served; the version before is. */
  readonly onError?: (error: unknown) => void;
}

/** Editors write a file in several steps. */
const SETTLE_MS = 100;
const POLL_MODELS_MS = 1000;

/** @throws EdgeDitError when the project cannot be served at all */
export async function startDevServer(options: DevServerOptions): Promise<Served> {
  const server = new DevServer(options);
  try {
    return { url: await server.start(), close: () => server.close() };
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** What is being served. */
interface Version {
  readonly project: Project;
  readonly store: Store;
  readonly address: Served;
  readonly folder: string;
  readonly sources: readonly string[];
  /** Digests of the models' manifests, by name. */
  readonly digests: ReadonlyMap<string, string | undefined>;
}

class DevServer {
  readonly #options: DevServerOptions;
  readonly #watcher = watch([], { ignoreInitial: true });
  readonly #changes = new Set<string>();
  #version: Version | undefined;
  #miniflare: Miniflare | undefined;
  #settling: NodeJS.Timeout | undefined;
  #polling: NodeJS.Timeout | undefined;
  /** Undefined until the first version listens; the address stays the same from then on. */
  #port: number | undefined;
  #reloading = false;
  /** Reloads come one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: DevServerOptions) {
    this.#options = options;
  }

  async start(): Promise<string> {
    const { host = DEFAULT_HOST, port = 0 } = this.#options;
    const version = await this.#prepare();
    this.#miniflare = new Miniflare(await this.#settings(version));
    const url = await this.#miniflare.ready.catch((cause) => {
      throw cannotListen(host, port, cause);
    });
    this.#port = Number(url.port);
    this.#take(version);
    this.#watcher.on('all', (_event, path) => this.#changed(relative(this.#options.folder, path)));
    this.#polling = setInterval(() => void this.#pollModels(), POLL_MODELS_MS);
    return url.origin;
  }

  async close(): Promise<void> {
    clearInterval(this.#polling);
    clearTimeout(this.#settling);
    await this.#watcher.close();
    await this.#turn;
    await this.#miniflare?.dispose();
    if (this.#version) await discard(this.#version);
  }

  async #prepare(): Promise<Version> {
    const project = (await openProject(this.#options.folder))!;
    const folder = await mkdtemp(join(tmpdir(), 'edge-dit-dev-'));
    try {
      const { sources } = await bundleEndpoint({
        target: cloudflareWorkers,
        outdir: folder,
        entry: project.entryFor(cloudflareWorkers.name),
        variables: project.variables,
        minify: false,
      });
      const store = openStore(project.store);
      const digests = await digestsOf(store, project.models);
      return { project, store, address: await serveStore(store), folder, sources, digests };
    } catch (error) {
      await rm(folder, { recursive: true });
      throw error;
    }
  }

  async #settings({ folder, address, project }: Version): Promise<MiniflareOptions> {
    const { host = DEFAULT_HOST, port = 0 } = this.#options;
    // What `bundleEndpoint` wrote.
    const report = JSON.parse(await readFile(join(folder, REPORT), 'utf8')) as { modules: { path: string }[] };
    return {
      ...WORKERD_COMPATIBILITY,
      modules: report.modules.map(({ path }) => ({
        type: path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule',
        path: join(folder, path),
      })),
      modulesRoot: folder,
      host,
      port: this.#port ?? port,
      // A line for every request is more than a person reads.
      bindings: { LOG: project.variables.LOG ?? 'warn', ...(await this.#secrets()), SHARDS_URL: address.url },
      durableObjects: { JOBS: { className: 'JobObject', useSQLite: true } },
    };
  }

  async #secrets(): Promise<Record<string, string>> {
    const file = join(this.#options.folder, SECRETS_FILE);
    const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return '';
      throw new EdgeDitError('invalid-argument', `${file}: ${cause.message}.`, { cause });
    });
    return parseEnv(text) as Record<string, string>;
  }

  #take(version: Version): void {
    this.#version = version;
    const { folder } = this.#options;
    this.#watcher.add([version.project.configFile, join(folder, SECRETS_FILE), ...version.sources]);
  }

  #changed(path: string): void {
    this.#changes.add(path);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#turn = this.#turn.then(() => this.#reload());
    }, SETTLE_MS);
  }

  async #reload(): Promise<void> {
    const changes = [...this.#changes];
    this.#changes.clear();
    const started = performance.now();
    const before = this.#version!;
    this.#reloading = true;
    try {
      const version = await this.#prepare();
      try {
        await this.#miniflare!.setOptions(await this.#settings(version));
      } catch (error) {
        await discard(version);
        throw error;
      }
      this.#take(version);
      await discard(before);
      this.#options.onReload?.(changes, performance.now() - started);
    } catch (error) {
      this.#options.onError?.(error);
    } finally {
      this.#reloading = false;
    }
  }

  /** Pointers alone: whoever publishes moves them last. */
  async #pollModels(): Promise<void> {
    if (this.#reloading) return;
    const { store, project, digests } = this.#version!;
    const now = await digestsOf(store, project.models).catch(() => undefined);
    // A store that does not answer now has not changed; what a reload overtook is not news.
    if (this.#version?.digests !== digests) return;
    for (const [model, digest] of now ?? []) if (digest !== digests.get(model)) this.#changed(`model ${model}`);
  }
}

async function digestsOf(store: Store, models: readonly string[]): Promise<Map<string, string | undefined>> {
  const found = models.map(async (model) => [model, (await readPointer(store, model))?.pointer.manifest] as const);
  return new Map(await Promise.all(found));
}

async function discard({ address, folder }: Version): Promise<void> {
  await address.close();
  await rm(folder, { recursive: true, force: true });
}
