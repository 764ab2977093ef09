/**
 * Writes one protocol buffers message (https://protobuf.dev/programming-guides/encoding/). Fields come out in the
 * order of the calls. Nested messages and bytes are kept by reference and copied once, by `finish`.
 */
const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

export class ProtoWriter {
  readonly #pieces: (Uint8Array | ProtoWriter)[] = [];
  #length = 0;

  /** int64, int32 and enums; negative numbers take ten bytes, as the format has it. */
  integer(field: number, value: number): this {
    return this.#tag(field, VARINT).#varint(BigInt.asUintN(64, BigInt(value)));
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.#tag(field, FIXED32).#add(bytes, 4);
  }

  string(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#tag(field, LENGTH_DELIMITED).#varint(BigInt(value.length)).#add(value, value.length);
  }

  /** `value` must not be written to afterwards: its length is already down. */
  message(field: number, value: ProtoWriter): this {
    return this.#tag(field, LENGTH_DELIMITED).#varint(BigInt(value.#length)).#add(value, value.#length);
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.#length);
    this.#copyTo(out, 0);
    return out;
  }

  #copyTo(out: Uint8Array, start: number): number {
    let offset = start;
    for (const piece of this.#pieces) {
      if (piece instanceof ProtoWriter) {
        offset = piece.#copyTo(out, offset);
      } else {
        out.set(piece, offset);
        offset += piece.length;
      }
    }
    return offset;
  }

  #tag(field: number, wireType: number): this {
    return this.#varint(BigInt(field * 8 + wireType));
  }

  #varint(value: bigint): this {
    const bytes: number[] = [];
    let rest = value;
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    bytes.push(Number(rest));
    return this.#add(Uint8Array.from(bytes), bytes.length);
  }

  #add(piece: Uint8Array | ProtoWriter, length: number): this {
    this.#pieces.push(piece);
    this.#length += length;
    return this;
  }
}
