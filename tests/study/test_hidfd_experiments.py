"""HiDFD's ready experiments: which runs they take, what is refused, and the table that they end in."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from command import call, refused
from conftest import STUDENT, TINY, result_after, write_mnist
from scipy import stats

from dfkd_core import methods
from dfkd_core.engine import InlineEngine
from dfkd_core.errors import RequestError
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, RunStatus
from dfkd_core.study import Cell, CellState, Conductor, Record, find, find_study, studies_in
from dfkd_core.study.estimate import estimated_seconds
from dfkd_core.study.hidfd_experiments import AS_PUBLISHED, EXPERIMENTS, METHODS, SHARED, Experiment
from dfkd_core.study.tables import interval

KIND = find("experiment")
TRIED = Experiment(
    title="Tried",
    question="",
    finding="",
    axis="weight λ",
    scale="linear",
    varies="class_prior_weight",
    values=(0.0, 1.0),
    methods=("ta-dfkd",),
    reference=0.0,
)
COMPARED = Experiment(
    title="Compared",
    question="",
    finding="",
    axis="ratio ρ",
    scale="log",
    varies="ratio",
    values=(0.1, 0.2),
    methods=("ta-dfkd", "noise"),
)


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Experiments over the methods that need nothing, beside the real ones; and something to collect."""
    monkeypatch.setitem(EXPERIMENTS, "tried", TRIED)
    monkeypatch.setitem(EXPERIMENTS, "compared", COMPARED)
    write_mnist(tmp_path / "data", 1800)


def specs_of(name: str, seeds: list[int] | None = None, **asked: Any) -> list[tuple[dict[str, Any], RunSpec]]:
    return KIND.specs(KIND.Request.build({"experiment": name, "seeds": seeds or [0], **asked}))


def state(series: str, x: Any, seed: int, final: float | None = None, **figures: float) -> CellState:
    """Of a made-up cell; without ``final`` it is waiting."""
    cell = Cell(f"{series}-{x}-{seed}", {"series": series, "x": x, "seed": seed}, RunSpec())
    if final is None:
        return CellState(cell, Record(), "waiting")
    return CellState(cell, Record("run", {"final": final, "best": final + 0.01, "seconds": 10.0, **figures}), "done")


# --- which runs ------------------------------------------------------------------------------------------------


REAL = [name for name in EXPERIMENTS if name not in ("tried", "compared")]


@pytest.mark.parametrize("name", REAL)
def test_every_experiment_can_be_asked_for_as_it_is(name: str) -> None:
    """Runs of one x and seed differ from those of another in what the experiment varies, and in nothing else."""
    asked, specs = EXPERIMENTS[name], specs_of(name, [1, 0])
    assert [labels["seed"] for labels, _ in specs] == sorted(labels["seed"] for labels, _ in specs), "seeds first"
    xs = list(dict.fromkeys(labels["x"] for labels, _ in specs))
    assert len(specs) == 2 * len(xs) * len(asked.methods)
    for labels, spec in specs:
        reference = next(other for known, other in specs if known["series"] == labels["series"] and known["x"] == xs[0])
        assert spec.seed == labels["seed"]
        if asked.varies == "method":
            assert spec.method == labels["x"]
            continue
        assert spec.method == labels["series"]
        one, two = flat(spec), flat(reference)
        differs = {knob for knob in one if one[knob] != two[knob]}
        assert differs <= asked.varied() | {"seed"} | ({"student_lr"} if labels["x"] == "semckd" else set())
        assert asked.variants or labels["x"] == xs[0] or asked.varies in differs


def flat(spec: RunSpec) -> dict[str, Any]:
    plain = spec.model_dump()
    return {**plain.pop("config"), **plain}


@pytest.mark.parametrize("name", REAL)
def test_hidfd_has_its_papers_losses_in_every_experiment_unless_more_is_asked_for(name: str) -> None:
    """The preset ``demo`` adds a term to them."""
    assert {spec.config["told_weight"] for _, spec in specs_of(name) if spec.method == "hidfd"} == {0.0}
    asked = specs_of(name, knobs={"told_weight": 0.5})
    assert {spec.config["told_weight"] for _, spec in asked if spec.method == "hidfd"} == {0.5}


