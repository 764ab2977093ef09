/** What a manifest or a shard may be at most. Readers refuse more before they allocate for it; each limit has its reason. */

const MIB = 2 ** 20;

/** Parsed whole: as objects it takes about ten times its text, and an isolate has 128 MiB for everything. */
export const MAX_MANIFEST_BYTES = 8 * MIB;
/** A manifest's own structure is 7 deep; configs of schedulers and transformers are flat. */
export const MAX_JSON_DEPTH = 32;
/** Bounds the objects that 8 MiB of `[[],[],...` would become: 65,536 tensors take about 600,000 values. */
export const MAX_JSON_VALUES = 2 ** 20;
/** Digest, length and time of a manifest, 140 bytes, and those of the versions before it. */
export const MAX_POINTER_BYTES = 4096;
/** Versions that can be gone back to; what only an older one names may be deleted. */
export const MAX_HISTORY = 16;

/** The largest open image transformers have about 3,000 tensors; a quantized linear is stored as four. */
export const MAX_TENSORS = 65_536;
/** PyTorch's own code goes to 6 dimensions (batch, frames, height, width and two of patches). */
export const MAX_RANK = 8;
/** A shard of 16 MiB holds no more 4-bit codes. Also keeps every product of two factors below 2^53. */
export const MAX_ELEMENTS = 2 ** 25;
/** State-dict names of published models stay below 120 characters. */
export const MAX_NAME_LENGTH = 200;

/** Small enough to be fetched again when damaged and to stream block by block; large enough that requests are few. */
export const SHARD_TARGET_BYTES = 4 * MIB;
/** Four are in flight at once beside the activations, in 128 MiB. */
export const MAX_SHARD_BYTES = 16 * MIB;
/** 64 GiB in shards of the target size. */
export const MAX_SHARDS = 16_384;
/** Five times the fp16 bytes of the largest open image transformer (12 B parameters at 2 bytes are 24 GB) in all its parts. */
export const MAX_TOTAL_BYTES = 128 * 2 ** 30;

/** Auxiliary files travel in parts of this size: what a cache, a gateway and a retry handle well. */
export const PART_BYTES = 4 * MIB;
/** Tokenizers, encoders, decoders: a pipeline has fewer than ten. */
export const MAX_FILES = 64;
/** 4 GiB: all that a 32-bit wasm memory, where such a file is used, can address. */
export const MAX_FILE_PARTS = 1024;

/** ImageNet-21k has 21,843 classes. */
export const MAX_CLASSES = 65_536;
/** Licences and attributions are texts of a few kilobytes. */
export const MAX_TEXT_LENGTH = 65_536;

/** Of tensors in a shard: a cache line, and enough for every vector load. */
export const ALIGNMENT = 64;
