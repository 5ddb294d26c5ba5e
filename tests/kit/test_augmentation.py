"""Augmentations: what they draw, per sample, and that gradients get through."""

from __future__ import annotations

import pytest
import torch
from stepping import own_generator  # noqa: F401 - in every test here
from torch import nn

from dfkd_core.kit.augmentation import augment, random_crop, resized_crop

RAMP = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).view(2, 3, 8, 8) + 1


def test_a_crop_is_a_shifted_window_of_the_padded_image_drawn_per_sample() -> None:
    images = RAMP[:1].repeat(64, 1, 1, 1)
    cropped = random_crop(images, 1)
    padded = nn.functional.pad(images[0], [1] * 4)
    windows = [padded[:, top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
    found = [[torch.equal(image, window) for window in windows].index(True) for image in cropped]
    assert len(set(found)) > 3


def test_a_flip_mirrors_some_samples_and_not_others() -> None:
    images = RAMP[:1].repeat(256, 1, 1, 1)
    padded = [nn.functional.pad(image, [1] * 4) for image in (images[0], images[0].flip(2))]
    windows = [one[:, top : top + 8, left : left + 8] for one in padded for top in range(3) for left in range(3)]
    found = [[torch.equal(image, window) for window in windows].index(True) for image in augment(images, "crop+flip")]
    assert set(found) == set(range(18))


@pytest.mark.parametrize("kind", ["crop", "crop+flip"])
def test_the_gradient_of_an_augmentation_is_that_of_what_it_did(kind: str) -> None:
    def seeded(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return augment(images, kind)

    images = torch.rand(6, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seeded, images)


@pytest.mark.parametrize("kind", ["none", "crop", "crop+flip"])
def test_an_augmentation_keeps_the_shape_and_lets_gradients_through(kind: str) -> None:
    images = RAMP.clone().requires_grad_()
    augmented = augment(images, kind)
    augmented.sum().backward()
    assert augmented.shape == images.shape and images.grad is not None and images.grad.sum() > 0
    assert (augmented is images) == (kind == "none")


def test_a_resized_crop_is_a_square_part_by_bilinear_interpolation() -> None:
    """Of a ramp it is a ramp: where it begins tells the place, its slope the side."""
    size, count = 8, 200
    along = torch.arange(size).float().expand(count, 2, size, size).clone()
    down = along.transpose(2, 3).clone()
    torch.manual_seed(1)
    across = resized_crop(along, 0.25, mirror=False)
    torch.manual_seed(1)
    height = resized_crop(down, 0.25, mirror=False)
    torch.testing.assert_close(across, across[:, :1, :1].expand_as(across))
    middle = across[:, 0, 0]
    slopes = middle[:, 4] - middle[:, 3]
    assert slopes.min() > 0.5 - 1e-4 and slopes.max() < 1 + 1e-4 and slopes.std() > 0.1  # √area
    torch.testing.assert_close(height[:, 0, 4, 0] - height[:, 0, 3, 0], slopes)
    assert not torch.allclose(height[:, 0, :, 0], middle), "top and left are drawn apart"
    assert middle.min() >= 0 and middle.max() <= size - 1


def test_the_whole_image_is_a_crop_of_all_of_it() -> None:
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(resized_crop(images, 1.0, mirror=False), images)
    torch.manual_seed(0)
    mirrored = resized_crop(images, 1.0, mirror=True)
    same = [torch.allclose(one, other) for one, other in zip(mirrored, images, strict=True)]
    flipped = [torch.allclose(one.flip(2), other) for one, other in zip(mirrored, images, strict=True)]
    assert all(a or b for a, b in zip(same, flipped, strict=True)) and any(flipped)


def test_a_resized_crop_lets_the_gradient_through() -> None:
    images = torch.rand(2, 1, 4, 4, dtype=torch.double, requires_grad=True)

    def seeded(given: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return resized_crop(given, 0.25, mirror=True)

    assert torch.autograd.gradcheck(seeded, (images,))
