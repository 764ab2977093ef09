/** A line on the terminal that tells what an endpoint is doing, twice a second. In: its address. Out: what ends it. */
import { EndpointClient } from '@edge-dit/functions/client';
import type { Output } from './output.ts';
import { counted, shortBytes } from './quantities.ts';

const EVERY_MS = 500;

/** Does nothing where there is no terminal. */
export function watchEndpoint(output: Output, url: string): () => void {
  if (!output.live) return () => {};
  const client = new EndpointClient({ url });
  let [asking, stepsBefore, at] = [false, 0, performance.now()];
  const look = async () => {
    // One that is too busy to say how busy it is is not asked twice.
    if (asking) return;
    asking = true;
    try {
      const { models, work } = await client.health();
      const now = performance.now();
      const rate = (1000 * (work.steps - stepsBefore)) / (now - at);
      [stepsBefore, at] = [work.steps, now];
      const states = models.map(({ id, state }) => `${id} ${state}`).join(', ');
      const running = work.running > 0 ? `drawing, ${rate.toFixed(1)} steps/s` : 'idle';
      const pictures = `${counted(work.pictures)} ${work.pictures === 1 ? 'picture' : 'pictures'}`;
      const amounts = `${work.waiting} waiting, ${pictures}, ${shortBytes(work.memory_bytes)}`;
      output.status(`${states}: ${running}, ${amounts}`);
    } catch {
      output.status('the endpoint does not answer');
    } finally {
      asking = false;
    }
  };
  const timer = setInterval(look, EVERY_MS);
  return () => {
    clearInterval(timer);
    output.status('');
  };
}
