/** What an architecture gives to be exported: the nodes of one forward of its transformer. */
import type { Architecture } from '@edge-dit/runtime/models/architecture';
import type { Value } from './graph-builder.ts';
import type { Workshop } from './transformer-parts.ts';

/** The sizes that a graph is made for. */
export interface ExportShape {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  /** Of the text; unused by networks that read a class. */
  readonly tokens: number;
}

export interface Exporter {
  readonly architecture: Architecture;
  /** Adds the graph's inputs and nodes; gives the predicted samples [batch, out channels, height, width]. */
  build(shop: Workshop, config: Readonly<Record<string, unknown>>, shape: ExportShape): Value;
}
