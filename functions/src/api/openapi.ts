/**
 * The OpenAPI 3.1 document, from the schemas that check requests and type answers. It is written to `openapi.json` by
 * `npm run openapi`, and checked in: an endpoint serves that file. Nothing of this is in a worker's bundle.
 */
import * as z from 'zod/mini';
import { embedSchema, generateSchema } from '../generate-request.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { PROBLEMS, type ProblemCode } from '../problem.ts';
import { eventSchemas, healthSchema, jobSchema, modelsSchema, picturesSchema, problemSchema } from './answers.ts';

type Json = Readonly<Record<string, unknown>>;

/** What the fields of a request mean; what they must be, the schema says. */
const FIELDS: Readonly<Record<string, string>> = {
  model: 'Name of a model of GET /models; the first one without it.',
  prompt: 'What the picture shows; for models of texts.',
  class: 'Number or name of a class; for models of classes.',
  negative_prompt: 'What the picture is led away from.',
  seed: 'The same request with the same seed gives the same bytes. Drawn without it, and told in the answer.',
  steps: "Denoising steps; the model's own number without it.",
  guidance: 'How closely the prompt is followed; 1 turns guidance off and takes half the time.',
  width: "Pixels; the model's own size without it, else a multiple that GET /models tells.",
  height: 'As width.',
  n: 'Pictures, with the seeds seed, seed + 1, and so on. More than one as JSON, as events, or as a job.',
  webhook:
    'Name of an address of the configuration that is told when the job has ended. Goes with prefer: respond-async.',
};

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const json = (name: string): Json => ({ content: { 'application/json': { schema: ref(name) } } });
const png: Json = { 'image/png': { schema: { type: 'string', contentMediaType: 'image/png' } } };
const events: Json = {
  'text/event-stream': {
    schema: { type: 'string', description: 'Events start, progress, preview, and completed or error; data is JSON.' },
  },
};
const header = (description: string, schema: Json = { type: 'string' }): Json => ({ description, schema });
const parameter = (name: string, where: string, description: string, schema: Json, required = false): Json => {
  return { name, in: where, description, schema, required };
};

/** Answers of problems, several codes of one status together. */
function problems(...codes: ProblemCode[]): Json {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, same]) => [
      status,
      {
        description: same.map((code) => `${code}: ${PROBLEMS[code].title}.`).join(' '),
        content: { 'application/problem+json': { schema: ref('Problem') } },
      },
    ]),
  );
}

const GUARDED: ProblemCode[] = ['unauthorized', 'forbidden'];
/** Of what computes. */
const LIMITED: ProblemCode[] = [...GUARDED, 'too-many-requests'];
const STORE: ProblemCode[] = [
  ...(['manifest-invalid', 'manifest-untrusted', 'shard-malformed', 'digest-mismatch'] as const),
  ...(['object-missing', 'store-failed', 'store-denied'] as const),
];
const BROKEN: ProblemCode[] = [
  ...(['engine-unavailable', 'onnx-failed', 'non-finite', 'config-unsupported', 'unknown-name', 'internal'] as const),
];
const JOB_ID_PARAMETER = parameter('id', 'path', 'Of the job.', { type: 'string', pattern: '^[0-9a-f]{32}$' }, true);

function componentOf(schema: z.core.$ZodType): Json {
  const { $schema: _, ...component } = z.toJSONSchema(schema, { io: 'input' });
  return component;
}

function generateRequest(): Json {
  const component = componentOf(generateSchema(DEFAULT_LIMITS)) as { properties: Record<string, Json> };
  const properties = Object.entries(component.properties).map(([name, property]) => {
    return [name, { ...property, description: FIELDS[name] }];
  });
  return { ...component, properties: Object.fromEntries(properties), examples: [{ prompt: 'red apple', seed: 1 }] };
}

