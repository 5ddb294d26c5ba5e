"""Bringing weights: whatever one may have is read right, or refused by a sentence that names it; nothing is run."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import NO_DATA, bring, refused, shipped
from PIL import Image
from repositories import KUANGLIU, TORCHVISION, State, by, prefixed, saved, some_network
from safetensors.torch import save, save_file
from torch import nn

from dfkd_core.cli import main as cli
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.data.layouts import NO_SPLIT
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier, build_classifier
from dfkd_core.runs.request import usual_teacher
from dfkd_core.teachers.bring import register
from dfkd_core.teachers.cards import TeacherCard, proposed_name, user_folder
from dfkd_core.teachers.examine import examine
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.make import train_teacher
from dfkd_core.teachers.taken import COLOURS, Taken, usual

state = pytest.fixture(shipped)

# --- what is read ------------------------------------------------------------------------------------------------


def test_imported_weights_are_the_teacher(state: State, tmp_path: Path) -> None:
    card = bring(state, network="resnet8")
    assert card.recipe is None and card.doubts == () and "weights.pt" in card.origin
    assert card.accuracy == pytest.approx(0.9866, abs=1e-4)
    network, loaded = load_teacher("mine")
    assert loaded == card
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(RequestError, match="without a recipe"):
        train_teacher(card, tmp_path)


def parts_of_checkpoints(state: State) -> dict[str, object]:
    extra = {"total_ops": torch.zeros(1), "total_params": torch.zeros(1), "stages.stem.0.total_ops": torch.zeros(1)}
    tracked = {name: tensor for name, tensor in state.items() if "tracked" not in name}
    shared = torch.cat([tensor.flatten() for tensor in tracked.values()])
    views = dict(zip(tracked, shared.split([tensor.numel() for tensor in tracked.values()]), strict=True))
    return {
        "a mistyped ending": save(state),
        "profiled": {**state, **extra},
        "no counters": tracked,
        "averaged": {"n_averaged": torch.tensor(10), **prefixed(state, "module.")},
        "with its average": {"model": state, "model_ema": prefixed(state, "module."), "epoch": 1},
        "parameters": {
            name: nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in state.items()
        },
        "channels-last": {
            name: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
            for name, tensor in state.items()
        },
        "one storage": {name: view.view(tracked[name].shape) for name, view in views.items()},
        "deep": {"checkpoint": {"network": {"weights": prefixed(state, "net.encoder.")}}},
        "a list": [{"lr": 0.1}, state],
        "a class of its own": {"args": argparse.Namespace(best=state)},
        "a wrapped network": {"model": {**prefixed(state, "module.student."), "module.embed.weight": torch.rand(4, 4)}},
    }  # fmt: skip


def test_however_it_was_saved_its_accuracy_is_its_sources(state: State) -> None:
    for kind, value in parts_of_checkpoints(state).items():
        card = bring(value)
        assert (card.network, card.accuracy) == ("resnet8", pytest.approx(0.9866, abs=1e-4)), kind
        assert load_teacher("mine")[0].head.weight.equal(state["head.weight"]), kind


def test_a_checkpoint_from_a_gpu_that_is_not_here_is_read(state: State) -> None:
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr(torch.serialization, "location_tag", lambda storage: "cuda:2")
        data = [saved(state), saved(state, _use_new_zipfile_serialization=False)]
    assert [bring(one).network for one in data] == ["resnet8", "resnet8"]


def test_several_networks_in_a_file_are_asked_for(state: State) -> None:
    other = some_network("resnet8", 1, 8).state_dict()
    both = {**prefixed(state, "student."), **prefixed(other, "teacher.")}
    assert "several networks, in student, teacher" in refused(both)
    assert "--part" in refused({"model": state, "best": other})
    assert bring(both, part="teacher").accuracy < 0.5 < bring(both, part="student").accuracy
    averaged = {"model_ema": prefixed(other, "module."), "model": state}
    assert bring(averaged).accuracy > 0.9 and "--part model_ema.module" in bring(averaged).doubts[0]
    assert bring(averaged, part="model_ema").accuracy < 0.5
    assert "no network in 'nowhere'" in refused(both, part="nowhere")


def test_a_network_that_normalises_itself_says_how(state: State) -> None:
    inside = {"normalizer.new_mean": torch.full((1, 1, 1), 0.3), "normalizer.new_std": torch.full((1, 1, 1), 0.37)}
    robust = {"module.model." + name: tensor for name, tensor in state.items()}
    attacker = {"module.attacker.model." + name: tensor for name, tensor in state.items()}
    card = bring({"model": {**prefixed(inside, "module."), **robust, **attacker}})
    assert card.image.mean == (0.3,) and card.image.std == (0.37,) and card.accuracy > 0.98


def test_a_folder_of_the_hub_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert "is a directory; it holds no file of weights" in refused(folder)
    named = by(*TORCHVISION)(some_network("resnet8").state_dict())
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, folder / "model.safetensors")
    assert "take a file in it: model.safetensors" in refused(folder)
    config: dict[str, Any] = {
        "architecture": "resnet8",
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    config["id2label"] = {"0": "one", "1": "of another number"}
    (folder / "config.json").write_text(json.dumps(config))
    card = bring(folder, NO_DATA)
    assert card.network == "resnet8" and card.image.mean == (0.1, 0.2, 0.3) and card.image.std == (0.4, 0.5, 0.6)


SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "timm": ({"pretrained_cfg": {"input_size": [3, 64, 64]}}, {}),
    "transformers": ({"image_size": 48}, {"size": {"shortest_edge": 64}}),
    "cropped": ({}, {"size": 80, "crop_size": {"height": 64, "width": 64}}),
}


@pytest.mark.parametrize("whose", SIZES)
def test_a_folder_of_the_hub_says_the_size(tmp_path: Path, whose: str) -> None:
    for name, value in zip(("config.json", "preprocessor_config.json"), SIZES[whose], strict=True):
        (tmp_path / name).write_text(json.dumps(value))
    torch.save(by(*TORCHVISION)(some_network("resnet8").state_dict()), tmp_path / "pytorch_model.bin")
    assert bring(tmp_path, NO_DATA).image.size == 64
    assert bring(tmp_path, NO_DATA, taken=Taken(size=40)).image.size == 40


@pytest.mark.parametrize("data", ["digits", "folder:/my/häute (2)", "folder:皮肤", "folder:/" + "x" * 99])
def test_a_name_that_is_proposed_can_be_had(state: State, tmp_path: Path, data: str) -> None:
    bring(state)
    name = proposed_name(data, "resnet18+7x7")
    assert register(user_folder() / "mine.json", name, tmp_path / "own").name == name


# --- which network it is -----------------------------------------------------------------------------------------


def test_torchvisions_own_network_computes_the_same_here() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    source = resnet18(num_classes=10).eval()
    assert bring(source.state_dict(), NO_DATA).network == "resnet18+7x7+maxpool"
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(load_teacher("mine")[0](images), source(images), atol=1e-5)


def folder_of(network: Classifier, root: Path, count: int = 40) -> str:
    """A benchmark of noise, labelled with what ``network`` answers; its head is first set between the classes."""
    torch.manual_seed(1)
    colours = torch.randint(0, 256, (count, 3, 1, 1)).expand(count, 3, 8, 8)
    images = (colours // 2 + torch.randint(0, 128, (count, 3, 8, 8))).to(torch.uint8)
    with torch.no_grad():
        logits = network(images.float() / 255)
        network.head.weight /= logits.std(dim=0)[:, None]
        network.head.bias[:] = 0
        network.head.bias -= network(images.float() / 255).mean(dim=0)
        labels = network(images.float() / 255).argmax(dim=1)
    for index, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (root / f"kind {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(root / f"kind {label}" / f"{index}.png")
    return f"folder:{root}"


@pytest.mark.parametrize(
    ("variant", "other", "names"),
    [
        ("resnet8+option-a", "resnet8+option-a-behind", KUANGLIU),
        ("resnet8+option-a-behind", "resnet8+option-a", KUANGLIU),
        ("resnet18+maxpool", "resnet18", TORCHVISION),
    ],
)
def test_what_weights_do_not_show_is_told_by_accuracy(tmp_path: Path, variant: str, other: str, names: Any) -> None:
    network = some_network(variant, 3, 8, 2)
    benchmark = folder_of(network, tmp_path / "noise")
    state, taken = by(*names)(network.state_dict()), Taken((0.0,), (1.0,), size=8)
    found = bring(state, benchmark, taken=taken)
    assert (found.network, found.accuracy) == (variant, 1.0)
    asked = bring(state, benchmark, other, taken=taken)
    assert asked.network == other and any(f"--network {variant}" in doubt for doubt in asked.doubts)


def test_a_network_that_is_not_ours_is_named() -> None:
    from torchvision import models

    with torch.device("meta"):
        others = {
            "a ResNet-50 from 64 to 2048 channels with bottlenecks, a 7×7 stem": models.resnext50_32x4d(),
            "a VGG-11": models.vgg11(),
            "a MobileNet": models.mobilenet_v3_small(),
            "a DenseNet": models.densenet121(),
            "a vision transformer": models.vit_b_16(),
        }
    for words, network in others.items():
        tiny = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in network.state_dict().items()}
        assert words in refused(tiny, "imagenet"), words


def test_a_network_of_timm_is_asked_for_by_its_name(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    source = timm.create_model("resnet26", num_classes=10).eval()
    card = bring({"state_dict": prefixed(source.state_dict(), "module.")}, NO_DATA, "timm:resnet26")
    assert card.network == "timm:resnet26" and "names as timm:resnet26" in card.origin
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_teacher("mine")[0](images), source(images))
    assert "of timm:resnet26" in refused(timm.create_model("resnet18").state_dict(), NO_DATA, "timm:resnet26")


def test_without_timm_its_networks_are_refused_in_one_sentence(state: State) -> None:
    if find_spec("timm") is None:
        sentence = refused(state, network="timm:resnet26", field="network")
        assert sentence == "network = 'timm:resnet26': needs the package timm: pip install timm."


def test_another_network_than_the_one_asked_for_is_named(state: State) -> None:
    assert "a ResNet-8 from 16 to 64 channels; take --network resnet8" in refused(state, network="resnet20")
    sentence = refused(state, network="resnet9", field="network")
    assert "should be one of lenet5" in sentence and "a ResNet-8" in sentence
    wide = {name: tensor.repeat_interleave(2, 0) if tensor.ndim else tensor for name, tensor in state.items()}
    assert "is (32, 1, 3, 3), should be (16, 1, 3, 3)" in refused(wide)
    assert "stages.stage1.0.se.fc.weight" in refused({**state, "stages.stage1.0.se.fc.weight": torch.zeros(2, 2)})
    assert "lack stages.stage2.0.bn1.bias" in refused(
        {k: v for k, v in state.items() if k != "stages.stage2.0.bn1.bias"}
    )
    assert "(a, b …)" in refused({"a": torch.zeros(1), "b": torch.zeros(1)})


# --- what it takes -----------------------------------------------------------------------------------------------


def test_what_it_takes_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(by(*KUANGLIU)(some_network("resnet8", 3, 8, 2).state_dict()), tmp_path / "w.pth")
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "pets" / name / "1.png")
    command = ["teacher", "import", str(tmp_path / "w.pth"), "--benchmark", f"folder:{tmp_path / 'pets'}"]
    said = ["--mean", "0.1,0.2,0.3", "--std", "0.5", "--size", "16", "--channels", "3"]
    assert cli.main([*command, "--name", "mine", *said]) == 0
    image = load_teacher("mine")[1].image
    assert (image.mean, image.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    assert (image.size, image.channels, image.classes) == (16, 3, ("cat", "dog"))
    assert "mean 0.1,0.2,0.3" in capsys.readouterr().out
    assert cli.main([*command, "--name", "other", "--classes", "a, b"]) == 0
    assert load_teacher("other")[1].image.classes == ("a", "b")
    for flag, value, sentence in (
        ("--mean", "x", "numbers between commas"), ("--std", "0", "std should not be 0"),
        ("--mean", "0.1,0.2", "3 values each"), ("--channels", "1", "should be 3"),
        ("--classes", "a,b,c", "should be 2"),
        ("--size", "big", "whole number"),
    ):  # fmt: skip
        assert cli.main([*command, "--name", "third", flag, value]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("splits", [("train", "test"), ("Train", "Test"), ("",)], ids=str)
def test_a_folder_names_the_classes_as_its_benchmark_reads_them(tmp_path: Path, splits: tuple[str, ...]) -> None:
    classes, root = ("Bruise", "acne", "train"), tmp_path / "my pets"
    for split in splits:
        for name in (*classes, "lost+found", "@eaDir"):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / split / name / "1.png")
    state, taken = by(*KUANGLIU)(some_network("resnet8", 3, 8, 3).state_dict()), Taken((0.5,), (0.5,), size=8)
    card = bring(state, f"folder:'{root}'", taken=taken)
    assert card.image.classes == classes and (NO_SPLIT in card.doubts) == (splits == ("",))
    renamed = bring(state, card.benchmark, taken=replace(taken, classes=("x", "y", "z")))
    assert "acne is x, Bruise is y, train is z" in doubts_of(renamed)
    assert Taken.said(classes=f'"{root}"').classes == classes


def test_a_folder_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = folder_of(some_network("resnet8", 3, 8, 2), tmp_path / "pets", 4)
    state, taken = by(*KUANGLIU)(some_network("resnet8", 3, 8, 2).state_dict()), Taken((0.5,), (0.5,), size=8)
    monkeypatch.chdir(tmp_path)
    assert bring(state, "folder:pets", taken=taken).benchmark == benchmark
    assert usual_teacher("folder:pets") == "mine"
    monkeypatch.chdir(tmp_path.parent)
    assert usual_teacher(benchmark) == "mine"
    assert "should name a folder that exists" in refused(state, "folder:pets", field="benchmark")


@pytest.mark.parametrize(("variant", "size"), [("resnet8", 32), ("resnet18+7x7+maxpool", 224)])
def test_a_size_that_nothing_says_goes_by_the_stem_and_is_doubtful(tmp_path: Path, variant: str, size: int) -> None:
    state = by(*TORCHVISION)(some_network(variant, classes=2).state_dict())
    taken, benchmark = Taken((0.5,), (0.5,)), folder_of(some_network("resnet8", 3, 8, 2), tmp_path / "pets", 4)
    card = bring(state, benchmark, taken=taken)
    assert card.image.size == size and f"not said: {size} pixels are taken" in doubts_of(card)
    assert "pixels are taken" not in doubts_of(bring(state, benchmark, taken=replace(taken, size=32)))


def test_shapes_say_what_a_lenet_takes() -> None:
    weights = some_network("lenet5", 1, 28).state_dict()
    assert bring(weights, "mnist").image.size == 28
    assert bring(some_network("lenet5", 3, 32).state_dict(), "mnist").image.channels == 3


def test_shapes_are_held_against_what_is_said() -> None:
    weights = some_network("lenet5", 1, 28).state_dict()
    assert "should be 28" in refused(weights, "mnist", taken=Taken(size=20), field="size")
    hundred = some_network("resnet8", 3, 32, 100).state_dict()
    assert "has 10 classes, and the weights tell 100 apart" in refused(hundred, "cifar10", field="benchmark")
    ten = some_network("lenet5", 1, 32).state_dict()
    backwards = Taken(classes=tuple("9876543210"))
    assert "in the order 0, 1" in refused(ten, "mnist", taken=backwards, field="classes")


# --- doubts ------------------------------------------------------------------------------------------------------


def doubts_of(card: TeacherCard) -> str:
    return "; ".join(card.doubts)


def test_another_normalisation_that_is_better_is_named(state: State) -> None:
    wrong = bring(state, taken=Taken((0.0,), (1.0,)))
    assert "BatchNorm remembers other images" in doubts_of(wrong)
    state["stages.stem.0.weight"] *= 0.5 / 0.37
    shifted = bring(state, taken=Taken((0.3,), (0.5,)))
    assert shifted.accuracy == pytest.approx(0.9866, abs=2e-3) and not shifted.doubts
    state["stages.stem.0.weight"] /= 0.5 * 255
    assert "--mean 0 --std 0.00392157" in doubts_of(bring(state))


class Threshold(nn.Module):
    """Class 1 where an image is brighter than the mean of its first channel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0].mean(dim=(1, 2))[:, None] * torch.tensor([-1.0, 1.0])


