"""A ring keeps the last of what was added, and a checkpoint of it the same."""

from __future__ import annotations

import pytest
import torch
from stepping import own_generator  # noqa: F401 - in every test here
from torch import Tensor
from toy import IMAGE

from dfkd_core.kit.ring import ImagePool, Ring

CPU = torch.device("cpu")


def ring(limit: int, dtype: torch.dtype = torch.float32) -> Ring:
    return Ring(limit, (1,), dtype, CPU)


def numbers(first: int, last: int) -> Tensor:
    return torch.arange(first, last + 1, dtype=torch.float32)[:, None]


def held(found: Ring) -> list[float]:
    return sorted(found.rows.flatten().tolist())


@pytest.mark.parametrize("parts", [[10], [3, 3, 4], [1] * 10, [9, 1]], ids=str)
def test_the_last_rows_are_there_however_they_came(parts: list[int]) -> None:
    found, first = ring(4), 1
    for part in parts:
        found.add(numbers(first, first + part - 1))
        first += part
    assert len(found) == 4 and found.added == 10 and held(found) == [7, 8, 9, 10]


def test_it_is_as_long_as_what_was_added_until_it_is_full() -> None:
    found = ring(4)
    assert len(found) == 0 and found.rows.shape == (0, 1) and found.draw(3).shape == (0, 1)
    found.add(numbers(1, 3))
    assert len(found) == 3 and held(found) == [1, 2, 3]


def test_no_row_is_drawn_twice() -> None:
    found = ring(6)
    found.add(numbers(1, 5))
    assert sorted(found.draw(99).flatten().tolist()) == [1, 2, 3, 4, 5]
    drawn = [found.draw(2).flatten().tolist() for _ in range(40)]
    assert all(len(set(pair)) == 2 for pair in drawn) and len(set(map(tuple, drawn))) > 5


def test_what_is_kept_has_no_gradient_and_its_own_memory() -> None:
    given, found = torch.ones(2, 1, requires_grad=True), ring(4)
    found.add(given * 3)
    assert not found.rows.requires_grad
    with torch.no_grad():
        given.zero_()
    assert held(found) == [3, 3]


@pytest.mark.parametrize("added", [0, 3, 4, 6])
def test_one_that_was_saved_goes_on_as_the_other(added: int) -> None:
    one, other = ring(4, torch.half), ring(4, torch.half)
    if added:
        one.add(numbers(1, added))
    other.load_state_dict(
        {name: kept.clone() if isinstance(kept, Tensor) else kept for name, kept in one.state_dict().items()}
    )
    for found in (one, other):
        found.add(numbers(11, 13))
    assert torch.equal(one.rows, other.rows) and one.added == other.added
    assert one.state_dict()["rows"].shape[0] == len(one)


def test_a_pool_holds_bytes_and_clamps() -> None:
    pool = ImagePool(5, IMAGE, CPU)
    pixels = torch.rand(3, 1, 8, 8)
    pixels[0, 0, 0, :2] = torch.tensor([-1.0, 2.0])
    pool.add_pixels(pixels)
    assert pool.rows.dtype == torch.uint8 and pool.rows.shape == (3, 1, 8, 8)
    assert pool.rows[0, 0, 0, :2].tolist() == [0, 255]
    torch.testing.assert_close(pool.rows[1:] / 255, pixels[1:], atol=1 / 510 + 1e-6, rtol=0)
