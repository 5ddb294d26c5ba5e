"""Rings of the last N of what was made: images for the student, features to tell them from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.kit.samples import to_bytes


class Ring:
    """The last ``limit`` rows of all that were added, of one shape; a new one takes the place of the oldest.

    Its memory is taken at once and never grows. A checkpoint holds the rows that are there.
    """

    def __init__(self, limit: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._places = torch.empty(limit, *shape, dtype=dtype, device=device)
        self.added = 0  # in all

    def __len__(self) -> int:
        return min(self.added, len(self._places))

    @property
    def rows(self) -> Tensor:
        """Those that are there, (N, …), in no order to rely on."""
        return self._places[: len(self)]

    def add(self, rows: Tensor) -> None:
        """(B, …) rows, in their order."""
        limit = len(self._places)
        first = max(0, len(rows) - limit)  # those before would be gone by the end
        numbers = torch.arange(self.added + first, self.added + len(rows), device=self._places.device)
        self._places[numbers % limit] = rows[first:].detach().to(self._places.dtype)
        self.added += len(rows)

    def draw(self, count: int) -> Tensor:
        """Up to ``count`` different rows, at random."""
        chosen = torch.randperm(len(self), device=self._places.device)[:count]
        return self._places[chosen]

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "added": self.added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.added = state["added"]
        self._places[: len(self)] = state["rows"].to(self._places.device)


class ImagePool(Ring):
    """Images as bytes, (N, C, H, W) uint8."""

    def __init__(self, limit: int, image: ImageSpec, device: torch.device) -> None:
        super().__init__(limit, (image.channels, image.size, image.size), torch.uint8, device)

    def add_pixels(self, pixels: Tensor) -> None:
        """(B, C, H, W) pixels; what lies outside [0, 1] is clamped."""
        self.add(to_bytes(pixels).permute(0, 3, 1, 2))
