/** The files of a new project, by their paths in it. */
import { WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import { planTargetByName } from '../plan/targets.ts';
import { CONFIG_FILE } from './project.ts';

export interface ProjectValues {
  /** Of the worker and the bucket: lower-case letters, digits and hyphens. */
  readonly name: string;
  readonly models: readonly string[];
  /** As edge-dit.json has it. */
  readonly store: string;
  /** Of the packages. */
  readonly version: string;
}

export function projectFiles(values: ProjectValues): ReadonlyMap<string, string> {
  const { name, models, store, version } = values;
  return new Map([
    [CONFIG_FILE, json({ models, store, limits: { steps: 50 }, entry: { 'cloudflare-workers': 'src/worker.js' } })],
    ['src/worker.js', WORKER],
    ['wrangler.jsonc', wranglerConfig(name)],
    ['.dev.vars.example', SECRETS],
    ['.gitignore', 'node_modules/\ndist/\nmodels/\n.dev.vars\n.wrangler/\n'],
    [
      'package.json',
      json({
        name,
        version: '0.0.0',
        private: true,
        type: 'module',
        scripts: {
          dev: 'edge-dit dev',
          bundle: 'edge-dit bundle --target cloudflare-workers --out dist',
          check: 'wrangler deploy --dry-run',
          deploy: 'wrangler deploy',
        },
        devDependencies: { '@edge-dit/functions': version, '@edge-dit/sdk': version, wrangler: '^4.86.0' },
      }),
    ],
    ['README.md', readme(values)],
  ]);
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

const WORKER = `// The worker. What edge-dit.json says is built in; routes of your own go before the endpoint's:
//
//   import worker from '@edge-dit/functions/targets/cloudflare-workers';
//   export default {
//     fetch: (request, env, context) =>
//       new URL(request.url).pathname === '/hello' ? new Response('Hello') : worker.fetch(request, env, context),
//   };
export { default, JobObject } from '@edge-dit/functions/targets/cloudflare-workers';
`;

const SECRETS = `# Secrets of this machine: copy this file to .dev.vars. For Cloudflare: npx wrangler secret put API_KEYS
#
# Who may ask. Only the SHA-256 of a key is kept here. A new key, and its SHA-256:
#   key=$(openssl rand -hex 32); echo "$key"; printf %s "$key" | sha256sum
# API_KEYS=[{"name": "app", "sha256": "<64 hex digits>", "requestsPerMinute": 60, "concurrency": 2}]
#
# Who is told of finished jobs, and the secret by which they know that this endpoint tells them.
# WEBHOOKS={"app": "https://app.example/pictures"}
# WEBHOOK_SECRET=<32 random bytes, in hex>
`;

const wranglerConfig = (name: string) => `{
  "$schema": "node_modules/wrangler/config-schema.json",
  "name": ${JSON.stringify(name)},
  "main": "dist/worker.js",
  "compatibility_date": ${JSON.stringify(WORKERD_COMPATIBILITY.compatibilityDate)},
  // For onnxruntime's module, and so that a client that leaves stops its work.
  "compatibility_flags": ${JSON.stringify(WORKERD_COMPATIBILITY.compatibilityFlags).replaceAll(',', ', ')},
  // edge-dit bundles: WebAssembly must be compiled by the host, and onnxruntime must be loaded only when it is needed.
  "build": { "command": "npx edge-dit bundle --target cloudflare-workers --out dist" },
  "no_bundle": true,
  "find_additional_modules": true,
  "base_dir": "dist",
  "rules": [{ "type": "ESModule", "globs": ["**/*.js"] }],
  // The models. Publish to it by S3: see README.md.
  "r2_buckets": [{ "binding": "SHARDS", "bucket_name": ${JSON.stringify(`${name}-models`)} }],
  // Jobs: each is an object whose alarms go on from the last checkpoint.
  "durable_objects": { "bindings": [{ "name": "JOBS", "class_name": "JobObject" }] },
  "migrations": [{ "tag": "v1", "new_sqlite_classes": ["JobObject"] }],
  // The platform's own limiter, asked by the name of the key.
  "ratelimits": [{ "name": "RATE_LIMITER", "namespace_id": "1001", "simple": { "limit": 60, "period": 60 } }],
  // Milliseconds of CPU for a request: the most that the paid plan permits. A picture takes seconds.
  "limits": { "cpu_ms": ${planTargetByName('cloudflare-workers').cpuMs!.most} },
  "observability": { "enabled": true }
}
`;

function readme({ name, models, store }: ProjectValues): string {
  const [model] = models;
  return `# ${name}

An endpoint of [edge-dit](https://www.npmjs.com/package/@edge-dit/sdk): \`POST /generate\`, and a playground at \`/\`.

| | |
|---|---|
| \`edge-dit.json\` | models, where \`edge-dit dev\` finds them, limits: built into the worker |
| \`src/worker.js\` | the worker's main module; routes of your own |
| \`wrangler.jsonc\` | its place on Cloudflare: bucket, jobs, limits |
| \`.dev.vars\` | secrets of this machine, from \`.dev.vars.example\` |

## On this machine

\`\`\`sh
npm install
npx edge-dit quantize <checkpoint> --recipe w4a8 --out ./models --name ${model}   # unless ${store} has it
npm run dev                                                           # http://127.0.0.1:8787
\`\`\`

A change of any of these files, or of a model, is served within seconds.

## On Cloudflare

\`\`\`sh
npx wrangler login
npx wrangler r2 bucket create ${name}-models

# Publish to the bucket by S3, with a token of "R2 > Manage API tokens" that may write to it.
export S3_ENDPOINT=https://<account id>.r2.cloudflarestorage.com AWS_REGION=auto
export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
npx edge-dit publish ${store.replace(/\/$/, '')}/${model} --to s3://${name}-models

npx wrangler secret put API_KEYS    # the list of .dev.vars.example; without it everybody may ask
npm run check                       # bundles, and says what would be uploaded
npm run deploy
\`\`\`

A picture takes seconds of CPU: the paid plan, with \`limits.cpu_ms\` as it is in \`wrangler.jsonc\`.
`;
}
