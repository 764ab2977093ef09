/** The worker's side: calls in, answers out. One model is open at a time; loading another one closes it. */
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import { loadProgress } from '../load-progress.ts';
import type { GenerateStep } from '../pipeline.ts';
import { openOpfsCache } from '../stores/opfs.ts';
import { type BrowserOptions, type BrowserPipeline, openBrowserPipeline } from './open-browser-pipeline.ts';
import type { Calls, FromWorker, Loaded, Progress, ToWorker, WorkerPicture, WorkerRequest } from './protocol.ts';
import { StoredModels } from './stored-models.ts';

/** The part of a worker's global scope that is used. */
export interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
}

interface Work {
  readonly signal: AbortSignal;
  readonly progress: (progress: Progress) => void;
}

export function servePipeline(scope: WorkerScope): void {
  const running = new Map<number, AbortController>();
  let opened: BrowserPipeline | undefined;

  async function load(options: BrowserOptions, { signal, progress }: Work): Promise<Loaded> {
    const before = opened;
    opened = undefined;
    await before?.pipeline.close();
    const opening = await openBrowserPipeline(options, signal);
    const { pipeline, notes } = opening;
    const { manifest, digest } = pipeline;
    try {
      await opening.load({ signal, ...loadProgress(opening.parts, (state) => progress({ kind: 'load', ...state })) });
    } catch (error) {
      await pipeline.close();
      throw error;
    }
    opened = opening;
    const bytes = manifest.shards.reduce((sum, { length }) => sum + length, 0);
    return { model: manifest.model, digest, engine: pipeline.engine!, notes, defaults: manifest.defaults, bytes };
  }

  async function generate(
    { previewSide, ...request }: WorkerRequest,
    { signal, progress }: Work,
  ): Promise<WorkerPicture> {
    if (opened === undefined) throw new EdgeDitError('invalid-argument', 'no model is loaded; call load first.');
    const { pipeline, notes } = opened;
    const onStep = (step: number, steps: number, report: GenerateStep) => {
      const preview = previewSide === undefined ? undefined : report.preview(previewSide);
      progress({ kind: 'step', step, steps, preview });
    };
    const { values: _, ...picture } = await pipeline.generate(request, { signal, onStep });
    const { current, peak } = pipeline.meter;
    return { ...picture, engine: pipeline.engine!, notes, memory: { current, peak } };
  }

  async function answer(
    message: Exclude<ToWorker, { call: 'cancel' }>,
    work: Work,
  ): Promise<Calls[keyof Calls]['result']> {
    if (message.call === 'load') return load(message.sent, work);
    if (message.call === 'generate') return generate(message.sent, work);
    const stored = await openStored();
    if (message.call === 'models') return stored.list();
    await stored.remove(message.sent);
    return undefined;
  }

  scope.onmessage = async ({ data }) => {
    const { id } = data;
    if (data.call === 'cancel') return running.get(id)?.abort();
    const controller = new AbortController();
    running.set(id, controller);
    const progress = (state: Progress) => scope.postMessage({ id, progress: state });
    try {
      scope.postMessage({ id, result: await answer(data, { signal: controller.signal, progress }) });
    } catch (error) {
      const { code, message } = isEdgeDitError(error) ? error : new EdgeDitError('internal', String(error));
      scope.postMessage({ id, error: { code, message } });
    } finally {
      running.delete(id);
    }
  };
}

async function openStored(): Promise<StoredModels> {
  return new StoredModels(await openOpfsCache('edge-dit/objects'), await openOpfsCache('edge-dit/models'));
}
