/** Layers by their roles, what their errors cost, and the division of a budget of bytes among them. */
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import { type Choice, chooseBits } from './choose-bits.ts';
import type { Measurement } from './measurement-file.ts';

export type Metric = 'picture' | 'text';

/** What layers are for, by their names; the first that fits. Video will add the attention over time. */
const ROLES: readonly { readonly role: string; readonly layers: RegExp; readonly metric: Metric }[] = [
  { role: 'cross-attention', layers: /\.attn2\./, metric: 'text' },
  { role: 'self-attention and feed-forward', layers: /./, metric: 'picture' },
];

/**
 * [layer][width]: the error of a layer in shares of all that the narrowest widths everywhere would make. Errors of different
 * layers add up, because they have little to do with each other.
 * @param measurements by layer, then by width, without the widest
 */
export function costsOf(
  measurements: readonly Measurement[],
  metric: Metric,
  candidates: readonly CodeBits[],
): number[][] {
  const widths = candidates.length - 1;
  const narrowest = measurements.filter((_, i) => i % widths === 0);
  const total = narrowest.reduce((sum, of) => sum + of[metric], 0) || 1;
  // The widest loses too little to be worth a run: as much as the next less, as steps become smaller.
  const [next, widest] = candidates.slice(-2).map((bits) => 2 ** bits - 1);
  return narrowest.map((_, i) => {
    const costs = measurements.slice(i * widths, (i + 1) * widths).map((of) => of[metric] / total);
    return [...costs, costs[widths - 1] * (next / widest) ** 2];
  });
}

/** The roles that layers of these names have, and which layers those are. Where not decoupled, one metric judges all. */
export function byRole(layers: readonly string[], decoupled: boolean) {
  const roles = layers.map((name) => ROLES.findIndex((role) => role.layers.test(name)));
  return ROLES.map(({ role, metric }, r) => {
    const members = layers.flatMap((_, i) => (roles[i] === r ? [i] : []));
    return { role, metric: decoupled ? metric : 'picture', members } as const;
  }).filter(({ members }) => members.length > 0);
}

/**
 * The index of a width for each layer, within `room` bytes, which suffice for the smallest. What the least error of
 * pictures gives to a role is the role's; what roles leave is the last one's.
 * @param bytes [layer][width], multiples of 64
 * @param costs [layer][width], by each metric
 */
export async function divideBytes(
  layers: readonly string[],
  bytes: readonly (readonly number[])[],
  costs: Readonly<Record<Metric, readonly (readonly number[])[]>>,
  room: number,
  decoupled: boolean,
): Promise<number[]> {
  const choose = (members: readonly number[], metric: Metric, limit: number) =>
    chooseBits(
      members.map((i) => bytes[i].map((size, k): Choice => ({ bytes: size, cost: costs[metric][i][k] }))),
      limit,
    );
  const chosen = await choose([...layers.keys()], 'picture', room);
  if (!decoupled) return chosen;
  let left = room;
  const roles = byRole(layers, true);
  for (const [r, { metric, members }] of roles.entries()) {
    const own = members.reduce((sum, i) => sum + bytes[i][chosen[i]], 0);
    const best = await choose(members, metric, r === roles.length - 1 ? left : own);
    for (const [j, i] of members.entries()) {
      chosen[i] = best[j];
      left -= bytes[i][best[j]];
    }
  }
  return chosen;
}
