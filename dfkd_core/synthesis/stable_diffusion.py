"""Stable Diffusion (Rombach et al. 2022) as a source of images, through diffusers: an optional extra.

The settings are those of the slides and of DiffDFKD (Qi et al. 2025): a prompt for every class, few steps, guidance 3.
At every denoising step the gradient of the teacher's loss flows through the prediction of the clean latent, the
autoencoder and the resizing, as in ``synthesis``. The slides' released code predicts without gradients.

The gradient of one image of 512×512 takes 9 GB, so that few are predicted at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import freeze
from dfkd_core.synthesis.guided import (
    Denoiser,
    Film,
    Loss,
    classifier_free,
    guided_sampling,
    within,
)

MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
IMAGE_BYTES = 9_500_000_000  # of a GPU, for the gradient of an image in float32; 9.05 GB were measured
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in torchvision's rgb_to_grayscale
INSTALL = "needs diffusers: pip install diffusers transformers"

TEMPLATES = ("a photo of {}", "a close-up photo of {}", "{} in its usual surroundings")
DIGITS = ("a photo of the handwritten digit {}", "the handwritten number {} in white on black")
FACE = "a high-resolution portrait photo of {}"
PEOPLE = {
    "Attractive": "an attractive person", "Bald": "a bald person", "Chubby": "a chubby person", "Male": "a man",
    "Mouth_Slightly_Open": "a person with the mouth slightly open", "No_Beard": "a man without a beard",
    "Smiling": "a smiling person", "Young": "a young person",
    **{f"Wearing_{worn}": f"a person wearing {a}{worn.lower()}" for a, worn in (
        ("", "Earrings"), ("a ", "Hat"), ("", "Lipstick"), ("a ", "Necklace"), ("a ", "Necktie"),
    )},
    **{name: f"a person with {name.replace('_', ' ').lower()}" for name in (
        "Arched_Eyebrows", "Bags_Under_Eyes", "Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair",
        "Bushy_Eyebrows", "Eyeglasses", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Narrow_Eyes", "Pale_Skin",
        "Rosy_Cheeks", "Sideburns", "Straight_Hair", "Wavy_Hair",
    )},
    **{name: f"a person with {a} {name.replace('_', ' ').lower()}" for a, name in (
        ("a", "5_o_Clock_Shadow"), ("a", "Big_Nose"), ("a", "Double_Chin"), ("a", "Goatee"), ("a", "Mustache"),
        ("an", "Oval_Face"), ("a", "Pointy_Nose"), ("a", "Receding_Hairline"),
    )},
}  # fmt: skip
"""The attributes of CelebA that can be seen in a sharp picture (all but Blurry), by their names there."""


def prompts_for(name: str) -> tuple[str, ...]:
    """One or several prompts for a class: of a benchmark such as CIFAR-10, or an attribute of CelebA-HQ."""
    if name in PEOPLE:
        return (FACE.format(PEOPLE[name]),)
    if name.isdigit():
        return tuple(template.format(name) for template in DIGITS)
    plain = name.replace("_", " ")
    return tuple(template.format(f"{'an' if plain[0] in 'AEIOUaeiou' else 'a'} {plain}") for template in TEMPLATES)


@dataclass(frozen=True)
class StableDiffusion:
    """A frozen pipeline of diffusers as a source of images of the classes ``names``, which predicts ``at_once`` of a
    batch at a time."""

    pipeline: Any
    names: tuple[str, ...]
    at_once: int = 1

    def prompt(self, label: int, index: int) -> str:
        """The prompt of the ``index``-th image of a class: several take turns."""
        own = prompts_for(self.names[label])
        return own[index % len(own)]

    def guided(
        self,
        loss: Loss,
        labels: Tensor,
        steps: int,
        strength: float,
        class_guidance: float,
        image: ImageSpec,
        made: int = 0,
    ) -> tuple[Tensor, Film]:
        """One image for each of ``labels`` (B,), which choose prompts, by ``guided_sampling`` of its latents.

        A class's prompts go on after those of the ``made`` images before, which were of every class in turn. Images are
        decoded and resized to those of ``image``, the teacher's. Returns what ``guided_sampling`` does.
        """
        pipeline, device = self.pipeline, labels.device
        known = Counter({label: len(range(label, made, len(self.names))) for label in range(len(self.names))})
        prompts = []
        for label in labels.tolist():
            prompts.append(self.prompt(label, known[label]))
            known[label] += 1
        with torch.no_grad():
            classed, free = pipeline.encode_prompt(prompts, device, 1, True)
        decode = decoding(pipeline.vae, image)

        def noise(latents: Tensor, time: int) -> Tensor:
            def predict(part: Tensor, classed: Tensor, free: Tensor) -> Tensor:
                told = torch.cat([classed, free])
                both = pipeline.unet(part.repeat(2, 1, 1, 1), time, encoder_hidden_states=told).sample
                return classifier_free(both, class_guidance)

            return in_parts(predict, self.at_once, latents, classed, free)

        def see(latents: Tensor) -> Tensor:
            return in_parts(decode, self.at_once, latents)

        config = pipeline.unet.config
        start = torch.randn(len(labels), config.in_channels, config.sample_size, config.sample_size, device=device)
        signal = pipeline.scheduler.alphas_cumprod.to(device)
        return guided_sampling(Denoiser(signal, noise, see), loss, start, steps, strength)


def load_stable_diffusion(name: str, classes: tuple[str, ...], device: torch.device) -> StableDiffusion:
    """A Stable Diffusion pipeline, from a local folder or from the hub by its id, that is asked for ``classes``.

    Raises ``RequestError`` (diffusion) without diffusers, or where the pipeline cannot be had or is another.
    """
    try:
        from diffusers import StableDiffusionPipeline
    except ImportError:
        raise RequestError("diffusion", name, f"{INSTALL}.") from None
    local = Path(name).expanduser()
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            str(local) if local.is_dir() else name, safety_checker=None, requires_safety_checker=False
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        says = f"should be the folder, or the hub's id, of a Stable Diffusion pipeline: {why}"
        raise RequestError("diffusion", name, says) from None
    if pipeline.scheduler.config.prediction_type != "epsilon":
        raise RequestError("diffusion", name, "should predict noise (epsilon), as Stable Diffusion 1 does.")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        freeze(network)
    return StableDiffusion(pipeline, classes, room(device))


def room(device: torch.device) -> int:
    """How many images a GPU has memory for at once, as it is now; on a CPU one."""
    if device.type == "cpu":
        return 1
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, (torch.cuda.mem_get_info(device)[0] + unused) // IMAGE_BYTES)


def in_parts(function: Callable[..., Tensor], at_once: int, *batches: Tensor) -> Tensor:
    """``function`` of ``batches``, (B, …) each, ``at_once`` images at a time.

    Where that is not the whole batch only inputs are kept for the gradient, and each part is computed again for it: a
    loss may be of the whole batch, so that its parts cannot be guided one after another.
    """
    if len(batches[0]) <= at_once:
        return function(*batches)
    parts = zip(*(batch.split(at_once) for batch in batches), strict=True)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])


def decoding(autoencoder: Any, image: ImageSpec) -> Callable[[Tensor], Tensor]:
    """From latents to images as a teacher takes them, differentiable."""

    def see(latents: Tensor) -> Tensor:
        decoded = autoencoder.decode(latents / autoencoder.config.scaling_factor).sample
        pixels = (within(decoded, 1.0) + 1) / 2
        pixels = F.interpolate(pixels, (image.size, image.size), mode="bilinear", antialias=True)
        if image.channels == 1:
            pixels = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        return image.normalise(pixels)

    return see
