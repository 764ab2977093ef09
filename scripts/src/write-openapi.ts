/** `npm run openapi`: the OpenAPI document of the endpoint, written from its schemas. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openApiDocument } from '@edge-dit/functions/api/openapi';
import { root } from './repository.ts';

writeFileSync(join(root, 'functions/src/api/openapi.json'), `${JSON.stringify(openApiDocument(), null, 2)}\n`);
