/** AWS Lambda's runtimes for Node, behind a function URL or API Gateway. */
import type { BundleTarget } from './bundle-target.ts';

export const awsLambda: BundleTarget = {
  name: 'aws-lambda',
  summary: 'AWS Lambda, behind a function URL or API Gateway',
  entry: new URL('../entries/aws-lambda.js', import.meta.url),
  host: 'server',
  mainName: 'index',
  // Of an archive that is uploaded directly.
  maxGzipBytes: 50_000_000,
  next: (outdir) => [`(cd ${outdir} && zip -r ../function.zip .)   # handler: index.handler, or index.streamHandler`],
};
