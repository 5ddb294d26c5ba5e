"""What a brought network takes: its images' shape, their normalisation and the names of their classes. No torch."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfkd_core.data.files import folder_of
from dfkd_core.data.layouts import class_names
from dfkd_core.errors import RequestError

WEIGHTS = ("model.safetensors", "pytorch_model.bin", "*.safetensors", "*.bin", "*.pt", "*.pth")
MAX_JSON_BYTES = 1 << 20
LARGE = 64  # pixels a side, from which on images are scarcely CIFAR's

Channels = tuple[float, ...]

COLOURS: tuple[tuple[Channels, Channels], ...] = (
    ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),  # CIFAR-10's
    ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),  # kuangliu's, and so DAFL's and CMI's
    ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),  # CIFAR-100's
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's
)
GREYS: tuple[tuple[Channels, Channels], ...] = (((0.1307,), (0.3081,)), ((0.2860,), (0.3530,)))  # MNIST's, Fashion's
ALL: tuple[tuple[float, float], ...] = ((0.5, 0.5), (0.0, 1.0), (0.0, 1 / 255), (1.0, -1.0))  # the last one inverts


def usual(channels: int, size: int) -> list[tuple[Channels, Channels]]:
    """Mean and std that networks of so many channels were usually trained with, of pixels from 0 to 1, the likeliest
    first: ImageNet's from a ``size`` of 64 pixels on."""
    own = {1: GREYS, 3: COLOURS if size < LARGE else COLOURS[::-1]}.get(channels, ())
    return [*own, *(((mean,) * channels, (std,) * channels) for mean, std in ALL)]


def spread(values: Channels, channels: int) -> Channels:
    """One value for every channel; several are left as they are."""
    return values * channels if len(values) == 1 else values


@dataclass(frozen=True)
class Taken:
    """What is said of it; None where nothing is."""

    mean: Channels | None = None
    std: Channels | None = None
    size: int | None = None
    channels: int | None = None
    classes: tuple[str, ...] | None = None

    @classmethod
    def said(cls, mean: str = "", std: str = "", size: str = "", channels: str = "", classes: str = "") -> Taken:
        """From texts: numbers between commas, and names between commas, their number, or a folder with one subfolder a
        class. Raises ``RequestError``."""
        return cls(
            _numbers("mean", mean), _numbers("std", std), _whole("size", size), _whole("channels", channels),
            _names(classes),
        )  # fmt: skip

    def otherwise(self, other: Taken) -> Taken:
        """Of ``other`` what is not said here."""
        return Taken(*(theirs if own is None else own for own, theirs in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[Any, ...]:
        return self.mean, self.std, self.size, self.channels, self.classes


def _numbers(field: str, text: str) -> Channels | None:
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else None
    except ValueError:
        raise RequestError(
            field, text, "should be numbers between commas, one a channel: 0.4914,0.4822,0.4465."
        ) from None


def _whole(field: str, text: str) -> int | None:
    try:
        return int(text) if text.strip() else None
    except ValueError:
        raise RequestError(field, text, "should be a whole number.") from None


def _names(text: str) -> tuple[str, ...] | None:
    if not text.strip():
        return None
    if text.strip().isdecimal():
        return numbered(min(int(text), 10_001))
    if folder_of(text).is_dir():
        return class_names(folder_of(text))
    return tuple(part.strip() for part in text.split(","))


def numbered(count: int) -> tuple[str, ...]:
    """Names of classes that have none."""
    return tuple(f"class {index}" for index in range(count))


# --- folders of models -----------------------------------------------------------------------------------------


def located(path: Path) -> tuple[Path, Taken]:
    """The file of weights, and what lies beside it says of its images: of a folder as the Hugging Face hub has them,
    with a ``config.json``. Raises ``RequestError`` for another folder."""
    if not path.is_dir():
        return path, Taken()
    inside = sorted(file.name for pattern in WEIGHTS for file in path.glob(pattern))
    first = next((file for pattern in WEIGHTS for file in sorted(path.glob(pattern))), None)
    config = _json(path / "config.json")
    if config is None or first is None:
        told = f"take a file in it: {', '.join(dict.fromkeys(inside[:5]))}" if inside else "it holds no file of weights"
        raise RequestError("weights", str(path), f"is a directory; {told}.")
    return first, _from_config(config | (_json(path / "preprocessor_config.json") or {}))


def _from_config(config: dict[str, Any]) -> Taken:
    """timm's and transformers' words for it."""
    about = config | (config["pretrained_cfg"] if isinstance(config.get("pretrained_cfg"), dict) else {})
    labels = about.get("label_names")
    with suppress(KeyError, ValueError, AttributeError, TypeError):
        labels = labels or [name for _, name in sorted((int(at), name) for at, name in about["id2label"].items())]
    return Taken(
        _plain_numbers(about.get("mean", about.get("image_mean"))),
        _plain_numbers(about.get("std", about.get("image_std"))),
        _side(about),
        classes=tuple(map(str, labels)) if isinstance(labels, list) else None,
    )


def _plain_numbers(values: Any) -> Channels | None:
    return (
        tuple(map(float, values))
        if isinstance(values, list) and all(isinstance(v, int | float) for v in values)
        else None
    )


def _side(about: dict[str, Any]) -> int | None:
    """Of square images: timm's [C, H, W], else what transformers' preprocessors crop or scale to."""
    for said in map(about.get, ("input_size", "crop_size", "size", "image_size")):
        sides = said[1:] if isinstance(said, list) else list(said.values()) if isinstance(said, dict) else [said]
        if sides and isinstance(sides[0], int) and sides.count(sides[0]) == len(sides):
            return sides[0]
    return None


def _json(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= MAX_JSON_BYTES:
            found = json.loads(path.read_bytes())
            return found if isinstance(found, dict) else None
    return None