export function openApiDocument(): Json {
  const jobAnswers = { ...json('Job'), description: 'The job.' };
  return {
    openapi: '3.1.0',
    info: {
      title: 'edge-dit',
      version: '1',
      description: 'Pictures from a quantized diffusion transformer. Errors are problem details (RFC 9457).',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    // Where no keys are configured, none is needed.
    security: [{ bearer: [] }, {}],
    paths: {
      '/generate': {
        post: {
          operationId: 'generate',
          summary: 'Make pictures',
          parameters: [
            parameter('accept', 'header', 'image/png (the default), application/json or text/event-stream.', {
              type: 'string',
            }),
            parameter('prefer', 'header', 'respond-async: a job instead of pictures.', { type: 'string' }),
            parameter('idempotency-key', 'header', 'The same key is the same job, however often it is sent.', {
              type: 'string',
              pattern: '^[\\x21-\\x7e]{1,255}$',
            }),
            parameter('x-request-id', 'header', 'Comes back in the answer and in logs.', { type: 'string' }),
          ],
          requestBody: { required: true, ...json('GenerateRequest') },
          responses: {
            200: {
              description: 'The pictures.',
              headers: {
                'x-seed': header('Of the picture, of image/png.', { type: 'integer' }),
                'x-model-digest': header('SHA-256 of the manifest.'),
                'server-timing': header('Milliseconds by stage.'),
              },
              content: { ...png, 'application/json': { schema: ref('Pictures') }, ...events },
            },
            202: { ...jobAnswers, headers: { location: header('Of the job.') } },
            ...problems(
              ...(['malformed-request', 'malformed-header', ...LIMITED, 'model-not-found', 'not-acceptable'] as const),
              ...(['content-too-large', 'unsupported-media-type', 'invalid-request', 'invalid-argument'] as const),
              ...(['idempotency-key-reused', 'job-canceled', ...BROKEN, 'jobs-unavailable', ...STORE] as const),
              ...(['busy', 'timed-out', 'memory-exceeded'] as const),
            ),
          },
        },
      },
      '/embed': {
        post: {
          operationId: 'embed',
          summary: 'What a text encoder makes of a prompt, for devices that denoise by themselves',
          requestBody: { required: true, ...json('EmbedRequest') },
          responses: {
            200: {
              description: 'The embedding, in the form of an entry of the cache of embeddings.',
              content: {
                'application/octet-stream': {
                  schema: { type: 'string', contentMediaType: 'application/octet-stream' },
                },
              },
            },
            ...problems(
              ...(['malformed-request', ...LIMITED, 'model-not-found'] as const),
              ...(['content-too-large', 'unsupported-media-type', 'invalid-request', ...BROKEN, ...STORE] as const),
              ...(['busy', 'memory-exceeded'] as const),
            ),
          },
        },
      },
      '/jobs/{id}': {
        parameters: [JOB_ID_PARAMETER],
        get: {
          operationId: 'job',
          summary: 'How far a job is',
          responses: {
            200: { description: 'The job.', content: { 'application/json': { schema: ref('Job') }, ...events } },
            ...problems(...GUARDED, 'job-not-found', 'not-acceptable', 'jobs-unavailable', 'internal'),
          },
        },
        delete: {
          operationId: 'cancelJob',
          summary: 'End a job; one that has ended stays as it is',
          responses: { 200: jobAnswers, ...problems(...GUARDED, 'job-not-found', 'jobs-unavailable', 'internal') },
        },
      },
      '/jobs/{id}/result': {
        parameters: [JOB_ID_PARAMETER],
        get: {
          operationId: 'jobResult',
          summary: 'The pictures of a job',
          parameters: [
            parameter('index', 'query', 'Which picture, of image/png; the first is 0.', {
              type: 'integer',
              minimum: 0,
              maximum: 999,
            }),
          ],
          responses: {
            200: { description: 'The pictures.', content: { ...png, 'application/json': { schema: ref('Pictures') } } },
            ...problems(
              ...([...GUARDED, 'job-not-found', 'not-acceptable', 'job-not-finished', 'job-canceled'] as const),
              ...(['invalid-request', ...BROKEN, 'jobs-unavailable', ...STORE, 'memory-exceeded'] as const),
            ),
          },
        },
      },
      '/models': {
        get: {
          operationId: 'models',
          summary: 'What is served',
          responses: { 200: { description: 'The models.', ...json('Models') }, ...problems(...GUARDED, 'internal') },
        },
      },
      '/healthz': {
        get: {
          operationId: 'health',
          summary: 'Whether models are cold, loading or ready, and what is under way',
          security: [],
          responses: { 200: { description: 'It answers.', ...json('Health') } },
        },
      },
      '/metrics': {
        get: {
          operationId: 'metrics',
          summary: 'Figures for Prometheus',
          responses: {
            200: { description: 'Text format 0.0.4.', content: { 'text/plain': { schema: { type: 'string' } } } },
            ...problems(...GUARDED),
          },
        },
      },
    },
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: {
        GenerateRequest: generateRequest(),
        EmbedRequest: componentOf(embedSchema(DEFAULT_LIMITS)),
        Pictures: componentOf(picturesSchema),
        Job: componentOf(jobSchema),
        Models: componentOf(modelsSchema),
        Health: componentOf(healthSchema),
        Problem: componentOf(problemSchema),
        ...Object.fromEntries(
          Object.entries(eventSchemas).map(([name, schema]) => [`Event_${name}`, componentOf(schema)]),
        ),
      },
    },
  };
}
