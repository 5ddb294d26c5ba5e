"""Layer names of public repositories × what people save them in × number formats: each comes in as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from repositories import CONTAINERS, PRECISIONS, REPOSITORIES, some_network

from dfkd_core.teachers.bring import import_weights
from dfkd_core.teachers.containers import opened
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.recognise import recognise


@pytest.mark.parametrize("repository", REPOSITORIES)
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
