/** A process that serves the tiny model in Node, for a parent that kills it. Its argument is JSON of `ServingSettings`. */
import { serveNode } from '@edge-dit/functions/targets/node';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import type { ServingSettings } from './killable-servers.ts';

const { storeFolder, models, ...options } = JSON.parse(process.argv[2]) as ServingSettings;
const { url } = await serveNode({ store: new FsStore(storeFolder), models, ...options });
process.send!({ url });
