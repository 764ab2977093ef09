/** A bucket that everybody may read, on a server that speaks S3: for readers without keys. */
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3';

export interface PublicBucket {
  readonly endpoint: string;
  readonly bucket: string;
}

let opened = 0;

/** Keys as for `openStore`, from the environment. */
export async function openPublicBucket(endpoint: string): Promise<PublicBucket> {
  const client = new S3Client({ endpoint, forcePathStyle: true, region: process.env.AWS_REGION ?? 'us-east-1' });
  const bucket = `public-${process.pid}-${Date.now()}-${opened++}`;
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  const statement = {
    Effect: 'Allow',
    Principal: '*',
    Action: ['s3:GetObject', 's3:ListBucket'],
    Resource: [`arn:aws:s3:::${bucket}/*`, `arn:aws:s3:::${bucket}`],
  };
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: policy }));
  client.destroy();
  return { endpoint, bucket };
}
