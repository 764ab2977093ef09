/** Serves the page, a gateway for its model and an endpoint. */
import { exampleServer } from '@edge-dit/example-emoji/example-server';
import { bundlePage, scriptBytes } from './bundle-page.ts';
import { servePage } from './page-server.ts';

const server = await exampleServer('@edge-dit/example-browser', 8788, {
  near: 'address of a gateway beside this server; may be repeated',
  last: 'address of a public bucket, for when no gateway answers',
  endpoint: 'address of what embeds prompts and draws instead of this server',
});
const { store, model, given } = server;
const files = await bundlePage();
console.log(`the page: ${(scriptBytes(files) / 1000).toFixed(1)} kB of scripts, gzipped`);
const { near, last, endpoint } = given;
const { url } = await servePage({
  ...server.listen,
  store,
  model,
  near,
  last: last?.[0],
  endpoint: endpoint?.[0],
  files,
});
server.announce(url);
