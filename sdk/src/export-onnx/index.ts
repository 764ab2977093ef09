/** The list of architectures that can be exported. */
import { unknownName } from '@edge-dit/runtime/errors';
import { ditExporter } from './dit.ts';
import type { Exporter } from './exporter.ts';
import { pixartExporter } from './pixart.ts';

export const exporters: readonly Exporter[] = [pixartExporter, ditExporter];

/** @param name a class name by which configs call the architecture */
export function exporterByName(name: string): Exporter {
  const found = exporters.find(({ architecture }) => architecture.names.includes(name));
  if (!found)
    throw unknownName(
      'architecture to export',
      name,
      exporters.flatMap(({ architecture }) => architecture.names),
    );
  return found;
}
