"""Images made without data: guided diffusion, optimised latents, Stable Diffusion."""

FRAMES, FILMED = 32, 8  # of a film: frames at most, images in each
