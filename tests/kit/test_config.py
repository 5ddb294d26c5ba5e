"""Every bound of every knob from both sides, and what a wrong request is answered with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import torch
from conftest import TEACHER, tiny_spec
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dfkd_core import methods
from dfkd_core.errors import RequestError, explain
from dfkd_core.kit.config import MethodConfig, knob, other_default
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.teachers.cards import Recipe, find_card

CONFIGS: dict[str, type[BaseModel]] = {
    **{name: method.Config for name, method in methods.available().items()},
    "run": RunSpec,
    "recipe": Recipe,
}
REQUIRED = {"recipe": {"kind": "plain", "epochs": 1}}


def bounds(field: FieldInfo) -> list[tuple[str, float]]:
    found = {}
    for mark in field.metadata:
        found.update({kind: getattr(mark, kind) for kind in ("ge", "gt", "le", "lt") if hasattr(mark, kind)})
    return list(found.items())


def around(kind: str, bound: float, whole: bool) -> tuple[float, float]:
    """The last value within and the first beyond the bound."""
    away = 1 if kind in ("ge", "gt") else -1
    step = 1 if whole else max(abs(bound), 1.0) * 1e-9
    if kind in ("ge", "le"):
        return bound, bound - away * step
    return bound + away * step, bound


def build(owner: str, **values: Any) -> Any:
    """The model with ``values``; a ``ValidationError`` as the sentence that a user gets."""
    try:
        return CONFIGS[owner].model_validate({**REQUIRED.get(owner, {}), **values})
    except ValueError as error:
        raise explain(error) from None  # type: ignore[arg-type]


@pytest.mark.parametrize("owner", CONFIGS)
def test_every_number_is_bounded_on_both_sides_and_each_bound_holds(owner: str) -> None:
    for name, field in CONFIGS[owner].model_fields.items():
        if field.annotation not in (int, float):
            continue
        assert {kind[0] for kind, _ in bounds(field)} == {"g", "l"}, f"{name} has no lower or no upper bound"
        for kind, bound in bounds(field):
            inside, outside = around(kind, bound, field.annotation is int)
            assert getattr(build(owner, **{name: inside}), name) == inside
            with pytest.raises(RequestError) as caught:
                build(owner, **{name: outside})
            assert caught.value.field == name and caught.value.value == outside
            assert str(bound).removesuffix(".0") in caught.value.expected and "\n" not in str(caught.value)


@pytest.mark.parametrize("owner", CONFIGS)
def test_no_number_may_be_nan_or_infinite(owner: str) -> None:
    for name, field in CONFIGS[owner].model_fields.items():
        for value in (math.nan, math.inf, -math.inf, "nan", "inf") if field.annotation is float else ():
            with pytest.raises(RequestError, match=f"^{name} = "):
                build(owner, **{name: value})


@pytest.mark.parametrize("name", methods.available())
def test_every_knob_says_what_it_is(name: str) -> None:
    config = methods.find(name).Config
    for known, field in config.model_fields.items():
        assert field.description and field.description.endswith("."), known
        assert config.about(known).keys() == {"group", "symbol", "unit", "memory", "live", "first"}, known
        assert config.about(known)["group"], known
    assert set(config.memory_knobs()) <= set(config.model_fields) and config.memory_knobs()


class Shared(MethodConfig):
    """What several methods have."""

    length: int = knob(1, "How long.", group="Schedule", ge=1, le=9)
    rate: float = knob(0.1, "How fast.", group="Networks", live=True, memory=True, gt=0, le=1)


class Own(Shared):
    """What one method has beside it; it has another rate."""

    rate: float = other_default(Shared, "rate", 0.5)
    pull: float = knob(1.0, "How hard.", group="Terms", live=True, ge=0, le=9)
    width: int = knob(4, "How wide.", group="Networks", memory=True, ge=1, le=9)


def test_a_methods_own_knobs_come_before_those_that_it_shares() -> None:
    assert Own.knobs() == ["rate", "pull", "width", "length"]
    assert list(Own.groups().items()) == [
        ("Networks", ["rate", "width"]),
        ("Terms", ["pull"]),
        ("Schedule", ["length"]),
    ]
    assert Own.live_knobs() == ["rate", "pull"] and Own.memory_knobs() == ["rate", "width"]
    assert Shared.knobs() == ["length", "rate"]


def test_another_default_is_all_that_changes() -> None:
    assert (Shared.build().rate, Own.build().rate) == (0.1, 0.5) and Own.about("rate") == Shared.about("rate")
    for value in (0.0, 1.5):
        with pytest.raises(RequestError, match=f"rate = {value}"):
            Own.build(changes={"rate": value})


@pytest.mark.parametrize("name", methods.available())
def test_every_knob_stands_in_one_group(name: str) -> None:
    config = methods.find(name).Config
    grouped = sum(config.groups().values(), [])
    assert sorted(grouped) == sorted(config.model_fields) == sorted(config.knobs())


@pytest.mark.parametrize(
    ("method", "preset"),
    [(name, preset) for name in methods.available() for preset in methods.find(name).Config.presets],
)
def test_every_preset_is_valid_and_changes_only_knobs_that_exist(method: str, preset: str) -> None:
    config = methods.find(method).Config
    built = config.build(preset)
    assert config.model_validate(built.model_dump()) == built
    assert set(config.presets[preset]) <= set(config.model_fields)


def sentence(changes: dict[str, Any] | None = None, **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        make_spec(changes, **fields)
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))
    return caught.value


@pytest.mark.parametrize(
    ("changes", "field", "right"),
    [
        ({"adversarial": "l3"}, "adversarial", "'l1', 'kl', 'js' or 'js-released'"),
        ({"augmentation": ""}, "augmentation", "'none', 'crop' or 'crop+flip'"),
        ({"epochs": "many"}, "epochs", "valid integer"),
        ({"epochs": 1.5}, "epochs", "valid integer"),
        ({"student_lr": "fast"}, "student_lr", "valid number"),
        ({"selection": "perhaps"}, "selection", "valid boolean"),
        ({"batch_size": 3}, "batch_size", "greater than or equal to 4"),
    ],
)
def test_a_wrong_knob_is_answered_with_field_value_and_what_would_be_right(
    changes: dict[str, Any], field: str, right: str
) -> None:
    error = sentence(changes)
    assert error.field == field and error.value == changes[field] and right in error.expected
    assert str(error).startswith(f"{field} = {changes[field]!r}: ")


@pytest.mark.parametrize(
    ("fields", "field", "right"),
    [
        ({"method": "magic"}, "method", "ta-dfkd"),
        ({"preset": "huge"}, "preset", "demo"),
        ({"benchmark": "omniglot"}, "benchmark", "digits"),
        ({"benchmark": "folder:/does/not/exist", "teacher": TEACHER}, "benchmark", "a folder that exists"),
        ({"benchmark": "mnist", "teacher": TEACHER}, "teacher", "choose a teacher made for it"),
        ({"teacher": "nobody"}, "teacher", TEACHER),
        ({"student": "resnet9000"}, "student", "resnet8"),
        ({"device": "cuda:7"}, "device", "Use cpu"),
        ({"device": "tpu"}, "device", "cpu, cuda or cuda:N"),
        ({"device": "meta"}, "device", "cpu, cuda or cuda:N"),
        ({"device": ""}, "device", "cpu, cuda or cuda:N"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"threads": 0}, "threads", "greater than or equal to 1"),
    ],
)
def test_a_wrong_request_is_answered_with_field_value_and_what_would_be_right(
    fields: dict[str, Any], field: str, right: str
) -> None:
    error = sentence(**fields)
    assert error.field == field and error.value == fields[field] and right in error.expected


def test_a_teacher_with_the_classes_in_another_order_is_refused(tmp_path: Path) -> None:
    card = find_card("digits-lenet5-long")[0]
    turned = card.image.model_copy(update={"classes": card.image.classes[::-1]})
    (tmp_path / "teachers").mkdir()
    other = card.model_copy(update={"name": "turned", "image": turned})
    (tmp_path / "teachers" / "turned.json").write_text(other.model_dump_json())
    assert "in another order than Digits 8×8" in sentence(teacher="turned").expected


def test_a_preset_of_a_method_without_any_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods.find("dafl").Config, "presets", {})
    assert sentence(method="dafl", preset="demo").expected == "should be left out: the method has none."


def test_a_benchmark_without_teachers_says_how_to_bring_one() -> None:
    assert "teacher import" in sentence(benchmark="tiny-imagenet").expected


def test_a_specification_is_resolved_in_full() -> None:
    spec = make_spec({"epochs": "3"}, benchmark="digits")
    assert (spec.teacher, spec.student, spec.preset) == ("digits-resnet20-plain", "resnet8", "demo")
    assert spec.config == {**methods.find("ta-dfkd").Config.build("demo").model_dump(), "epochs": 3}
    assert make_spec(**spec.model_dump()) == spec


@pytest.mark.parametrize(
    ("asked", "device"), [("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu"), ("cpu:0", "cpu")]
)
def test_a_device_has_one_name(asked: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert tiny_spec(device=asked).device == device


def test_the_fingerprint_changes_with_everything_that_determines_the_run() -> None:
    spec = tiny_spec()
    base = spec.fingerprint("weights", "data", "code")
    others = [
        tiny_spec(seed=1).fingerprint("weights", "data", "code"),
        tiny_spec({"width": 5}).fingerprint("weights", "data", "code"),
        spec.fingerprint("other", "data", "code"),
        spec.fingerprint("weights", "other", "code"),
        spec.fingerprint("weights", "data", "other"),
    ]
    assert base == tiny_spec().fingerprint("weights", "data", "code") and len({base, *others}) == 6


def test_only_literals_numbers_and_booleans_are_knobs() -> None:
    """So that a form, a flag and a link can be made of every knob."""
    for method in methods.available().values():
        config: type[MethodConfig] = method.Config
        for name, field in config.model_fields.items():
            plain = field.annotation in (int, float, bool)
            literal = get_origin(field.annotation) is not None and all(
                isinstance(choice, str) for choice in get_args(field.annotation)
            )
            assert plain or literal, name
