/** The endpoint as the page asks it: models, and one picture as a stream of events. */
import { createParser } from 'eventsource-parser';
import type { Events, ModelsAnswer, PictureData } from '../api/answers.ts';
import type { ModelDescription } from '../describe-model.ts';
import type { FieldError, ProblemDetails } from '../problem.ts';

export type Model = ModelDescription;

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

export interface Watcher {
  /** The work has begun; a model that is cold is loaded first. */
  started(): void;
  progressed(progress: Events['progress']): void;
  /** A small picture of what is there so far, as an address. */
  previewed(url: string): void;
}

/** Problem details (RFC 9457), or why there was no answer. */
export class Refusal extends Error {
  readonly status: number;
  readonly title: string;
  readonly fields: readonly FieldError[];
  /** Seconds. */
  readonly retryAfter: number | undefined;

  constructor(status: number, problem: Partial<ProblemDetails>, retryAfter?: number) {
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
  const { models } = (await response.json()) as ModelsAnswer;
  const usable = models.flatMap((model) => ('problem' in model ? [] : [model]));
  if (usable.length > 0) return usable;
  const [broken] = models;
  throw new Refusal(502, { title: 'No model can be used', detail: 'problem' in broken ? broken.problem.detail : '' });
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
  const listeners: { readonly [Name in keyof Events]: (data: Events[Name]) => void } = {
    start: () => watcher.started(),
    progress: (progress) => watcher.progressed(progress),
    preview: ({ content_type: type, data }) => watcher.previewed(`data:${type};base64,${data}`),
    completed: ({ pictures }) => ([picture] = pictures),
    error: (problem) => {
      refusal = new Refusal(problem.status, problem);
    },
  };
  const parser = createParser({
    onEvent: ({ event, data }) => listeners[event as keyof Events]?.(JSON.parse(data)),
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
