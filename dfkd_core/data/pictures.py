"""Image files as pixels: decoded within bounds, brought to the size and the channels that a network takes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from dfkd_core.data.files import FORMATS
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

MAX_PIXELS = 25_000_000  # of one image file, as cameras have: up to 400 MB while it is read; Pillow itself only warns
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
TRANSPARENT = ("LA", "RGBA")


LEAST_OF_16_BITS = 1 << 14  # what the brightest pixel of a set of 16-bit files holds, if they use their range
HELD = "held"  # in a picture's ``info``: its brightest pixel, of a file with 16 bits


def read_files(files: Sequence[tuple[Path, int]], image: ImageSpec) -> LabelledImages:
    """Image files with their labels, brought to the shape of ``image``. Raises ``RequestError`` naming a bad one."""
    images, deep = np.empty((len(files), image.size, image.size, image.channels), np.uint8), SixteenBits()
    for index, (path, _) in enumerate(files):
        picture = decode(path, str(path))
        deep.see(picture, str(path))
        images[index] = _fitted(picture, image, str(path))
    deep.check()
    labels = torch.tensor([label for _, label in files])
    return LabelledImages(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


def _fitted(picture: Image.Image, image: ImageSpec, name: str) -> np.ndarray:
    """(H, W, C) uint8: of a picture that is no square the middle, so that nothing is squeezed."""
    size, mode = (image.size, image.size), MODES[image.channels]
    if picture.mode in TRANSPARENT:
        picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
        picture = opaque(picture, name) if mode not in TRANSPARENT else picture
    picture = picture.convert(mode)
    if picture.size != size:
        picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(image.size, image.size, image.channels)


def opaque(picture: Image.Image, name: str) -> Image.Image:
    """On white, where it is transparent. Raises ``RequestError`` (image ``name``) where nothing is seen then."""
    if picture.mode not in TRANSPARENT:
        return picture
    alpha, plain = picture.getchannel("A"), picture.convert(picture.mode[:-1])
    least, most = alpha.getextrema()
    if least == 255:
        return plain
    on_white = Image.new(plain.mode, plain.size, "white")
    on_white.paste(plain, mask=alpha)
    if (least != most or most == 0) and _is_even(on_white):
        says = "is transparent, and on white nothing of it is seen; put it on the ground that the teacher knows."
        raise RequestError("image", name, says)
    return on_white


def _is_even(picture: Image.Image) -> bool:
    """Whether all of its pixels are the same."""
    return all(low == high for low, high in (band.getextrema() for band in picture.split()))


def decode(file: Path | BinaryIO, name: str) -> Image.Image:
    """The image upright, in one of ``MODES``. Raises ``RequestError`` (image ``name``) for one that is damaged, or a
    bomb."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap below is the stricter one
            opened = Image.open(file, formats=FORMATS.upper().split(", "))
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            halved = any(";16" in str(tile[3]) for tile in opened.tile) and not opened.mode.startswith("I")
            opened.load()
            ImageOps.exif_transpose(opened, in_place=True)  # else it is copied
            return _plain(opened, halved)
    except Image.DecompressionBombError:
        raise RequestError("image", name, f"should have at most {MAX_PIXELS:,} pixels.") from None
    except UnidentifiedImageError:
        raise RequestError("image", name, f"cannot be read: it is none of {FORMATS}.") from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise RequestError("image", name, f"cannot be read: {error}.") from None


def _plain(picture: Image.Image, halved: bool) -> Image.Image:
    """Palettes, CMYK and the like as one of ``MODES``; ``halved``: Pillow kept the upper 8 of 16 bits."""
    if picture.mode.startswith("I;16"):  # Pillow would clip, and leave white
        values = np.asarray(picture)
        plain = Image.fromarray((values >> 8).astype(np.uint8))
        plain.info[HELD] = int(values.max())
        return plain
    if picture.mode in ("I", "F"):
        raise ValueError("it has more than 16 bits a pixel")
    if halved:
        picture.info[HELD] = int(np.asarray(picture)[..., :3].max()) << 8
    if picture.mode in TRANSPARENT:
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in MODES.values():
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


class SixteenBits:
    """Whether the 16-bit files of a set use their range: a scanner's 12 bits, or 0 to 255, would come out black, and
    what one dark file holds says nothing of the others."""

    def __init__(self) -> None:
        self.brightest, self.first = 0, ""

    def see(self, picture: Image.Image, name: str) -> None:
        """Take note of a picture that ``decode`` gave."""
        if HELD in picture.info:
            self.first = self.first or name
            self.brightest = max(self.brightest, picture.info[HELD])

    def check(self) -> None:
        """Raises ``RequestError`` with the first such file."""
        if self.first and self.brightest < LEAST_OF_16_BITS:
            bits = max(self.brightest.bit_length(), 1)
            says = f"has 16 bits a pixel, of which no such file uses more than {bits}; make them 8-bit files."
            raise RequestError("image", self.first, says)


def squares(sheet: Path, side: int) -> Tensor:
    """(N, C, side, side) uint8 of a ``sheet`` of squares, from left to right, line by line."""
    pixels = torch.from_numpy(np.array(decode(sheet, str(sheet))))
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    lines = pixels.unfold(0, side, side).unfold(1, side, side)  # (rows, columns, C, side, side)
    return lines.flatten(0, 1).contiguous()


def resize(pixels: Tensor, size: int) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, size, size)."""
    if pixels.shape[-1] == size:
        return pixels
    return torch.cat([interpolate(part, (size, size), mode="bilinear", antialias=True) for part in pixels.split(4096)])


def to_channels(images: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) uint8 as grey (1), RGB (3), or either with an opaque alpha channel (2, 4)."""
    colours = 1 if channels < 3 else 3
    if images.shape[1] != colours:
        from torchvision.transforms.v2.functional import rgb_to_grayscale  # takes seconds, and few need it

        images = rgb_to_grayscale(images) if colours == 1 else images.repeat(1, 3, 1, 1)
    if channels in (2, 4):
        images = torch.cat([images, torch.full_like(images[:, :1], 255)], dim=1)
    return images
