/** The module that a page's worker runs: `new Worker(url, { type: 'module' })`, then `PipelineWorker` over it. */
import { servePipeline, type WorkerScope } from './serve-pipeline.ts';

servePipeline(self as unknown as WorkerScope);
