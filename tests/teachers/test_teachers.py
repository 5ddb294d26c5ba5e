"""Teachers: the shipped ones are what their cards say, and files of weights are read with suspicion."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.errors import NonFiniteError, RequestError
from dfkd_core.losses.bn_statistics import has_statistics
from dfkd_core.networks.classifiers import Classifier, build_classifier
from dfkd_core.networks.weights import WeightsError, fill
from dfkd_core.teachers.cards import SHIPPED, Recipe, TeacherCard, available_teachers, find_card, read_card
from dfkd_core.teachers.load import blank, has_batch_norm, load_diffusion, load_teacher, pooled_width
from dfkd_core.teachers.make import evaluate_accuracy, store_teacher, train_teacher
from dfkd_core.teachers.train import augment

CPU = torch.device("cpu")
CARDS = {path.stem: read_card(path) for path in sorted(SHIPPED.glob("*.json"))}
ALL = [name for name, card in CARDS.items() if card.task == "classifier"]
DIGITS = [name for name in ALL if CARDS[name].benchmark == "digits"]
DIFFUSION = [name for name, card in CARDS.items() if card.task == "diffusion"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for own teachers."""
    folder = tmp_path / "teachers"
    folder.mkdir()
    monkeypatch.setenv("DFKD_TEACHERS", str(folder))
    return folder


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """Some weights of a LeNet-5 for digits."""
    torch.manual_seed(1)
    return build_classifier("lenet5", find_benchmark("digits").image).state_dict()


def tiny_card(name: str = "tiny", **recipe: Any) -> TeacherCard:
    card = available_teachers("digits")["digits-lenet5-long"]
    changes = {"kind": "tiny", "epochs": 2, "batch_size": 200, **recipe}
    return card.model_copy(update={"name": name, "sha256": "", "recipe": Recipe.model_validate(changes)})


# --- the shipped teachers ----------------------------------------------------------------------------------------


def test_five_teachers_for_each_of_two_benchmarks_in_ten_megabytes() -> None:
    cards = available_teachers()
    assert [sum(card.benchmark == name for card in cards.values()) for name in ("digits", "mnist")] == [5, 5]
    assert sum((SHIPPED / f"{name}.safetensors").stat().st_size for name in cards) <= 10_000_000
    for benchmark in ("digits", "mnist"):
        accuracies = [card.accuracy or 0.0 for card in available_teachers(benchmark).values()]
        assert min(accuracies) > 0.98
        assert max(accuracies) - min(accuracies) <= 0.01
        assert len({card.recipe.kind for card in available_teachers(benchmark).values() if card.recipe}) == 5


@pytest.mark.parametrize("name", ALL)
def test_shipped_teacher_loads_frozen(name: str) -> None:
    before = torch.random.get_rng_state()
    network, card = load_teacher(name)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert card.image.spec() == find_benchmark(card.benchmark).image
    assert hashlib.sha256((SHIPPED / f"{name}.safetensors").read_bytes()).hexdigest() == card.sha256


@pytest.mark.parametrize("name", DIFFUSION)
def test_a_shipped_diffusion_model_loads_frozen_and_is_small(name: str) -> None:
    network, card = load_diffusion(name)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    weights = SHIPPED / f"{name}.safetensors"
    assert weights.stat().st_size <= 1_300_000
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == card.sha256
    assert name not in available_teachers() and name in available_teachers(None, "diffusion")
    with pytest.raises(RequestError, match="take a classifier"):
        load_teacher(name)


@pytest.mark.parametrize("name", DIGITS)
def test_accuracy_on_the_card_is_reproduced(name: str) -> None:
    network, card = load_teacher(name)
    test = find_benchmark("digits").load(train=False)
    assert evaluate_accuracy(network, test, card.image.spec(), CPU) == pytest.approx(card.accuracy, abs=1e-9)


def test_cards_are_read_without_torch() -> None:
    code = "import sys; from dfkd_core.teachers import cards; assert cards.available_teachers()"
    code += " and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SHIPPED.parent.parent)


# --- finding -----------------------------------------------------------------------------------------------------


def test_unknown_name_lists_what_exists() -> None:
    with pytest.raises(RequestError) as caught:
        load_teacher("digits-vgg")
    assert caught.value.field == "teacher"
    assert all(name in str(caught.value) for name in ALL)


