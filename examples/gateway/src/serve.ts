/** A gateway: models to phones, browsers and other edges, from a store that only this machine can read. */

import { exampleServer } from '@edge-dit/example-emoji/example-server';
import { createGateway } from '@edge-dit/functions/gateway/gateway';
import { listen } from '@edge-dit/functions/listen';

const server = await exampleServer('@edge-dit/example-gateway', 8787, {
  cors: 'origin of pages that may read, such as https://example.com; may be repeated; default: all',
});
const { store, model, given } = server;
const gateway = createGateway({ store, models: [model], cors: given.cors ?? '*' });
const { url } = await listen(gateway.fetch, server.listen);
server.announce(url);
