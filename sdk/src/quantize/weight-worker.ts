/** One thread of a quantization: takes a weight as it is to be rounded, answers with its codes. */
import { serveJobs } from '../threads/serve-jobs.ts';
import { type QuantizeWeight, quantizeWeight } from './quantize-weight.ts';

serveJobs(async (job: QuantizeWeight) => quantizeWeight(job));
