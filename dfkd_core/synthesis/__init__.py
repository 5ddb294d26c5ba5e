"""Images made without data: guided diffusion, optimised latents, Stable Diffusion."""
