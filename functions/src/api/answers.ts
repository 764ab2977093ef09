/**
 * What the endpoint answers with, as schemas: routes and the client take their types from here, the OpenAPI document its
 * components. Nothing of it is in a worker's bundle: answers are of our own making, and tests check them.
 */
import * as z from 'zod/mini';
import { PROBLEMS, type ProblemCode, problemType } from '../problem.ts';

const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const time = z.string().check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));
const count = z.int().check(z.minimum(0));
const base64 = z.string().check(z.regex(/^[A-Za-z0-9+/]+={0,2}$/));
const seed = count;

export const problemSchema = z.strictObject({
  type: z.enum(Object.keys(PROBLEMS).map((code) => problemType(code as ProblemCode))),
  title: z.string(),
  status: z.int().check(z.minimum(400), z.maximum(599)),
  detail: z.string(),
  errors: z.optional(z.readonly(z.array(z.strictObject({ pointer: z.string(), detail: z.string() })))),
});

export const pictureSchema = z.strictObject({
  seed,
  width: count,
  height: count,
  content_type: z.literal('image/png'),
  data: base64,
});

/** Of `application/json`, and of the event `completed`. */
export const picturesSchema = z.strictObject({
  model: z.string(),
  model_digest: sha256,
  steps: count,
  guidance: z.number(),
  pictures: z.array(pictureSchema),
  /** Milliseconds by stage, of all pictures. */
  timings: z.record(z.string(), z.number()),
});

export const jobSchema = z.strictObject({
  id: z.string().check(z.regex(/^[0-9a-f]{32}$/)),
  status: z.enum(['queued', 'running', 'succeeded', 'failed', 'canceled']),
  model: z.string(),
  model_digest: sha256,
  steps: count,
  guidance: z.number(),
  /** Of the pictures, in order. */
  seeds: z.array(seed),
  created_at: time,
  started_at: z.nullable(time),
  completed_at: z.nullable(time),
  /** When its result is forgotten. */
  expires_at: z.nullable(time),
  progress: z.strictObject({ pictures: count, step: count, of: count }),
  error: z.nullable(problemSchema),
  urls: z.strictObject({ self: z.string(), result: z.string() }),
});

const modelSchema = z.strictObject({
  id: z.string(),
  digest: sha256,
  architecture: z.string(),
  recipe: z.nullable(z.string()),
  bytes: z.strictObject({ shards: count, files: count }),
  size: z.strictObject({ width: count, height: count, multipleOf: count, fixed: z.boolean() }),
  defaults: z.strictObject({ steps: count, guidance: z.number() }),
  conditioning: z.union([
    z.strictObject({ type: z.literal('text'), maxTokens: count }),
    z.strictObject({ type: z.literal('class'), count, names: z.optional(z.array(z.string())) }),
  ]),
  prompting: z.optional(
    z.strictObject({ styles: z.optional(z.array(z.string())), examples: z.optional(z.array(z.string())) }),
  ),
  license: z.optional(z.string()),
  attribution: z.optional(z.string()),
});

export const modelsSchema = z.strictObject({
  models: z.array(z.union([modelSchema, z.strictObject({ id: z.string(), problem: problemSchema })])),
});

export const healthSchema = z.strictObject({
  status: z.literal('ok'),
  models: z.array(z.strictObject({ id: z.string(), state: z.enum(['cold', 'loading', 'ready']) })),
  work: z.strictObject({
    running: count,
    waiting: count,
    /** Since the isolate started. */
    pictures: count,
    steps: count,
    memory_bytes: count,
  }),
});

/** Events of `text/event-stream`, by name. */
export const eventSchemas = {
  start: z.strictObject({ model: z.string(), model_digest: sha256, steps: count, seeds: z.array(seed) }),
  /** `eta` in seconds, of all pictures together; null until a step was timed. */
  progress: z.strictObject({
    picture: count,
    pictures: count,
    step: count,
    of: count,
    eta: z.nullable(z.number()),
  }),
  preview: z.strictObject({ picture: count, step: count, ...pictureSchema.shape }),
  completed: picturesSchema,
  error: problemSchema,
} as const;

export type Pictures = z.infer<typeof picturesSchema>;
export type PictureData = z.infer<typeof pictureSchema>;
export type JobAnswer = z.infer<typeof jobSchema>;
export type ModelsAnswer = z.infer<typeof modelsSchema>;
export type HealthAnswer = z.infer<typeof healthSchema>;
export type Events = { [Name in keyof typeof eventSchemas]: z.infer<(typeof eventSchemas)[Name]> };
