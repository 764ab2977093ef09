/** Where commands keep what took long and may be wanted again, when nobody says: as the XDG base directories have it. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export const cacheFolder = (): string => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'edge-dit');
