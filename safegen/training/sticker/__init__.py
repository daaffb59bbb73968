"""The recipe of the sticker base: from emoji drawings to a latent diffusion model, its reviewer and its judge.

Each module is one step: `sources` fetches, `drawings` rasterises, `styles` filters, `scenes` and `mascots` draw what is
ours, `captions` speaks, `pool` renders, and `autoencoder`, `text`, `denoiser` and `judge` train. `python -m
safegen.training.sticker` runs them in order; every step can be killed and resumed.
"""
