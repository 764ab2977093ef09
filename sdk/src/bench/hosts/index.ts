/** The list of hosts. Other versions of Node are added by their path. */
import { unknownName } from '@edge-dit/runtime/errors';
import { chromiumHost } from './chromium.ts';
import type { HostKind } from './host.ts';
import { nodeHost } from './node.ts';
import { workerdHost } from './workerd.ts';

export const hosts: readonly HostKind[] = [workerdHost, nodeHost(), chromiumHost];

/** In the order of `names`. */
export function hostsNamed(names: readonly string[]): HostKind[] {
  return names.map((name) => {
    const found = hosts.find((host) => host.name === name);
    if (!found)
      throw unknownName(
        'host',
        name,
        hosts.map((host) => host.name),
      );
    return found;
  });
}
