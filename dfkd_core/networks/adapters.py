"""Models of others as latent-variable models: what ``LatentNetwork`` asks for, around what they have.

That is four things: ``noise_shapes``, ``generate``, ``infer``, and ``decoder``, so that the part which generates can be
trained and counted alone. A GAN with an encoder takes the same four.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.networks.latent import Gaussian, Generated, Inferred, LatentNetwork, standard


class AutoencoderKLAdapter(LatentNetwork):
    """An ``AutoencoderKL`` of diffusers, from a latent diffusion model (Rombach et al. 2022): one level of latents.

    The posterior is the encoder's, less ``shift_factor`` and times ``scaling_factor``, so that latents have about unit
    variance; the prior is N(0, 1), which such a model was pulled to only weakly: its samples are worse than what its
    diffusion model makes. Images are squares of ``size`` pixels, normalised from −1 to 1. Raises ``RequestError`` for
    a size that its levels do not divide.
    """

    def __init__(self, autoencoder: Any, size: int) -> None:
        super().__init__()
        config = autoencoder.config
        halvings = len(config.block_out_channels) - 1
        if size % 2**halvings:
            raise RequestError("size", size, f"should be a multiple of {2**halvings} for this autoencoder.")
        self.autoencoder = autoencoder
        self.scale, self.shift = config.scaling_factor, config.shift_factor or 0.0
        side = size // 2**halvings
        self.noise_shapes = ((config.latent_channels, side, side),)

    @classmethod
    def load(cls, source: str | Path, size: int) -> AutoencoderKLAdapter:
        """From a local folder, or by its name on the hub; a pipeline's autoencoder is its subfolder ``vae``.

        Raises ``RequestError`` without diffusers, or where there is none.
        """
        try:
            from diffusers import AutoencoderKL
        except ImportError:
            raise RequestError("network", str(source), "needs the package diffusers: pip install diffusers.") from None
        try:
            return cls(AutoencoderKL.from_pretrained(source, use_safetensors=True), size)
        except (OSError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise RequestError("network", str(source), f"is no AutoencoderKL that can be loaded: {why}") from None

    def decoder(self) -> list[nn.Module]:
        parts = (self.autoencoder.post_quant_conv, self.autoencoder.decoder)
        return [part for part in parts if part is not None]

    def generate(self, noise: Sequence[Tensor]) -> Generated:
        (latent,) = noise
        return Generated(self._decode(latent), (standard(latent),), (latent,))

    def infer(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> Inferred:
        seen = self.autoencoder.encode(images).latent_dist
        posterior = Gaussian((seen.mean - self.shift) * self.scale, seen.std * self.scale)
        latent = posterior.mean if noise is None else posterior.at(noise[0])
        return Inferred(self._decode(latent), (posterior,), (standard(latent),), (latent,))

    def _decode(self, latent: Tensor) -> Tensor:
        images: Tensor = self.autoencoder.decode(latent / self.scale + self.shift).sample
        return images
