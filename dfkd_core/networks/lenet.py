"""LeNet-5 (LeCun et al. 1998), as DAFL uses it."""

from __future__ import annotations

from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.base import Classifier


class LeNet5(Classifier):
    """LeNet-5 with ReLU and max-pooling. Below 28 pixels its kernels are 3×3 with padding instead of 5×5."""

    def __init__(self, image: ImageSpec, widths: tuple[int, int, int, int] = (6, 16, 120, 84), norm: bool = False):
        super().__init__()
        first, second, third, hidden = widths
        small = image.size < 28
        kernel, padding = (3, 1) if small else (5, 0)
        side = image.size // 4 if small else ((image.size - 4) // 2 - 4) // 2
        if side < 1:
            raise RequestError("size", image.size, "LeNet-5 takes images of at least 4 pixels a side.")

        def block(inputs: int, outputs: int, size: int, pad: int, *after: nn.Module) -> nn.Sequential:
            normalise = [nn.BatchNorm2d(outputs)] if norm else []
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, size, padding=pad, bias=not norm), *normalise, nn.ReLU(), *after
            )

        self.stages = nn.ModuleDict(
            {
                "conv1": block(image.channels, first, kernel, padding, nn.MaxPool2d(2)),
                "conv2": block(first, second, kernel, padding, nn.MaxPool2d(2)),
                "conv3": block(second, third, side, 0),
            }
        )
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(third, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, len(image.classes))

    def pool(self, last_map: Tensor) -> Tensor:
        return self.hidden(last_map)