def test_damaged_card_is_passed_over(own_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (own_folder / "torn.json").write_text('{"name": "torn", ')
    (own_folder / "shipped.json").write_text((SHIPPED / "digits-resnet8-adam.json").read_text().replace('": 8', '": 9'))
    assert list(available_teachers()) == ALL
    assert "torn.json" in caplog.text
    with pytest.raises(RequestError, match="no card of a teacher"):
        find_card(own_folder / "torn.json")


def test_own_teachers_follow_the_shipped_ones(own_folder: Path) -> None:
    train_teacher(tiny_card("a-tiny-one"), own_folder)
    assert list(available_teachers()) == [*ALL, "a-tiny-one"]
    assert load_teacher("a-tiny-one")[1].name == "a-tiny-one"
    assert not available_teachers("cifar100")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../up"),
        ("accuracy", 1.5),
        ("sha256", "abc"),
        ("extra", 1),
        ("seed", -1),
        ("image", {"channels": 3, "size": 8, "mean": [0.5], "std": [0.5], "classes": ["a", "b"]}),
        ("image", {"channels": 1, "size": 100_000, "mean": [0.5], "std": [0.5], "classes": ["a", "b"]}),
    ],
)
def test_card_out_of_bounds_is_refused(tmp_path: Path, field: str, value: object) -> None:
    card = json.loads((SHIPPED / f"{DIGITS[0]}.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, field: value}))
    with pytest.raises(RequestError, match=field):
        read_card(tmp_path / "card.json")


# --- damaged and foreign weights ---------------------------------------------------------------------------------


def copy_teacher(folder: Path, name: str = "digits-lenet5-long") -> Path:
    for ending in ("json", "safetensors"):
        (folder / f"copy.{ending}").write_bytes((SHIPPED / f"{name}.{ending}").read_bytes())
    return folder / "copy.json"


def replace_weights(card: Path, data: bytes) -> None:
    """Put ``data`` beside ``card`` with a matching hash, as somebody who means harm would."""
    card.with_suffix(".safetensors").write_bytes(data)
    changed = {**json.loads(card.read_text()), "sha256": hashlib.sha256(data).hexdigest()}
    card.write_text(json.dumps(changed))


def load_refused(card: Path) -> str:
    with pytest.raises(RequestError) as caught:
        load_teacher(card)
    assert caught.value.field == "teacher"
    return str(caught.value)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    card = copy_teacher(tmp_path)
    load_teacher(card)
    weights = card.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert "SHA-256" in load_refused(card)


def test_missing_and_oversized_files_are_refused(tmp_path: Path) -> None:
    card = copy_teacher(tmp_path)
    with open(card.with_suffix(".safetensors"), "r+b") as file:
        file.truncate(1 << 40)
    assert "larger than" in load_refused(card)
    card.with_suffix(".safetensors").unlink()
    assert "cannot be read" in load_refused(card)


def test_wrong_shapes_and_names_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    card = copy_teacher(tmp_path)
    replace_weights(card, save({**state, "head.bias": torch.zeros(11)}))
    assert "head.bias is (11,), should be (10,)" in load_refused(card)
    replace_weights(card, save({name: tensor for name, tensor in state.items() if name != "head.bias"}))
    assert "lack head.bias" in load_refused(card)
    replace_weights(card, save({**state, "more": torch.zeros(1)}))
    assert "more" in load_refused(card)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 1 << 22]}},
        {"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}},
        {"a": 3},
        [],
    ],
)
def test_header_that_announces_more_than_is_there_is_refused(tmp_path: Path, header: object) -> None:
    card, text = copy_teacher(tmp_path), json.dumps(header).encode()
    replace_weights(card, len(text).to_bytes(8, "little") + text + bytes(4))
    assert "damaged" in load_refused(card)


@pytest.mark.parametrize("data", [b"", b"abc", (1 << 62).to_bytes(8, "little") + b"{}", bytes(8) + b"["])
def test_torn_safetensors_are_refused(tmp_path: Path, data: bytes) -> None:
    card = copy_teacher(tmp_path)
    replace_weights(card, data)
    assert "damaged" in load_refused(card)


def test_values_that_are_not_finite_are_refused(state: dict[str, torch.Tensor]) -> None:
    network = build_classifier("lenet5", find_benchmark("digits").image)
    with pytest.raises(WeightsError, match="not finite"):
        fill(network, {**state, "head.bias": torch.full((10,), torch.nan)})


# --- training ----------------------------------------------------------------------------------------------------