def test_the_ablation_switches_off_the_terms_that_it_names() -> None:
    off = {
        labels["x"]: [term for term in ("blend", "transfer", "smoothing") if not spec.config[term]]
        for labels, spec in specs_of("ablation")
    }
    assert off == {
        "full": [],
        "w/o blend": ["blend"],
        "w/o transfer": ["transfer"],
        "w/o smoothing": ["smoothing"],
        "w/o blend, transfer": ["blend", "transfer"],
        "w/o blend, smoothing": ["blend", "smoothing"],
        "w/o transfer, smoothing": ["transfer", "smoothing"],
        "w/o all three": ["blend", "transfer", "smoothing"],
    }


def test_the_papers_figures_belong_to_runs_of_the_experiment() -> None:
    for name in REAL:
        asked = EXPERIMENTS[name]
        names = {labels["x"] for labels, _ in specs_of(name)} if asked.scale == "category" else None
        for method, x, value in asked.published:
            assert method in asked.methods and 0.4 < value < 1 and asked.setting.startswith("CIFAR-10")
            assert names is None or x in names


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_compared_methods_get_the_same_schedule_and_what_was_asked_for(preset: str) -> None:
    specs = specs_of("comparison", values=[0.05], knobs={"gan_steps": 7}, run={"preset": preset})
    assert [labels["series"] for labels, _ in specs] == list(METHODS)
    lead = specs[0][1].config
    assert lead["gan_steps"] == 7
    for _, spec in specs:
        same = [name for name in SHARED if name in spec.config]
        assert {"distill_steps", "updates", "batch_size"} <= set(same) and spec.ratio == 0.05
        assert {name: spec.config[name] for name in same} == {name: lead[name] for name in same}
        own = methods.find(spec.method).Config.build(preset, AS_PUBLISHED.get(spec.method)).model_dump()
        others = {name for name in own if name not in SHARED}
        assert {name: spec.config[name] for name in others} == {name: own[name] for name in others}, "its own preset"


@pytest.mark.parametrize(
    ("run", "knobs", "usual"),
    [
        ({}, {}, 100),  # 6,000 images made beside 60
        ({"ratio": 0.02}, {"synthetic": 720}, 30),
        ({"ratio": 0.02}, {"synthetic": 20}, 1),
        ({"ratio": 0.02}, {"synthetic": 480}, 1),  # 20, which is not among the values
    ],
)
def test_other_inflations_are_compared_with_the_methods_own(
    run: dict[str, Any], knobs: dict[str, Any], usual: int
) -> None:
    request = KIND.Request.build({"experiment": "inflation", "run": {"benchmark": "digits", **run}, "knobs": knobs})
    assert KIND.settings(request, KIND.specs(request))["reference"] == {"x": usual}


def test_the_usual_values_depend_on_the_benchmark_where_collected_images_are_few() -> None:
    assert EXPERIMENTS["comparison"].usual_values("digits") == (0.02, 0.05, 0.1, 0.2)
    assert EXPERIMENTS["comparison"].usual_values("cifar10") == (0.1, 0.3, 0.5, 1.0)
    for name in ("comparison", "ratio"):
        assert max(EXPERIMENTS[name].usual_values("mnist")) * 60_000 <= 1198, "digits are its source"
        assert max(EXPERIMENTS[name].usual_values("digits")) * 1198 <= 300, "so many of MNIST come with the lab"


def test_an_experiments_folder_says_everything(runs: Path) -> None:
    study = KIND.begin(
        runs,
        experiment="inflation",
        seeds=[1, 0],
        knobs={"gan_steps": 5},
        values=["4", 2],
        run={"student": STUDENT},
    )
    settings = study.settings
    assert (study.kind, settings["experiment"], settings["values"]) == ("experiment", "inflation", [2.0, 4.0])
    assert settings["reference"] == {"x": 2.0}, "the usual N of 100 is not among them"
    assert settings["seeds"] == [0, 1] and settings["samples"] == 0 and settings["titles"] == {"hidfd": "HiDFD"}
    assert [cell.key for cell in study.cells] == [f"hidfd-{n}-seed-{s}" for s in (0, 1) for n in ("2.0", "4.0")]
    assert [cell.spec.config["inflation"] for cell in study.cells] == [2, 4, 2, 4]
    assert "HiDFD" not in study.title and study.title.endswith("digits: 2 settings × 2 seeds")
    measured = KIND.begin(runs, experiment="generators", seeds=[0], knobs={"gan_steps": 5}, measured=50).settings
    assert (measured["samples"], measured["extractor"]) == (50, "teacher:digits-lenet5-bn-mixup")


