"""Classifiers, generators, latent-variable and diffusion models by name, and reading files of their weights."""
