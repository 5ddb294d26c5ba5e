"""Layer names of public repositories × what people save them in × number formats: each comes in as it was."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from repositories import CONTAINERS, LARGE_ONES, PRECISIONS, REPOSITORIES, saved, some_network

from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import build_classifier
from dfkd_core.teachers.bring import import_weights
from dfkd_core.teachers.containers import opened
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.recognise import recognise


@pytest.mark.parametrize(
    "repository", [pytest.param(name, marks=[pytest.mark.slow] * (at >= 2)) for at, name in enumerate(REPOSITORIES)]
)
def test_every_file_is_read_as_the_network_that_it_is(repository: str, tmp_path: Path) -> None:
    kind, names_of = REPOSITORIES[repository]
    source, path = some_network(kind).state_dict(), tmp_path / "weights"
    for container, write in CONTAINERS.items():
        for precision in PRECISIONS:
            state = {
                name: tensor.to(precision) if tensor.is_floating_point() else tensor.int()
                for name, tensor in source.items()
            }
            path.write_bytes(write(names_of(state)))
            with opened(path) as parts:
                found, others = recognise(parts, 32)
                assert (found.networks[0], others) == (kind, ()), (container, precision)
                assert found.tensors.keys() == state.keys()
                assert all(torch.equal(held.read(), state[name]) for name, held in found.tensors.items()), container


@pytest.mark.parametrize("repository", LARGE_ONES)
def test_a_large_file_is_told_by_names_and_shapes(repository: str, tmp_path: Path) -> None:
    """Every tensor is one number, spread over its shape: so one sees where each went, and the file is small."""
    kind, names_of = LARGE_ONES[repository]
    image, path = ImageSpec(3, 32, (0.5,) * 3, (0.5,) * 3, tuple("0123456789")), tmp_path / "weights"
    with torch.device("meta"):
        own = {name: tensor.shape for name, tensor in build_classifier(kind, image).state_dict().items()}
    numbered = {name: torch.tensor(float(at)).expand(shape) for at, (name, shape) in enumerate(own.items())}
    path.write_bytes(saved(names_of(numbered)))
    with opened(path) as parts:
        found, others = recognise(parts, 32)
        told = {name: struct.unpack("<f", held.bytes_of(4 * held.first, 4))[0] for name, held in found.tensors.items()}
        assert (found.networks[0], others) == (kind, ())
        assert {name: held.shape for name, held in found.tensors.items()} == own
        assert told == {name: float(at) for at, name in enumerate(own)}


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_what_was_brought_answers_as_its_source(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("DFKD_TEACHERS", str(tmp_path))
    kind, names_of = REPOSITORIES[repository]
    source = some_network(kind)
    (tmp_path / "weights").write_bytes(CONTAINERS["torch 1.5"](names_of(source.state_dict())))
    import_weights(tmp_path / "weights", "", "cifar10", "brought", tmp_path)
    brought, card = load_teacher("brought")
    images = torch.rand(4, 3, 32, 32)
    assert card.network == kind and card.image.size == 32
    with torch.no_grad():
        assert torch.equal(brought(images), source(images))
