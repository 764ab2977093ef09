/** `edge-dit init`: a project in a folder, to serve here and to deploy. */
import { basename, isAbsolute, relative, resolve, sep } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { packageVersion } from '../package-version.ts';
import type { Session } from '../session.ts';

interface InitFlags {
  readonly model?: string;
  readonly name?: string;
}

/** What Cloudflare takes for workers and buckets. */
const NAME = /^[a-z0-9][a-z0-9-]{0,50}$/;

export function addInit(program: Command, session: Session): Command {
  return program
    .command('init')
    .summary('start a project: an endpoint in a folder')
    .description(
      'Writes a project: edge-dit.json, the worker, wrangler.jsonc for Cloudflare, an example of the secrets, package.json and a README with the steps. Overwrites nothing.',
    )
    .argument('[folder]', 'where; created', '.')
    .option('--model <model>', 'the model that it serves: <store>/<name>, <store>#<name>, or a store that holds one')
    .option('--name <name>', 'of the worker and its bucket (default: of the folder)')
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit init my-endpoint --model ./models/emoji-w4a8
  $ cd my-endpoint && npx edge-dit dev`,
    )
    .action((folder: string, flags: InitFlags) => run(folder, flags, session));
}

async function run(folder: string, flags: InitFlags, { output, signal }: Session): Promise<void> {
  const { initProject } = await import('../../project/init.ts');
  const name = nameOf(flags.name ?? basename(resolve(folder)), flags.name !== undefined);
  const { models, store } = flags.model === undefined ? PLACEHOLDER : await modelOf(folder, flags.model, signal);
  const files = await initProject(folder, { name, models, store, version: packageVersion });
  const dev = `${folder === '.' ? '' : `cd ${folder} && `}npx edge-dit dev`;
  output.result({
    json: { folder: resolve(folder), name, models, store, files },
    text: [
      `A project named ${name} is in ${folder}:`,
      ...files.map((file) => `  ${file}`),
      ...(flags.model === undefined ? [`Write your model's name and store into edge-dit.json.`] : []),
      `Next: ${dev}`,
    ],
    brief: [folder],
  });
}

const PLACEHOLDER = { models: ['my-model'], store: './models' };

function nameOf(text: string, asked: boolean): string {
  if (NAME.test(text)) return text;
  if (asked) {
    throw new EdgeDitError(
      'invalid-argument',
      `--name: "${text}": names are of a-z, 0-9 and "-", 51 characters at most.`,
    );
  }
  const fitted = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 51);
  return fitted === '' ? 'edge-dit' : fitted;
}

/** The model must be there; a store that is a folder is named from the project. */
async function modelOf(folder: string, reference: string, signal: AbortSignal) {
  const { place, store, model } = await resolveModel(reference, { signal });
  await loadManifest(store, model, { signal });
  if (/^[A-Za-z][A-Za-z0-9+.-]+:/.test(place) || isAbsolute(place)) return { models: [model], store: place };
  const path = relative(resolve(folder), resolve(place)).replaceAll(sep, '/');
  return { models: [model], store: path.startsWith('.') ? path : `./${path}` };
}