def test_the_same_recipe_and_seed_make_the_same_weights(own_folder: Path) -> None:
    card = tiny_card(augment="strong", mixup=0.4, label_smoothing=0.1)
    before, threads, told = torch.random.get_rng_state(), torch.get_num_threads(), []
    first = train_teacher(card, own_folder, progress=lambda *state: told.append(state[:2]))
    assert told == [(1, 2), (2, 2)]
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(7)
    assert train_teacher(card, own_folder).sha256 == first.sha256
    assert train_teacher(card.model_copy(update={"seed": 1}), own_folder).sha256 != first.sha256
    assert torch.get_num_threads() == threads
    assert load_teacher("tiny")[1].accuracy == read_card(own_folder / "tiny.json").accuracy
    assert sorted(path.name for path in own_folder.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_a_training_replaces_no_other_teacher(own_folder: Path) -> None:
    brought = store_teacher(
        build_classifier("lenet5", CARDS["digits-lenet5-long"].image.spec()),
        tiny_card().model_copy(update={"recipe": None}),
        own_folder,
    )
    for card, folder in (
        (tiny_card(), own_folder),
        (tiny_card(), own_folder.parent / "elsewhere"),
        (tiny_card("digits-lenet5-long"), own_folder),
    ):
        with pytest.raises(RequestError, match="is taken by another teacher") as caught:
            train_teacher(card, folder)
        assert (caught.value.field, caught.value.value) == ("name", card.name)
    assert find_card("tiny")[0] == brought


def test_a_training_that_diverges_leaves_no_teacher(own_folder: Path) -> None:
    with pytest.raises(NonFiniteError, match="cross-entropy"):
        train_teacher(tiny_card(learning_rate=10.0, momentum=0.99, epochs=20), own_folder)
    assert not list(own_folder.iterdir())


def test_recipes_train_what_they_say(own_folder: Path) -> None:
    """A few epochs learn digits with either optimizer, and each knob of the recipe changes the weights."""
    plain = train_teacher(tiny_card(epochs=6, batch_size=32, learning_rate=0.02), own_folder)
    assert plain.accuracy is not None and plain.accuracy > 0.8
    adam = train_teacher(tiny_card("adam", epochs=6, batch_size=32, learning_rate=0.005, optimizer="adam"), own_folder)
    assert adam.accuracy is not None and adam.accuracy > 0.8
    knobs: list[dict[str, Any]] = [
        {},
        {"weight_decay": 0.0},
        {"momentum": 0.5},
        {"label_smoothing": 0.1},
        {"mixup": 1.0},
        {"augment": "shift"},
        {"augment": "shift+flip"},
        {"augment": "strong"},
        {"schedule": "constant"},
        {"batch_size": 100},
    ]
    hashes = [train_teacher(tiny_card(f"tiny-{at}", **knob), own_folder).sha256 for at, knob in enumerate(knobs)]
    assert len(set(hashes)) == len(knobs)


def test_augmentations_keep_shape_and_range_and_move_each_sample_its_own_way() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(1, 1, 16, 16).expand(64, 1, 16, 16)
    assert augment(pixels, "none") is pixels
    for kind, variants in (("shift", 20), ("strong", 64)):
        moved = augment(pixels, kind)
        assert moved.shape == pixels.shape
        assert moved.min() >= 0 and moved.max() <= 1
        assert len(moved.flatten(1).unique(dim=0)) >= variants
    # A shift by at most two pixels of 16: what lies in the middle stays in the picture.
    dot = torch.zeros(200, 1, 16, 16)
    dot[:, :, 8, 8] = 1
    where = augment(dot, "shift").flatten(1).argmax(dim=1)
    rows, columns = where // 16, where % 16
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 10, 6, 10)


def test_evaluation_restores_the_mode_and_counts_right() -> None:
    class Constant(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return nn.functional.one_hot(torch.zeros(len(images), dtype=torch.long), 10).float()

    network = Constant().train()
    data = LabelledImages(torch.zeros(1100, 1, 8, 8, dtype=torch.uint8), torch.arange(1100) % 10)
    assert evaluate_accuracy(network, data, find_benchmark("digits").image, CPU) == pytest.approx(0.1)
    assert network.training


@pytest.mark.parametrize("name", ["digits-lenet5-long", "digits-lenet5-bn-mixup", "digits-resnet20-plain"])
def test_the_header_of_the_weights_says_what_the_network_has(name: str) -> None:
    card, path = find_card(name)
    network = blank(card)
    assert isinstance(network, Classifier)
    assert has_batch_norm(card, path) == has_statistics(network)
    assert pooled_width(card, path) == network.head.in_features
