/**
 * Where a picture is made: on this device, on one nearby, at an endpoint. In: places in the order in which they are asked,
 * each with its patience. Out: the first picture, where it was made, and why others were passed over.
 */

import { eitherSignal } from '../either-signal.ts';
import { EdgeDitError, type ErrorCode, isEdgeDitError } from '../errors.ts';
import { encodePng } from '../picture.ts';
import type { GenerateRequest } from '../pipeline.ts';
import type { Progress } from './protocol.ts';
import type { CallHooks, WorkerClient } from './worker-client.ts';

export interface Placed {
  readonly png: Uint8Array<ArrayBuffer>;
  readonly seed: number;
  /** Milliseconds of the steps alone, where the place tells. */
  readonly sampleMs: number | undefined;
  readonly engine: string;
  /** Bytes that the runtime holds after it, where that is on this device. */
  readonly heldBytes?: number;
  /** Of this device: why this engine, and what else there is to know. */
  readonly notes?: readonly string[];
}

export interface Place {
  readonly name: string;
  /**
   * Milliseconds without a sign of life (bytes of a model, a step, the answer) after which the next place is asked. An
   * endpoint that says nothing before its answer needs as much as a picture takes.
   */
  readonly patienceMs: number;
  generate(request: GenerateRequest, hooks: CallHooks): Promise<Placed>;
}

export interface PassedOver {
  readonly place: string;
  readonly reason: string;
  readonly code: ErrorCode | undefined;
}

export interface PlacedPicture extends Placed {
  readonly place: string;
  readonly passedOver: readonly PassedOver[];
}

/**
 * @throws EdgeDitError `invalid-request` as soon as a place says so, since the request is the same everywhere; `aborted`;
 *   `engine-unavailable` with the reason of every place when all of them failed, or what the only one raised
 */
export async function generateAt(
  places: readonly Place[],
  request: GenerateRequest,
  { signal, onProgress }: CallHooks = {},
): Promise<PlacedPicture> {
  const passedOver: PassedOver[] = [];
  for (const place of places) {
    const patience = new Patience(place, signal);
    try {
      const hooks: CallHooks = {
        signal: patience.signal,
        onProgress: (progress: Progress) => {
          patience.sign();
          onProgress?.(progress);
        },
      };
      return { ...(await place.generate(request, hooks)), place: place.name, passedOver };
    } catch (error) {
      if (signal?.aborted) throw new EdgeDitError('aborted', 'the generation was cancelled.', { cause: error });
      if (isEdgeDitError(error, 'invalid-request')) throw error;
      if (places.length === 1 && patience.over === undefined) throw error;
      const reason = patience.over ?? (error instanceof Error ? error.message : String(error));
      passedOver.push({ place: place.name, reason, code: isEdgeDitError(error) ? error.code : undefined });
    } finally {
      patience.end();
    }
  }
  const reasons = passedOver.map(({ place, reason }) => `${place}: ${reason}`);
  throw new EdgeDitError('engine-unavailable', `the picture could be made nowhere. ${reasons.join(' — ')}`);
}

/** Aborts when nothing was heard for too long. */
class Patience {
  readonly signal: AbortSignal;
  /** Why it is over, if it is. */
  over: string | undefined;
  readonly #late = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ patienceMs }: Place, signal: AbortSignal | undefined) {
    this.#ms = patienceMs;
    this.signal = eitherSignal(signal, this.#late.signal);
    this.sign();
  }

  sign(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.over = `nothing was heard of it for ${this.#ms} ms`;
      this.#late.abort();
    }, this.#ms);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** This browser, by a worker whose model `ready` loads where it is not loaded yet. */
export function devicePlace(
  client: WorkerClient,
  ready: (hooks: CallHooks) => Promise<unknown>,
  { patienceMs, previewSide }: { readonly patienceMs: number; readonly previewSide?: number },
): Place {
  return {
    name: 'this device',
    patienceMs,
    async generate(request, hooks) {
      await ready(hooks);
      const picture = await client.generate({ ...request, previewSide }, hooks);
      return {
        png: encodePng(picture) as Uint8Array<ArrayBuffer>,
        seed: picture.seed,
        sampleMs: picture.timings.sample,
        engine: picture.engine.name,
        heldBytes: picture.memory.current,
        notes: [...picture.engine.notes, ...picture.notes],
      };
    },
  };
}

export interface EndpointOptions {
  readonly patienceMs: number;
  /** Its name there; the endpoint's first without it. */
  readonly model?: string;
  /** Sent with each request, for example `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** `POST /generate` of an endpoint: of a device on the same network, or of an edge. */
export function endpointPlace(name: string, address: string, { patienceMs, model, headers }: EndpointOptions): Place {
  const url = new URL('generate', `${address.replace(/\/$/, '')}/`).href;
  return {
    name,
    patienceMs,
    async generate({ prompt, negativePrompt, class: label, seed, steps, guidance, width, height }, { signal }) {
      const body = {
        model,
        prompt,
        negative_prompt: negativePrompt,
        class: label,
        seed,
        steps,
        guidance,
        width,
        height,
      };
      const sent = { ...headers, 'content-type': 'application/json', accept: 'image/png' };
      const response = await fetch(url, { method: 'POST', headers: sent, body: JSON.stringify(body), signal });
      if (!response.ok) throw await problemOf(response, url);
      const png = new Uint8Array(await response.arrayBuffer());
      const sampleMs = Number(/\bsample;dur=([\d.]+)/.exec(response.headers.get('server-timing') ?? '')?.[1]);
      const engine = response.headers.get('x-engine') ?? 'unknown';
      const drawn = Number(response.headers.get('x-seed') ?? seed);
      return { png, seed: drawn, sampleMs: Number.isNaN(sampleMs) ? undefined : sampleMs, engine };
    },
  };
}

async function problemOf(response: Response, url: string): Promise<EdgeDitError> {
  const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
  const detail = typeof problem.detail === 'string' ? `: ${problem.detail.slice(0, 500)}` : '';
  const code = response.status === 400 || response.status === 422 ? 'invalid-request' : 'store-failed';
  return new EdgeDitError(code, `POST ${url}: ${response.status}${detail}`);
}
