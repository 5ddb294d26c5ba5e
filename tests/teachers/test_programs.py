"""Teachers that are programs: brought, trusted, and distilled by the methods that need no more than they show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import bring, refused
from conftest import tiny_spec
from stepping import SMALL_TEACHER, events
from torch import Tensor, nn

from dfkd_core import methods
from dfkd_core.errors import RequestError
from dfkd_core.networks.known import ENDINGS, enough, of_network
from dfkd_core.runs.assemble import assemble
from dfkd_core.teachers.cards import available_teachers, user_folder
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.trusted import LIST

CLASSIFYING = [name for name, method in methods.available().items() if method.requires.task == "classifier"]
ANSWERED = [name for name in CLASSIFYING if methods.find(name).requires.of_teacher == "answers"]


def off(name: str) -> dict[str, Any]:
    """What has to be said for a teacher of which only answers are known."""
    knobs: dict[str, Any] = {term.knob: 0.0 for term in methods.find(name).terms if term.inside and term.knob}
    return knobs | ({"objective": "kd"} if name == "collected" else {})


def exported(network: nn.Module, sides: tuple[int, ...] = (1, 8, 8), batch: int | None = None) -> Any:
    example = torch.rand(batch or 2, *sides)
    shapes = ({0: torch.export.Dim("batch")},) if batch is None else None
    return torch.export.export(network.eval(), (example,), dynamic_shapes=shapes)


def as_torch(network: nn.Module, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.export.save(exported(network, **how), file)
    return file.getvalue()


def as_onnx(network: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.onnx.export(exported(network), f=file, external_data=False, verbose=False)
    return file.getvalue()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher of digits as both kinds of program."""
    network, folder = load_teacher(SMALL_TEACHER)[0], tmp_path_factory.mktemp("programs")
    for kind, write in (("onnx", as_onnx), ("torch-export", as_torch)):
        (folder / f"teacher{ENDINGS[kind]}").write_bytes(write(network))
    return {kind: folder / f"teacher{ending}" for kind, ending in ENDINGS.items()}


@pytest.fixture(scope="module")
def brought(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of teachers in which either is ``mine``, trusted."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        for kind, program in programs.items():
            folders[kind] = tmp_path_factory.mktemp(kind)
            patch.setenv("DFKD_TEACHERS", str(folders[kind]))
            bring(program, trusted=True)
    return folders


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_program_answers_as_its_source(programs: dict[str, Path], kind: str) -> None:
    card = bring(programs[kind], trusted=True)
    source, of_source = load_teacher(SMALL_TEACHER)
    program, _ = load_teacher("mine")
    images = torch.rand(5, 1, 8, 8, requires_grad=True)
    answers = program(images)
    assert torch.allclose(answers, source(images), atol=1e-4)
    assert answers.requires_grad == (of_network(card.network) == "gradients")
    assert card.network == kind and card.accuracy == pytest.approx(of_source.accuracy) and card.image == of_source.image


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("torch-export", name) for name in CLASSIFYING), *(("onnx", name) for name in [*ANSWERED, "ta-dfkd"])],
)
def test_methods_run_with_what_they_need_or_say_what_is_missing(
    brought: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setenv("DFKD_TEACHERS", str(brought[kind]))
    card = available_teachers("digits")["mine"]
    if not enough(of_network(card.network), methods.find(name).requires.of_teacher):
        with pytest.raises(RequestError, match="only (the )?answers") as caught:
            tiny_spec(method=name, teacher="mine", knobs=off(name))
        assert caught.value.field == "method"
        return
    _, _, method = assemble(tiny_spec(method=name, teacher="mine", knobs=off(name)))
    assert events(method, method.total_steps)


@pytest.mark.parametrize("name", ["dafl", "collected"])
def test_terms_and_objectives_that_read_features_are_refused(programs: dict[str, Path], name: str) -> None:
    bring(programs["torch-export"], trusted=True)
    with pytest.raises(RequestError, match="reads the teacher's features") as caught:
        tiny_spec(method=name, teacher="mine")
    assert [caught.value.field] == list(off(name))


def test_a_term_that_reads_features_cannot_be_turned_on_later(programs: dict[str, Path]) -> None:
    bring(programs["torch-export"], trusted=True)
    _, _, method = assemble(tiny_spec(teacher="mine"))
    with pytest.raises(RequestError, match="activation_weight"):
        method.reconfigure(method.config.change({"activation_weight": 0.1}))


def test_a_program_that_is_code_is_opened_where_it_was_trusted_only(programs: dict[str, Path]) -> None:
    assert "--trust" in refused(programs["torch-export"])
    bring(programs["torch-export"], trusted=True)
    (user_folder() / LIST).unlink()
    with pytest.raises(RequestError, match="--trust"):
        load_teacher("mine")


def test_weights_in_a_file_beside_the_program_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.onnx.export(exported(Answers()), f="m.onnx", verbose=False)
    assert Path("m.onnx.data").exists()
    assert "should hold its weights; export it with external_data=False" in refused(Path("m.onnx"))


class Answers(nn.Module):
    """A network that answers as ``of`` says."""

    def __init__(self, of: Any = lambda logits: logits) -> None:
        super().__init__()
        self.linear, self.of = nn.Linear(64, 10), of

    def forward(self, images: Tensor) -> Tensor:
        return self.of(self.linear(images.flatten(1)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: as_torch(Answers(lambda logits: logits.softmax(dim=1))), "probabilities"),
        (lambda: as_torch(Answers(lambda logits: logits.argmax(dim=1))), "logits, (B, K)"),
        (lambda: as_torch(Answers(), batch=4), "4 images at once"),
        (lambda: as_torch(Answers(lambda logits: logits.detach())), "no gradient"),
        (lambda: as_torch(nn.Linear(8, 10), sides=(8,)), "2 dimensions"),
        (lambda: as_torch(Answers(), sides=(8, 8, 1)), "images of (8, 8, 1), their channels last"),
        (lambda: as_torch(Answers(lambda logits: logits[:, :7])), "7"),
        (lambda: b"\x08\x0a\x12\x07pytorch" + bytes(99), "onnxruntime cannot read it"),
    ],
)
def test_what_no_teacher_can_be_made_of_is_refused(data: Any, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        bring(data(), trusted=True)
    assert said in str(caught.value)
    assert not list(user_folder().glob("*.json"))
