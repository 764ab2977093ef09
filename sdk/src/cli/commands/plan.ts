/** `edge-dit plan`: what a picture of a published model takes at some place, and whether it fits. Reads the manifest only. */
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Command } from 'commander';
import { resolveModel } from '../../model-reference.ts';
import { measureHash, measureRate, type Rate } from '../../plan/measure-rate.ts';
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
      'Computes, from the manifest alone, the memory, requests, CPU time and list price of a picture, and which blocks would be streamed. Exit code 1 where it does not fit.',
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
  if (plan.verdict === 'does-not-fit') session.checkFailed();
  output.result({
    json: { store: store.name, digest, rate: { ...rate, source }, ...plan },
    text: [`${model} on ${target.name} (${target.summary})`, ...describe(plan, rate, source)],
    brief: [plan.verdict, ...plan.problems],
  });
}

async function rateOf({ rate, floatRate }: PlanFlags): Promise<{ rate: Rate; source: string }> {
  if (rate !== undefined) {
    const given = { codes: GIGA * rate, floats: GIGA * (floatRate ?? rate / 5), hash: await measureHash() };
    return { rate: given, source: 'given' };
  }
  const { codes, floats, hash, engine } = await measureRate();
  const measured = { codes, hash, floats: floatRate === undefined ? floats : GIGA * floatRate };
  return { rate: measured, source: `measured here, ${engine}, one thread` };
}

function describe(plan: Plan, rate: Rate, source: string): string[] {
  const { request, memory, blocks, requests, bytesRead, cpuMs, price } = plan;
  const { codes, floats } = plan.products.step;
  const giga = (value: number) => (value / GIGA).toFixed(value < 10 * GIGA ? 2 : 0);
  const facts: [string, string | undefined][] = [
    [
      'picture',
      `${request.width} x ${request.height}, ${plural(request.steps, 'step')}, guidance ${request.guidance} (batch ${request.batch})`,
    ],
    [
      'memory',
      `${longBytes(memory.peak)} of ${longBytes(memory.budget)}; ${longBytes(memory.whole)} with every block there`,
    ],
    ['blocks', blocksOf(blocks)],
    ['requests', requestsOf(requests)],
    [
      'bytes read',
      `${shortBytes(bytesRead.firstPicture)} for the first picture${bytesRead.eachStep > 0 ? `, ${shortBytes(bytesRead.eachStep)} in each step` : ''}`,
    ],
    ['products', `${giga(codes)} G of codes and ${giga(floats)} G of floats in a step`],
    ['rate', `${giga(rate.codes)} G/s and ${giga(rate.floats)} G/s (${source}), SHA-256 ${shortBytes(rate.hash)}/s`],
    ['CPU time', `${duration(cpuMs.step)} a step, ${duration(cpuMs.picture)} a picture, of products and digests alone`],
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
      ...memory.parts.map(({ part, bytes, estimated, apart }) => [
        `${part}${estimated ? ' (estimated)' : ''}${apart ? ', afterwards' : ''}`,
        counted(bytes),
      ]),
    ]),
    '',
    ...facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name.padEnd(10)}  ${value}`])),
    ...[...plan.problems, ...plan.notes].map((text) => `  - ${text}`),
  ];
}

const VERDICTS: Readonly<Record<Plan['verdict'], string>> = {
  fits: 'it fits',
  'fits-when-streamed': 'it fits, with blocks streamed',
  'does-not-fit': 'IT DOES NOT FIT',
};

function blocksOf(blocks: Plan['blocks']): string {
  if (blocks === undefined) return 'not even one at a time fits';
  const { stay, streamed, plan, keptConditions } = blocks;
  if (streamed === 0) return 'all stay in memory';
  const anew = keptConditions ? '' : '; what they make of the text is made anew in each step';
  return `${stay} stay, ${streamed} are streamed through ${shortBytes(plan.placeBytes + plan.windowBytes)}, reading ${shortBytes(plan.readBytes)} in each step${anew}`;
}

function requestsOf({ cold, uncached, warm }: Plan['requests']): string {
  const worst = uncached === cold ? '' : ` (${counted(uncached)} where the cache keeps nothing)`;
  return `${counted(cold)} for the first picture${worst}, ${counted(warm)} for each after it`;
}
