/** PixArt-alpha at 256 pixels, with as many blocks as are wanted and in pixels instead of latents: 16 heads of 72 channels. */
export const largePixart = (layers: number) => ({
  num_attention_heads: 16,
  attention_head_dim: 72,
  in_channels: 3,
  out_channels: 6,
  num_layers: layers,
  cross_attention_dim: 1152,
  caption_channels: 4096,
  sample_size: 32,
  patch_size: 2,
});
