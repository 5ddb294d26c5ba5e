"""Sheets of images: how they lie in a run's folder, as PNG, and how pages take them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

SPRITE_COLUMNS = 16
TYPES = {"f": "float32", "i": "int16", "b": "uint8", "u": "uint8"}  # of a browser's arrays, by numpy's kind
KINDS = {"clean": "b", "label": "iu", "student_label": "iu"} | dict.fromkeys(
    ("loss", "posterior", "confidence", "features", "teacher_logits", "student_logits"), "f"
)
"""Of numbers in the columns that pages compute with, by numpy's letters."""
WIDE = ("features", "teacher_logits", "student_logits")  # rows of numbers; of the other columns a number an image


def is_regular(columns: dict[str, np.ndarray], count: int) -> bool:
    """Whether ``columns`` are what they are called, each of ``count`` images."""
    return all(
        values.shape[:1] == (count,)
        and (name not in KINDS or values.ndim == 1 + (name in WIDE))
        and values.dtype.kind in KINDS.get(name, "fibu")
        for name, values in columns.items()
    )


def png(picture: np.ndarray, **options: Any) -> bytes:
    """(H, W, C) uint8, C = 1 or 3, as a PNG; ``options`` are Pillow's."""
    buffer = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG", **options)
    return buffer.getvalue()


def in_rows(images: np.ndarray, across: int = SPRITE_COLUMNS) -> np.ndarray:
    """(N, H, W, C) images as one picture, row by row, ``across`` of them in each; the last row is filled with zeros."""
    count, height, width, channels = images.shape
    down = -(-count // across)
    sheet = np.zeros((down * across, height, width, channels), images.dtype)
    sheet[:count] = images
    sheet = sheet.reshape(down, across, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(down * height, across * width, channels)


def packed(values: np.ndarray) -> dict[str, str]:
    """Numbers as a browser's typed arrays take them."""
    kind = TYPES[values.dtype.kind]
    return {"type": kind, "data": base64.b64encode(values.astype(f"<{np.dtype(kind).str[1:]}").tobytes()).decode()}


def sheet(picture: bytes, shape: tuple[int, ...], columns: dict[str, np.ndarray], **about: Any) -> dict[str, Any]:
    """A sheet as pages take it, JSON-ready; ``pages/ui/web/sheet.js`` reads it.

    ``picture``: the PNG of the images, row by row; ``shape``: (N, H, W, …) of them; ``columns`` name -> a number for
    each image (those that hold more are left out); ``about``: what else is known of the sheet.
    """
    count, height, width = shape[:3]
    short = {name: packed(values) for name, values in columns.items() if values.ndim == 1}
    size = {"count": int(count), "height": int(height), "width": int(width)}
    return {"png": base64.b64encode(picture).decode(), **size, "columns": short, **about}
