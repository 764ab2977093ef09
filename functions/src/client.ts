/**
 * A client of the endpoint, for pages, servers and devices: its types are those of the schemas of which the OpenAPI document is
 * made. Pictures as bytes, as JSON, as events while they are made, and jobs.
 */
import { createParser } from 'eventsource-parser';
import type * as z from 'zod/mini';
import type { Events, HealthAnswer, JobAnswer, ModelsAnswer, Pictures } from './api/answers.ts';
import type { generateSchema } from './generate-request.ts';
import { pause } from './pause.ts';
import type { FieldError, ProblemDetails } from './problem.ts';

/** The body of `POST /generate`. */
export type GenerateBody = z.input<ReturnType<typeof generateSchema>>;
export type GenerateEvent = {
  [Name in keyof Events]: { readonly name: Name; readonly data: Events[Name] };
}[keyof Events];

export interface ClientOptions {
  /** Of the endpoint, such as `https://pictures.example.com`. */
  readonly url: string;
  /** Sent as a bearer key. */
  readonly key?: string;
  readonly fetch?: typeof globalThis.fetch;
}

export interface AskOptions {
  readonly signal?: AbortSignal;
  /** The same key is the same job, so that a request can be sent again when its answer was lost. */
  readonly idempotencyKey?: string;
}

export interface PictureFile {
  readonly png: Uint8Array;
  readonly seed: number;
  readonly modelDigest: string;
}

/** What an endpoint refused, or failed at. */
export class EndpointProblem extends Error {
  override readonly name = 'EndpointProblem';
  readonly status: number;
  /** `urn:edge-dit:problem:...`; `about:blank` where something on the way answered instead. */
  readonly type: string;
  /** The fields that are wrong, and what to write instead. */
  readonly errors: readonly FieldError[];
  /** Seconds after which to come back, where that helps. */
  readonly retryAfter: number | undefined;

  constructor(details: Partial<ProblemDetails> & { readonly status: number }, retryAfter?: number) {
    super(details.detail ?? `the endpoint answered with status ${details.status}.`);
    this.status = details.status;
    this.type = details.type ?? 'about:blank';
    this.errors = details.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** Between two looks at a job, in milliseconds. */
const LOOK_MS = 1000;

export class EndpointClient {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** One picture. All methods raise `EndpointProblem`, and what `signal` says. */
  async picture(body: GenerateBody, options: AskOptions = {}): Promise<PictureFile> {
    const response = await this.#post(body, { accept: 'image/png' }, options);
    return {
      png: new Uint8Array(await response.arrayBuffer()),
      seed: Number(response.headers.get('x-seed')),
      modelDigest: response.headers.get('x-model-digest') ?? '',
    };
  }

  /** `n` pictures at once, in base64. */
  async pictures(body: GenerateBody, options: AskOptions = {}): Promise<Pictures> {
    return (await this.#post(body, { accept: 'application/json' }, options)).json();
  }

  /** What happens until the pictures are there; who leaves the loop stops the work. An error ends it as `EndpointProblem`. */
  async *events(body: GenerateBody, options: AskOptions = {}): AsyncGenerator<GenerateEvent> {
    yield* eventsOf(await this.#post(body, { accept: 'text/event-stream' }, options));
  }

  /** Asks for a job, which goes on without this client. */
  async submit(body: GenerateBody, options: AskOptions = {}): Promise<JobAnswer> {
    return (await this.#post(body, { prefer: 'respond-async' }, options)).json();
  }

  async job(id: string, { signal }: AskOptions = {}): Promise<JobAnswer> {
    return (await this.#ask(`/jobs/${id}`, { headers: { accept: 'application/json' }, signal })).json();
  }

  /** The events of a job from now on; who leaves the loop does not stop it. */
  async *follow(id: string, { signal }: AskOptions = {}): AsyncGenerator<GenerateEvent> {
    yield* eventsOf(await this.#ask(`/jobs/${id}`, { headers: { accept: 'text/event-stream' }, signal }));
  }

  /** The pictures of a job, when it has ended. Raises why there are none. */
  async wait(id: string, { signal }: AskOptions = {}): Promise<Pictures> {
    while ((await this.job(id, { signal })).completed_at === null) await pause(LOOK_MS, signal);
    return (await this.#ask(`/jobs/${id}/result`, { headers: { accept: 'application/json' }, signal })).json();
  }

  async cancel(id: string, { signal }: AskOptions = {}): Promise<JobAnswer> {
    return (await this.#ask(`/jobs/${id}`, { method: 'DELETE', signal })).json();
  }

  async models({ signal }: AskOptions = {}): Promise<ModelsAnswer> {
    return (await this.#ask('/models', { signal })).json();
  }

  async health({ signal }: AskOptions = {}): Promise<HealthAnswer> {
    return (await this.#ask('/healthz', { signal })).json();
  }

  #post(body: GenerateBody, headers: Record<string, string>, { signal, idempotencyKey }: AskOptions) {
    const all = {
      'content-type': 'application/json',
      ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
      ...headers,
    };
    return this.#ask('/generate', { method: 'POST', headers: all, body: JSON.stringify(body), signal });
  }

  async #ask(path: string, init: RequestInit & { headers?: Record<string, string> }): Promise<Response> {
    const { url, key, fetch = globalThis.fetch } = this.#options;
    const headers = { ...init.headers, ...(key !== undefined && { authorization: `Bearer ${key}` }) };
    const response = await fetch(url.replace(/\/$/, '') + path, { ...init, headers });
    if (response.ok) return response;
    const details = await response.json().catch(() => ({}));
    throw new EndpointProblem({ ...details, status: response.status }, retryAfterOf(response));
  }
}

const retryAfterOf = ({ headers }: Response) => Number(headers.get('retry-after')) || undefined;

/** The bytes of a picture of an answer in JSON. */
export const pictureBytes = ({ data }: Pictures['pictures'][number]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(data), (char) => char.charCodeAt(0));

async function* eventsOf(response: Response): AsyncGenerator<GenerateEvent> {
  const arrived: GenerateEvent[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => arrived.push({ name: event, data: JSON.parse(data) } as GenerateEvent),
  });
  const decoder = new TextDecoder();
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parser.feed(decoder.decode(value, { stream: true }));
      for (const event of arrived.splice(0)) {
        if (event.name === 'error') throw new EndpointProblem(event.data);
        yield event;
        if (event.name === 'completed') return;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
  throw new EndpointProblem({ status: response.status, detail: 'the connection ended before the pictures came.' });
}
