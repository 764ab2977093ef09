/** What metrics compare: the values of a picture before they became bytes. */
import { EdgeDitError } from '@edge-dit/runtime/errors';

export interface PictureValues {
  readonly width: number;
  readonly height: number;
  /** [channels, height, width]; -1..1, and beyond where the network overshot. */
  readonly values: Float32Array;
}

export const channelsOf = ({ width, height, values }: PictureValues): number => values.length / (width * height);

/** As a screen shows it: a value beyond -1..1 is cut off there. */
export const shown = (value: number): number => Math.min(1, Math.max(-1, value));

/**
 * The values of two pictures as they are shown.
 * @throws EdgeDitError `invalid-argument` where the two cannot be compared value by value
 */
export function valuesPair(a: PictureValues, b: PictureValues): [Float32Array, Float32Array] {
  if (a.width !== b.width || a.height !== b.height || a.values.length !== b.values.length) {
    throw new EdgeDitError(
      'invalid-argument',
      `a picture of ${sizeOf(b)} cannot be compared with one of ${sizeOf(a)}; both models must make pictures of one size.`,
    );
  }
  return [a.values.map(shown), b.values.map(shown)];
}

const sizeOf = (picture: PictureValues) => `${picture.width} x ${picture.height} x ${channelsOf(picture)}`;
