/** `edge-dit plan`: what a picture of a published model takes at some place, and whether it fits. Reads the manifest only. */
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { measureRate, type Rate } from '../../plan/measure-rate.ts';
import { type Plan, planModel } from '../../plan/plan.ts';
import { planTargetByName, planTargets } from '../../plan/targets.ts';
import { byteSize, integer, lookup, number } from '../option-values.ts';
import { counted, duration, longBytes, plural, shortBytes, table } from '../quantities.ts';
import type { Session } from '../session.ts';

interface PlanFlags {
  readonly target: ReturnType<typeof planTargetByName>;
  readonly memory?: number;
  readonly steps?: number;
  readonly guidance?: number;
  readonly width?: number;
  readonly height?: number;
  readonly embedded?: boolean;
  readonly rate?: number;
  readonly floatRate?: number;
}

const MAX_SIDE = 4096;
const GIGA = 1e9;

export function addPlan(program: Command, session: Session): Command {
  const names = planTargets.map(({ name }) => name).join(', ');
  return program
    .command('plan')
    .summary('say whether a model fits a place, and what a picture costs there')
    .description(
      'Computes, from the manifest alone, the memory, requests, CPU time and list price of a picture. Exit code 1 where it does not fit.',
    )
    .argument('<model>', '<store>/<name>, <store>#<name>, or a store that holds one model')
    .requiredOption('--target <name>', `where it is to run: ${names}`, lookup(planTargetByName))
    .option('--memory <size>', 'budget for everything that the runtime holds; default: what the place has', byteSize)
    .option('--steps <count>', "denoising steps; default: the model's", integer(1, 1000))
    .option('--guidance <scale>', "guidance scale; default: the model's", number(0, 100))
    .option('--width <pixels>', "default: the model's", integer(1, MAX_SIDE))
    .option('--height <pixels>', "default: the model's", integer(1, MAX_SIDE))
    .option('--embedded', 'prompts are encoded elsewhere: no text encoder is loaded')
    .option('--rate <gmac>', 'billions of products of codes a second there; default: measured here', number(0.001, 1e6))
    .option(
      '--float-rate <gmac>',
      'the same of floats; default: measured here, or a fifth of --rate',
      number(0.001, 1e6),
    )
    .addHelpText(
      'after',
      `
Example:
  $ edge-dit plan ./models/emoji-w4a8 --memory 128MB --target cloudflare-workers
  $ edge-dit plan s3://bucket/models#emoji-w4a8 --target lambda --memory 2GiB --rate 40 --json`,
    )
    .action((reference: string, flags: PlanFlags) => run(reference, flags, session));
}

async function run(reference: string, flags: PlanFlags, session: Session): Promise<void> {
  const { output, signal } = session;
  const { target, memory = target.memory, ...request } = flags;
  const { store, model } = await resolveModel(reference, { signal });
  const { manifest, digest } = await loadManifest(store, model, { signal });
  const { rate, source } = await rateOf(flags);
  const plan = await planModel({ ...request, manifest, target, memory, rate });
  if (plan.verdict !== 'fits') session.checkFailed();
  output.result({
    json: { store: store.name, digest, rate: { ...rate, source }, ...plan },
    text: [`${model} on ${target.name} (${target.summary})`, ...describe(plan, rate, source)],
    brief: [plan.verdict, ...plan.problems],
  });
}

async function rateOf({ rate, floatRate }: PlanFlags): Promise<{ rate: Rate; source: string }> {
  if (rate !== undefined) {
    const given = { codes: GIGA * rate, floats: GIGA * (floatRate ?? rate / 5) };
    return { rate: given, source: 'given' };
  }
  const { codes, floats, engine } = await measureRate();
  const measured = { codes, floats: floatRate === undefined ? floats : GIGA * floatRate };
  return { rate: measured, source: `measured here, ${engine}, one thread` };
}

function describe(plan: Plan, rate: Rate, source: string): string[] {
  const { request, memory, blocks, requests, bytesRead, cpuMs, price } = plan;
  const { codes, floats } = plan.products.step;
  const giga = (value: number) => (value / GIGA).toFixed(value < 10 * GIGA ? 2 : 0);
  const streamed = memory.peak > memory.budget ? blocks : undefined;
  const facts: [string, string | undefined][] = [
    [
      'picture',
      `${request.width} x ${request.height}, ${plural(request.steps, 'step')}, guidance ${request.guidance} (batch ${request.batch})`,
    ],
    ['memory', `${longBytes(memory.peak)} of ${longBytes(memory.budget)}`],
    ['loading', `${longBytes(memory.loading)} at most, with one shard on its way`],
    ['blocks', blocksOf(streamed, memory.peak > memory.budget)],
    [
      'requests',
      `${counted(requests.firstPicture)} for the first picture, ${counted(requests.nextPicture)} for each after it`,
    ],
    [
      'bytes read',
      `${shortBytes(bytesRead.firstPicture)} for the first picture${bytesRead.eachStep > 0 ? `, ${shortBytes(bytesRead.eachStep)} in each step` : ''}`,
    ],
    ['products', `${giga(codes)} G of codes and ${giga(floats)} G of floats in a step`],
    ['rate', `${giga(rate.codes)} G/s and ${giga(rate.floats)} G/s (${source})`],
    ['CPU time', `${duration(cpuMs.step)} a step, ${duration(cpuMs.picture)} a picture, of the products alone`],
    [
      'price',
      price &&
        `$${price.total.toFixed(2)} a million pictures: compute ${price.compute.toFixed(2)}, requests ${price.request.toFixed(2)}, reads ${price.reads.toFixed(2)}`,
    ],
    ['', price && `list prices of ${price.read}, nothing free taken off: ${price.sources.join(', ')}`],
    ['verdict', VERDICTS[plan.verdict]],
  ];
  return [
    ...table([
      ['memory', 'bytes'],
      ...memory.parts.map(({ part, bytes, estimated }) => [estimated ? `${part} (estimated)` : part, counted(bytes)]),
    ]),
    '',
    ...facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name.padEnd(10)}  ${value}`])),
    ...[...plan.problems, ...plan.notes].map((text) => `  - ${text}`),
  ];
}

const VERDICTS: Readonly<Record<Plan['verdict'], string>> = {
  fits: 'it fits',
  'fits-when-streamed': 'IT DOES NOT FIT, and would if blocks were streamed',
  'does-not-fit': 'IT DOES NOT FIT',
};

function blocksOf(plan: Plan['blocks'], needed: boolean): string {
  if (!needed) return 'all stay in memory';
  if (plan === undefined) return 'not even one at a time fits';
  const { stay, stream, bufferBytes, readBytes } = plan;
  return `${stay.length} stay, ${stream.length} would be streamed through ${shortBytes(bufferBytes)}, reading ${shortBytes(readBytes)} in each step`;
}