@pytest.mark.parametrize(
    ("name", "asked", "why"),
    [
        ("nothing", {}, "should be one of comparison"),
        ("ablation", {"seeds": []}, "should be 1 to 20"),
        ("ablation", {"seeds": [-1]}, r"seeds\.0 = -1"),
        ("ablation", {"values": ["full"]}, "should be 2 to 51"),
        ("ablation", {"values": ["full", "half"]}, "should be among full, w/o blend"),
        ("ablation", {"knobs": {"blend": False}}, "is what the study varies; give its values"),
        ("ablation", {"run": {"seed": 3}}, "give its seeds"),
        ("ablation", {"run": {"method": "noise"}}, "is what the study varies; give its series"),
        ("ablation", {"knobs": {"epochs": 3}}, "is no knob of hidfd"),
        ("ablation", {"knobs": {"gan_steps": 0}}, "gan_steps"),
        ("ablation", {"series": ["kd3"]}, "should be one of hidfd"),
        ("comparison", {"run": {"ratio": 0.1}}, "is what the study varies; give its values"),
        ("comparison", {"series": ["hidfd", "hidfd"]}, "each once"),
        ("guidance", {"values": [0.1, "0.1"]}, "each once"),
        ("guidance", {"values": [0, 1]}, "should be above 0"),
        ("guidance", {"values": ["much", 1]}, "should be a number"),
        ("gate", {"values": [0.5, 1.5]}, "less than or equal to 1"),
        ("inflation", {"values": [1, 2.5]}, "integer"),
        ("objectives", {"values": ["kd", "psychic"]}, "should be among classifier-sharing"),
        ("generators", {"measured": 3}, "should be greater than or equal to 6"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    runs: Path, name: str, asked: dict[str, Any], why: str
) -> None:
    with pytest.raises(RequestError, match=why):
        KIND.begin(runs, experiment=name, **{"seeds": [0], **asked})
    assert not runs.exists()


def test_an_estimate_needs_runs_with_as_many_updates_a_step(runs: Path) -> None:
    def asked(**knobs: int) -> list[RunSpec]:
        given = {"gan_steps": 40, "distill_steps": 60, **knobs}
        return [spec for _, spec in specs_of("ablation", knobs=given, values=["full", "w/o blend"])]

    folder = RunFolder.create(runs, asked()[0].model_dump())
    folder.set_status(RunStatus("done", step=100, total_steps=100, result=result_after(20.0)))
    assert estimated_seconds(asked(), [folder]) == pytest.approx(2 * 20)
    assert estimated_seconds(asked(distill_steps=160), [folder]) == pytest.approx(2 * 40)
    assert estimated_seconds(asked(updates=50), [folder]) is None


# --- the table -------------------------------------------------------------------------------------------------


def test_the_tables_intervals_are_students_and_differences_are_paired() -> None:
    draw = np.random.default_rng(3)
    full, without = (draw.normal(mean, 0.02, 5).tolist() for mean in (0.95, 0.93))
    cells = [state("hidfd", "full", seed, final) for seed, final in enumerate(full)]
    cells += [state("hidfd", "w/o", seed, final, fid=4.0 + seed) for seed, final in enumerate(without[:4])]
    cells += [state("hidfd", "w/o", 4), state("hidfd", "waits", 0)]
    rows = KIND.table({"reference": {"x": "full"}}, cells)
    assert [(row["x"], row["n"], row["pairs"]) for row in rows] == [("full", 5, 0), ("w/o", 4, 4), ("waits", 0, 0)]
    expected = stats.t.interval(0.95, 4, fmean(full), stats.sem(full))
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx(expected) and rows[0]["mean"] == pytest.approx(
        fmean(full)
    )
    test = stats.ttest_rel(without[:4], full[:4])
    paired = test.confidence_interval(0.95)
    assert (rows[1]["difference_low"], rows[1]["difference_high"]) == pytest.approx((paired.low, paired.high))
    assert rows[1]["difference"] == pytest.approx(fmean(without[:4]) - fmean(full[:4]))
    assert (rows[1]["fid"], rows[0]["fid"], rows[0]["difference"]) == (5.5, None, None)
    assert rows[0]["deviation"] == pytest.approx(stdev(full)) and rows[0]["fid_deviation"] is None
    assert rows[1]["fid_deviation"] == pytest.approx(stdev([4, 5, 6, 7]))
    assert rows[1]["best"] == pytest.approx(fmean(without[:4]) + 0.01) and rows[1]["seconds"] == 10
    assert rows[2]["mean"] is rows[2]["low"] is rows[2]["best"] is None


def test_pairs_are_runs_of_the_same_seed_and_place() -> None:
    cells = [
        *(state("a", 0.1, seed, final) for seed, final in ((0, 0.5), (1, 0.9), (2, 0.7))),
        *(state("b", 0.1, seed, final) for seed, final in ((1, 0.8), (2, 0.6), (7, 0.1))),
        state("b", 0.2, 0, 0.3),
    ]
    rows = KIND.table({"reference": {"series": "a"}}, cells)
    assert [(row["series"], row["x"], row["pairs"]) for row in rows] == [("a", 0.1, 0), ("b", 0.1, 2), ("b", 0.2, 0)]
    assert rows[1]["difference"] == pytest.approx(-0.1)
    assert rows[1]["difference_low"] is None, "the same at both seeds: nothing tells the noise"


def test_one_run_has_a_mean_and_no_interval() -> None:
    assert interval([0.5]) == (0.5, None, None) and interval([]) == (None, None, None)
    low_high = interval([0.0, 1.0])[1:]
    assert low_high == pytest.approx((0.5 - 12.7062 * 0.5, 0.5 + 12.7062 * 0.5), abs=1e-3)


# --- what it says ----------------------------------------------------------------------------------------------


OVER = {
    "series": ["hidfd", "collected", "kd3"],
    "titles": {"hidfd": "HiDFD", "collected": "Collected only", "kd3": "KD3"},
    "axis": "collected images, ρ",
    "scale": "log",
    "reference": {"series": "hidfd"},
}
VARIANTS = {"series": ["hidfd"], "titles": {}, "axis": "guidance", "scale": "category", "reference": {"x": "full"}}


def say(settings: dict[str, Any], cells: list[CellState]) -> str:
    return KIND.reading(settings, KIND.table(settings, cells))


def test_the_reading_names_who_is_above_by_how_much_and_who_is_not_clearly_apart() -> None:
    cells = [
        state(series, 0.05, seed, final + 0.01 * seed + wobble * (seed - 1))
        for series, final, wobble in (("hidfd", 0.9, 0.0), ("collected", 0.78, 0.01), ("kd3", 0.89, 0.02))
        for seed in range(3)
    ]
    cells += [state("hidfd", 0.1, 0, 0.95), state("collected", 0.1, 0, 0.94), state("kd3", 0.1, 0)]
    assert say(OVER, cells) == (
        "At ρ = 0.05 HiDFD is above Collected only by 12.0 points [9.5, 14.5]; "
        "it is not clearly apart from KD3 (+1.0 [-4.0, 6.0]) (3 seeds, paired)."
    )


def test_the_reading_of_an_ablation() -> None:
    finals = {"full": [0.9, 0.92], "w/o blend": [0.85, 0.868], "better": [0.95, 0.972], "other": [0.85, 0.87]}
    cells = [state("hidfd", x, seed, final) for x, both in finals.items() for seed, final in enumerate(both)]
    assert say(VARIANTS, cells) == (
        "full is above w/o blend by 5.1 points [3.8, 6.4] and below better by 5.1 points [3.8, 6.4]; "
        "it is not clearly apart from other (+5.0, all pairs alike) (2 seeds, paired)."
    )
    alone = [state("hidfd", "full", 0, 0.9), state("hidfd", "w/o blend", 0, 0.85)]
    assert say(VARIANTS, alone) == (
        "full is not clearly apart from w/o blend (+5.0) (1 seed, paired; an interval needs two)."
    )
    assert say(VARIANTS, alone[:1]) == ""


def test_the_lines_of_the_table() -> None:
    cells = [state("hidfd", "full", seed, final) for seed, final in enumerate([0.9, 0.92])]
    cells += [state("hidfd", "w/o", 0, 0.8), state("hidfd", "waits", 0)]
    lines = KIND.lines(VARIANTS, cells)
    assert [" ".join(line.split()) for line in lines] == [
        "guidance final %, ± SD over seeds best % runs seconds against full, points",
        "full 91.0 ± 1.4 92.0 2 10 –",
        "w/o 80.0 81.0 1 10 -10.0",
        "waits – – 0 – –",
    ]
    over = KIND.lines(OVER, [state("kd3", 0.05, 0, 0.5)])
    assert " ".join(over[0].split()).startswith("method ρ final %,") and over[0].endswith("against HiDFD, points")
    assert over[1].split() == ["KD3", "0.05", "50.0", "51.0", "1", "10", "–"]


# --- carried out -----------------------------------------------------------------------------------------------


def test_a_comparison_is_carried_out_and_ends_in_its_table(runs: Path) -> None:
    study = KIND.begin(
        runs, experiment="compared", seeds=[0, 1], knobs=TINY, run={"student": STUDENT, "evaluate_every": 3}
    )
    assert study.settings["reference"] == {"series": "ta-dfkd"} and "2 methods × 2 settings" in study.title
    Conductor(study, InlineEngine(runs)).conduct()
    cells = study.progress().cells
    rows = KIND.table(study.settings, cells)
    assert [(row["series"], row["x"], row["n"]) for row in rows] == [
        ("ta-dfkd", 0.1, 2), ("noise", 0.1, 2), ("ta-dfkd", 0.2, 2), ("noise", 0.2, 2)
    ]  # fmt: skip
    finals = {
        (c.cell.labels["series"], c.cell.labels["seed"]): c.record.figures["final"] for c in cells[:2] + cells[4:6]
    }
    assert rows[1]["difference"] == pytest.approx(
        fmean(finals["noise", seed] - finals["ta-dfkd", seed] for seed in (0, 1))
    )
    assert KIND.reading(study.settings, rows).startswith("At ρ = 0.1 TA-DFKD is ")


FLAGS = ["--gan-steps", "2", "--distill-steps", "20", "--updates", "1", "--synthetic", "16", "--width", "2"]


def test_the_ablation_table_is_made_by_one_command(capsys: Any, runs: Path) -> None:
    asked = ["--seeds", "0,1", "--values", "full,w/o all three", "--student", STUDENT, *FLAGS]
    status, out, err = call(capsys, "study", "experiment", "ablation", "--benchmark", "digits", *asked)
    (study,) = studies_in(runs, "experiment")
    assert status == 0 and "series hidfd, x w/o all three, seed 1" in err
    lines = out.splitlines()
    assert len(lines) == 5 and lines[0].split()[:4] == ["guidance", "of", "the", "GAN"]
    assert lines[1].startswith("full ") and lines[2].startswith("w/o all three ") and " ± " in lines[2]
    assert lines[2].endswith("]") and lines[3].startswith("full is ") and lines[4].startswith("done: 4 / 4 runs")
    assert study.cells[1].spec.config["gan_steps"] == 2
    _, shown, _ = call(capsys, "study", "show", study.id[-6:])
    assert lines[0] in shown and lines[3] in shown
    _, listed, _ = call(capsys, "study", "show", study.id, "--json")
    summary = json.loads(listed)
    assert summary["reading"] == lines[3] and [row["n"] for row in summary["table"]] == [2, 2]
    assert find_study(runs, study.id).progress().state == "done"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ablation", "--method", "noise"], "--method"),
        (["ablation", "--seeds", "a"], "seeds.0 = 'a': should be a valid integer"),
        (["all"], "experiment = 'all': should be one of comparison"),
        (["comparison", "--series", "hidfd,magic"], "should be one of hidfd"),
    ],
)
def test_wrong_requests_are_one_line(capsys: Any, runs: Path, arguments: list[str], why: str) -> None:
    assert why in refused(capsys, "study", "experiment", *arguments)
    assert not studies_in(runs)
