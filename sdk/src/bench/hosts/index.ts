/** The list of hosts. Other versions of Node are added by their path. */
import { chromiumHost } from './chromium.ts';
import type { HostKind } from './host.ts';
import { nodeHost } from './node.ts';
import { workerdHost } from './workerd.ts';

export const hosts: readonly HostKind[] = [nodeHost(), workerdHost, chromiumHost];
