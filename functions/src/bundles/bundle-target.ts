/** Somewhere the endpoint is deployed to: what is bundled for it, and what is done with the bundle. */
import type { BundleWorkerOptions } from '../bundle-worker.ts';

export interface BundleTarget {
  readonly name: string;
  readonly summary: string;
  /** The module that the place starts, compiled. */
  readonly entry: URL;
  readonly host: NonNullable<BundleWorkerOptions['host']>;
  /** Of the main module, without its extension. */
  readonly mainName: string;
  /** What the place takes at most of all modules together, in bytes after gzip; undefined: more than any bundle has. */
  readonly maxGzipBytes?: number;
  /** The commands that run or deploy it from that folder, as they are typed. */
  next(outdir: string): readonly string[];
}