@pytest.mark.parametrize(
    ("odd", "count", "size", "taken", "others"),
    [(1, 400, 8, 0, (2,)), (12, 400, 8, 2, ()), (2, 20, 8, 0, (2,)), (1, 400, 64, 3, (2, 0))],
)
def test_a_normalisation_that_a_few_images_speak_for_is_not_taken(
    odd: int, count: int, size: int, taken: int, others: tuple[int, ...]
) -> None:
    """``odd`` of ``count`` images are right with CIFAR-100's alone, whose mean is the highest."""
    grey = torch.tensor([50, 200] * (count // 2))
    grey[:odd], labels = 128, (grey > 100).long()
    labels[:odd] = 0
    images = grey[:, None, None, None].expand(count, 3, size, size).to(torch.uint8)
    image = ImageSpec(3, size, *usual(3, size)[0], ("dark", "bright"))
    found = examine({"mine": Threshold()}, LabelledImages(images, labels), image, True, True)  # type: ignore[dict-item]
    assert (found.image.mean, found.image.std) == COLOURS[taken]
    assert all(f"--mean {','.join(map(str, COLOURS[one][0]))} --std" in found.doubts[-1] for one in others)
    assert ("would be as good" in "".join(found.doubts)) == bool(others)


def test_what_seems_wrong_is_said_at_import_in_train_and_kept(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constant = {**state, "head.bias": state["head.bias"] + 1000 * torch.eye(10)[3]}
    assert "answers '3' to 100% of the test images" in doubts_of(bring(constant))
    negative = {**state, "stages.stem.1.running_var": -state["stages.stem.1.running_var"]}
    card = bring(negative)
    assert "stages.stem.1 has negative variances" in doubts_of(card) and "not numbers" in doubts_of(card)
    untrained = bring(
        build_classifier("resnet8", ImageSpec(3, 32, (0.5,) * 3, (0.5,) * 3, tuple("0123456789"))).state_dict(), NO_DATA
    )
    assert "has not seen an image" in doubts_of(untrained) and untrained.accuracy is None
    guessing = {**state, "head.weight": state["head.weight"].roll(1, 0), "head.bias": state["head.bias"].roll(1)}
    torch.save(guessing, tmp_path / "g.pt")
    assert cli.main(["teacher", "import", str(tmp_path / "g.pt"), "--benchmark", "digits", "--name", "guessing"]) == 0
    assert "warning: its accuracy" in (said := capsys.readouterr().out) and "near chance, 10.00%" in said
    short = ["--epochs", "1", "--iterations", "1", "--batch-size", "8", "--runs", str(tmp_path / "runs")]
    assert cli.main(["train", "--benchmark", "digits", "--teacher", "guessing", *short]) == 0
    assert "warning: guessing: its accuracy" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_refused(state: State) -> None:
    assert "head.bias holds values that are not finite" in refused({**state, "head.bias": torch.full((10,), torch.nan)})


def test_what_cannot_be_told_without_images_is_said() -> None:
    card = bring(by(*TORCHVISION)(some_network("resnet18").state_dict()), NO_DATA)
    assert card.network == "resnet18" and "--network resnet18+maxpool" in doubts_of(card)
