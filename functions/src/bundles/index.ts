/** The list of places to deploy to. To add one: its file and its line; the conformance test then runs over it. */
import { unknownName } from '@edge-dit/runtime/errors';
import { awsLambda } from './aws-lambda.ts';
import type { BundleTarget } from './bundle-target.ts';
import { cloudflareWorkers } from './cloudflare-workers.ts';
import { deno } from './deno.ts';
import { node } from './node.ts';

export const bundleTargets: readonly BundleTarget[] = [cloudflareWorkers, node, deno, awsLambda];

/** @throws EdgeDitError `unknown-name` */
export function bundleTargetByName(name: string): BundleTarget {
  const found = bundleTargets.find((target) => target.name === name);
  if (found) return found;
  throw unknownName(
    'target',
    name,
    bundleTargets.map((target) => target.name),
  );
}
