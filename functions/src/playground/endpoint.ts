/** The endpoint as the page asks it: models, and one picture as a stream of events. */
import { createParser } from 'eventsource-parser';

export interface Model {
  readonly id: string;
  readonly digest: string;
  readonly recipe: string | null;
  readonly bytes: { readonly shards: number; readonly files: number };
  readonly size: {
    readonly width: number;
    readonly height: number;
    readonly multipleOf: number;
    readonly fixed: boolean;
  };
  readonly defaults: { readonly steps: number; readonly guidance: number };
  readonly conditioning:
    | { readonly type: 'text' }
    | { readonly type: 'class'; readonly count: number; readonly names?: readonly string[] };
  readonly prompting?: { readonly styles?: readonly string[]; readonly examples?: readonly string[] };
  readonly license?: string;
  readonly attribution?: string;
}

/** The body of `POST /generate`. */
export interface Settings {
  readonly model?: string;
  readonly prompt?: string;
  readonly class?: number;
  readonly negative_prompt?: string;
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
  readonly width?: number;
  readonly height?: number;
}

interface PictureData {
  readonly seed: number;
  readonly content_type: string;
  readonly data: string;
}

export interface Watcher {
  /** The work has begun; a model that is cold is loaded first. */
  started(): void;
  progressed(progress: { readonly step: number; readonly of: number; readonly eta: number | null }): void;
  /** A small picture of what is there so far, as an address. */
  previewed(url: string): void;
}

/** Problem details (RFC 9457), or why there was no answer. */
export class Refusal extends Error {
  readonly status: number;
  readonly title: string;
  readonly fields: readonly { readonly pointer: string; readonly detail: string }[];
  /** Seconds. */
  readonly retryAfter: number | undefined;

  constructor(
    status: number,
    problem: { title?: string; detail?: string; errors?: Refusal['fields'] },
    retryAfter?: number,
  ) {
    super(problem.detail ?? `The endpoint answered with status ${status}.`);
    this.status = status;
    this.title = problem.title ?? 'The endpoint failed';
    this.fields = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

export type ApiKey = string | undefined;

const authorization = (key: ApiKey): Record<string, string> => (key ? { authorization: `Bearer ${key}` } : {});

export async function listModels(key: ApiKey): Promise<Model[]> {
  const response = await ask('/models', { headers: authorization(key) });
  const { models } = (await response.json()) as { models: (Model & { problem?: { detail: string } })[] };
  const usable = models.filter(({ problem }) => problem === undefined);
  if (usable.length === 0)
    throw new Refusal(502, { title: 'No model can be used', detail: models[0]?.problem?.detail });
  return usable;
}

/** @throws Refusal; what `signal` says, when it aborts */
export async function draw(settings: Settings, key: ApiKey, watcher: Watcher, signal: AbortSignal): Promise<Blob> {
  const response = await ask('/generate', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...authorization(key) },
    body: JSON.stringify(settings),
    signal,
  });
  let picture: PictureData | undefined;
  let refusal: Refusal | undefined;
  const parser = createParser({
    onEvent({ event, data }) {
      const value = JSON.parse(data);
      if (event === 'start') watcher.started();
      else if (event === 'progress') watcher.progressed(value);
      else if (event === 'preview') watcher.previewed(`data:${value.content_type};base64,${value.data}`);
      else if (event === 'completed') picture = value.pictures[0];
      else if (event === 'error') refusal = new Refusal(value.status, value);
    },
  });
  const text = response.body!.pipeThrough(
    new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>,
  );
  for (let reader = text.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parser.feed(value);
  }
  if (refusal) throw refusal;
  if (!picture) throw new Refusal(0, { title: 'The connection ended early', detail: 'Try again.' });
  const bytes = Uint8Array.from(atob(picture.data), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: picture.content_type });
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init).catch((error) => {
    if (init.signal?.aborted) throw error;
    throw new Refusal(0, { title: 'The endpoint does not answer', detail: 'Check the connection, then try again.' });
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, problem, Number(response.headers.get('retry-after')) || undefined);
}
