"""Image files as pixels: decoded within bounds, brought to the size and the channels that a network takes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dfkd_core.data.labelled import LabelledImages
from dfkd_core.data.layouts import FORMATS
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

MAX_PIXELS = 25_000_000  # of one image file, as cameras have: up to 400 MB while it is read; Pillow itself only warns
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_files(files: Sequence[tuple[Path, int]], image: ImageSpec) -> LabelledImages:
    """Image files with their labels, brought to the shape of ``image``. Raises ``RequestError`` naming a bad one."""
    images = np.empty((len(files), image.size, image.size, image.channels), np.uint8)
    for index, (path, _) in enumerate(files):
        images[index] = _read_image(path, image)
    labels = torch.tensor([label for _, label in files])
    return LabelledImages(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


def _read_image(path: Path, image: ImageSpec) -> np.ndarray:
    """One file as (H, W, C) uint8. Raises ``RequestError`` for one that is damaged, or a bomb."""
    picture = decode(path, str(path)).convert(MODES[image.channels])
    if picture.size != (image.size, image.size):
        picture = picture.resize((image.size, image.size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(image.size, image.size, image.channels)


def decode(file: Path | BinaryIO, name: str) -> Image.Image:
    """The image, in one of ``MODES``. Raises ``RequestError`` (image ``name``) for one that is damaged, or a bomb."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap below is the stricter one
            opened = Image.open(file, formats=FORMATS.upper().split(", "))
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            opened.load()
            return opened if opened.mode in MODES.values() else _plain(opened)
    except Image.DecompressionBombError:
        raise RequestError("image", name, f"should have at most {MAX_PIXELS:,} pixels.") from None
    except UnidentifiedImageError:
        raise RequestError("image", name, f"cannot be read: it is none of {FORMATS}.") from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise RequestError("image", name, f"cannot be read: {error}.") from None


def _plain(picture: Image.Image) -> Image.Image:
    """Palettes, CMYK and the like as one of ``MODES``."""
    if picture.mode.startswith("I;16"):  # Pillow would clip, and leave white
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("it has more than 16 bits a pixel")
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def resize(pixels: Tensor, size: int) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, size, size)."""
    if pixels.shape[-1] == size:
        return pixels
    from torchvision.transforms.v2 import functional

    return torch.cat([functional.resize(part, [size, size], antialias=True) for part in pixels.split(4096)])


def to_channels(images: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) uint8 as grey (1), RGB (3), or either with an opaque alpha channel (2, 4)."""
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    colours = 1 if channels < 3 else 3
    if images.shape[1] != colours:
        images = rgb_to_grayscale(images) if colours == 1 else images.repeat(1, 3, 1, 1)
    if channels in (2, 4):
        images = torch.cat([images, torch.full_like(images[:, :1], 255)], dim=1)
    return images
