"""The slides' table: which students it takes, what is refused, what its figures come to, and one made by a command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from command import call, refused
from figures import network
from scipy import stats

from dfkd_core import methods
from dfkd_core.errors import RequestError
from dfkd_core.kit.generative_stage import DistillConfig
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder
from dfkd_core.study import Cell, CellState, Record, find, studies_in
from dfkd_core.study.generative_table import ARMS, REFERENCE, TEACHER, VARIED, best_data_free, ratio_words, text_table
from dfkd_core.study.tables import markdown
from dfkd_core.teachers.cards import find_card

KIND = find("generative")
pytestmark = pytest.mark.usefixtures("few_judged")


def state(arm: str, width: int, seed: int, fid: float | None = None, **figures: Any) -> CellState:
    """Of a made-up cell; without ``fid`` it is waiting."""
    cell = Cell(f"{arm}-{width}-{seed}", {"series": arm, "x": width, "seed": seed}, RunSpec())
    if fid is None:
        return CellState(cell, Record(), "waiting")
    both = {"teacher": network(2.0, elbo=-3.5, milliseconds=5.0 + seed), "student": network(fid, **figures)}
    return CellState(cell, Record("run", {**both, "label": "In x features, 50 real", "seconds": 9.0}), "done")


# --- which runs ------------------------------------------------------------------------------------------------


def flat(spec: RunSpec) -> dict[str, Any]:
    plain = spec.model_dump()
    return {**plain.pop("config"), **plain}


def specs_of(**asked: Any) -> list[tuple[dict[str, Any], RunSpec]]:
    return KIND.specs(KIND.Request.build(asked))


def test_every_arm_is_there_at_every_width_and_seed_and_a_first_whole_table_early() -> None:
    specs = specs_of(seeds=[1, 0], widths=["8", 4])
    assert [labels for labels, _ in specs] == [
        {"series": arm, "x": width, "seed": seed} for seed in (0, 1) for width in (4, 8) for arm in ARMS
    ]
    for labels, spec in specs:
        arm = ARMS[labels["series"]]
        assert (spec.student, spec.seed, spec.method) == (f"lvae-{labels['x']}", labels["seed"], arm.method)
        assert {name: spec.config[name] for name in arm.knobs} == arm.knobs
        assert bool(spec.diffusion) == (arm.knobs.get("source") == "diffusion")


@pytest.mark.parametrize("preset", ["demo", "cpu", "paper"])
def test_all_students_learn_alike_but_for_what_their_arm_says(preset: str) -> None:
    knobs, run = {"batch_size": 32, "synthesis_batches": 3}, {"preset": preset, "evaluate_every": 7}
    specs = [spec for _, spec in specs_of(seeds=[0], knobs=knobs, run=run)]
    shared = [name for name in DistillConfig.model_fields if name not in VARIED]
    for spec in specs:
        assert {name: spec.config[name] for name in shared} == {name: specs[0].config[name] for name in shared}
        assert (spec.config["batch_size"], spec.evaluate_every) == (32, 7)
        assert spec.config.get("synthesis_batches", 3) == 3


def test_students_are_of_their_teachers_kind_and_the_first_arm_is_what_others_are_held_against() -> None:
    assert next(iter(ARMS)) == REFERENCE and ARMS[REFERENCE].method == "with-data"
    (labelled,) = specs_of(seeds=[0], widths=[16], arms=["ancestral"], run={"teacher": "digits-lvae-32"})
    assert labelled[1].student == "lvae-16" and labelled[1].teacher == "digits-lvae-32"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"seeds": []}, "should be 1 to 20"),
        ({"widths": []}, "should be 1 to 10"),
        ({"widths": [8, 8]}, "each once"),
        ({"widths": ["wide"]}, "widths.0 = 'wide': should be a valid integer"),
        ({"widths": [0]}, "'lvae-0': should be lvae-H, with a width H of 1 to 512"),
        ({"arms": ["magic"]}, "should be one of with-data, with-data-elbo, ancestral"),
        ({"arms": []}, "should be 1 to 7"),
        ({"run": {"student": "lvae-8"}}, "is what the study varies; give its widths"),
        ({"run": {"method": "with-data"}}, "is what the study varies; give its arms"),
        ({"run": {"seed": 3}}, "is what the study varies; give its seeds"),
        ({"knobs": {"source": "latents"}}, "is what the study varies; give its arms"),
        ({"knobs": {"objective": "elbo"}}, "is what the study varies; give its arms"),
        ({"knobs": {"epochs": 3}}, "is no knob of ukd or with-data"),
        ({"knobs": {"distill_steps": 0}}, "distill_steps"),
        ({"run": {"teacher": "digits-resnet20-plain"}}, "is a classifier network"),
        ({"run": {"benchmark": "cifar10"}}, "there is no generative one for cifar10"),
        ({"measured": 3}, "should be greater than or equal to 6"),
        ({"measured": 10_000}, "less than or equal to 5000"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(runs: Path, asked: dict[str, Any], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        KIND.begin(runs, **{"seeds": [0], **asked})
    assert not runs.exists()


def test_a_studys_folder_says_everything(runs: Path) -> None:
    study = KIND.begin(
        runs, seeds=[1, 0], widths=["8", 4], arms="with-data,diffusion", knobs={"distill_steps": 5}, measured=50
    )
    settings = study.settings
    assert (study.kind, settings["series"], settings["values"]) == ("generative", ["with-data", "diffusion"], [4, 8])
    assert (settings["benchmark"], settings["teacher"], settings["seeds"]) == ("digits", "digits-lvae-32", [0, 1])
    assert settings["diffusion"] and settings["samples"] == 50 and settings["extractor"].startswith("teacher:digits-")
    assert study.cells[1].key == "diffusion-4-seed-0" and study.title.endswith("2 arms × 2 widths × 2 seeds")
    assert all(cell.spec.config["distill_steps"] == 5 for cell in study.cells)


def test_the_disk_that_syntheses_take_is_foreseen() -> None:
    image = find_card("digits-lvae-32")[0].image.spec()

    def foreseen(source: str, batches: int) -> int:
        spec = make_spec({"source": source, "synthesis_batches": batches}, method="ukd")
        return spec.recorded_bytes(methods.find("ukd").Config.model_validate(spec.config), image, 0, 0)

    few, many, none = foreseen("latents", 10), foreseen("latents", 110), foreseen("ancestral", 110)
    assert many - few > 100 * 64 * 256 and none < few  # 32 frames of 8 images of 8×8 at the least


# --- the table -------------------------------------------------------------------------------------------------


def test_rows_hold_means_and_spreads_over_seeds_and_the_teacher_comes_first() -> None:
    cells = [
        state("with-data", 8, 0, 4.0),
        state("with-data", 8, 1, 6.0),
        state("with-data-elbo", 8, 0, 5.0, elbo=-9.0),
    ]
    cells += [state("with-data", 4, 0, 7.0), state("ancestral", 8, 0)]
    rows = KIND.table({}, cells)
    assert [(row["series"], row["x"], row["n"]) for row in rows] == [
        (TEACHER, None, 4), ("with-data", 8, 2), ("with-data-elbo", 8, 1), ("with-data", 4, 1), ("ancestral", 8, 0)
    ]  # fmt: skip
    teacher, both, elbo, _, waiting = rows
    assert both["values"]["fid"] == 5.0 and both["spreads"]["fid"] == pytest.approx(stdev([4.0, 6.0]))
    assert both["values"]["elbo"] is None and elbo["values"]["elbo"] == -9.0 and elbo["spreads"]["fid"] is None
    assert (teacher["values"]["fid"], teacher["spreads"]["fid"], teacher["values"]["elbo"]) == (2.0, 0.0, -3.5)
    assert teacher["values"]["milliseconds"] == fmean([5.0, 6.0, 5.0, 5.0]) and teacher["spreads"]["milliseconds"] > 0
    assert set(waiting["values"].values()) == {None} and waiting["ratio"] is None


def test_ratios_pair_runs_of_the_same_seed_and_width() -> None:
    with_data, without = {0: 4.0, 1: 5.0, 2: 7.0, 3: 4.4}, {1: 5.5, 2: 7.1, 3: 4.0, 7: 100.0}
    cells = [state(REFERENCE, 8, seed, fid) for seed, fid in with_data.items()]
    cells += [state("latents", 8, seed, fid) for seed, fid in without.items()]
    cells += [state("latents", 4, 0, 9.0), state(REFERENCE, 16, 0, 1.0)]
    rows = {(row["series"], row["x"]): row for row in KIND.table({}, cells)}
    row = rows["latents", 8]
    logarithms = [math.log(without[seed] / with_data[seed]) for seed in (1, 2, 3)]
    low, high = stats.t.interval(0.95, 2, fmean(logarithms), stats.sem(logarithms))
    assert row["pairs"] == 3 and row["ratio"] == pytest.approx(math.exp(fmean(logarithms)))
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((math.exp(low), math.exp(high)))
    assert rows["latents", 4]["ratio"] is rows[REFERENCE, 8]["ratio"] is rows[TEACHER, None]["ratio"] is None


def test_one_pair_has_a_ratio_and_no_interval() -> None:
    row = KIND.table({}, [state(REFERENCE, 8, 0, 4.0), state("latents", 8, 0, 5.0)])[2]
    assert (row["ratio"], row["ratio_low"], row["pairs"]) == (pytest.approx(1.25), None, 1)
    assert ratio_words(row) == "1.250"


def test_the_reading_names_the_best_data_free_student_of_each_width() -> None:
    cells = [state(REFERENCE, 8, 0, 4.0), state("latents", 8, 0, 5.0), state("ancestral", 8, 0, 4.2)]
    cells += [state("with-data-elbo", 8, 0, 1.0), state("latents", 4, 0, 3.0)]
    assert KIND.reading({}, KIND.table({}, cells)) == (
        "FID of the best data-free student as a multiple of that with data: "
        "at H = 8 from ancestral samples, 1.050 (1 seed, paired)."
    )
    assert KIND.reading({}, KIND.table({}, cells[:1])) == ""


def test_a_student_of_one_seed_is_not_the_best_beside_one_of_two() -> None:
    cells = [state(REFERENCE, 8, seed, 4.0) for seed in (0, 1)]
    cells += [state("ancestral", 8, 0, 4.4), state("ancestral", 8, 1, 4.4), state("latents", 8, 0, 4.1)]
    best = best_data_free(KIND.table({}, cells), 8)
    assert best is not None and (best["series"], best["pairs"]) == ("ancestral", 2)


def test_the_lines_have_a_dash_where_there_is_no_figure_and_no_spread_where_there_is_none() -> None:
    cells = [state(REFERENCE, 8, 0, 4.0), state(REFERENCE, 8, 1, 6.0), state("latents", 8, 0)]
    head, teacher, one, waiting = text_table(KIND.table({}, cells), "digits")
    assert head[:6] == ["", "H", "runs", "FID ÷ with data", "parameters", "FID"] and {
        len(line) for line in (teacher, one)
    } == {len(head)}
    assert teacher[:6] == ["teacher", "–", "2", "–", "7,000", "2.00"] and teacher[head.index("ms")] == "5.50 ± 0.71"
    assert one[:6] == ["with data", "8", "2", "–", "7,000", "5.00 ± 1.41"] and one[head.index("ELBO")] == "–"
    assert waiting[:3] == ["data-free, optimised latents", "8", "0"] and set(waiting[3:]) == {"–"}
    lines = markdown([head, teacher])
    assert lines[1].startswith("| --- | --: |") and lines[2].startswith("| teacher | – | 2 |") and len(lines) == 3


def test_the_slides_figures_stand_below_those_of_their_own_benchmark_only() -> None:
    rows = KIND.table({}, [state(REFERENCE, 8, 0, 4.0)])
    lines = text_table(rows, "cifar10")
    published = ("teacher", "with data", "data-free")
    assert [line[0] for line in lines[3:]] == [f"{who} in IIT Mandi 2025" for who in published]
    root = lines[0].index("√FID")
    assert [line[root] for line in lines[3:]] == ["4.63", "5.24", "5.27"] and lines[3][lines[0].index("FID")] == "–"
    assert len(text_table(rows, "digits")) == 3


# --- carried out -----------------------------------------------------------------------------------------------

FLAGS = ["--distill-steps", "2", "--batch-size", "8", "--evaluate-every", "9", "--probes-every", "0"]


def test_the_table_is_made_by_one_command(capsys: Any, runs: Path) -> None:
    asked = ["--widths", "4", "--seeds", "0,1", "--arms", "with-data,ancestral", "--measured", "30"]
    status, out, err = call(capsys, "study", "generative", *asked, *FLAGS, "--slots", "1")  # in this process
    (study,) = studies_in(runs, "generative")
    assert status == 0 and "series ancestral, x 4, seed 1: FID " in err
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["H", "runs", "FID", "÷"]
    assert [line.split()[0] for line in lines[1:4]] == ["teacher", "with", "data-free,"]
    assert lines[-1].startswith("done: 4 / 4 runs") and lines[-2].startswith("FID of the best data-free student")
    assert "n = 30 real, 30 generated" in out and "reconstruct from their teacher's latents" in out
    _, shown, _ = call(capsys, "study", "show", study.id[-6:])
    assert lines[0] in shown and lines[-2] in shown
    summary = json.loads(call(capsys, "study", "show", study.id, "--json")[1])
    teacher, _, ancestral = summary["table"]
    assert (teacher["values"]["parameters"], ancestral["n"], ancestral["pairs"]) == (218_496, 2, 2)
    figures = [study.record(cell).figures for cell in study.cells]
    assert ancestral["values"]["fid"] == pytest.approx(fmean(one["student"]["fid"] for one in figures[1::2]))
    assert summary["reading"] == lines[-2]
    folder = RunFolder(runs / study.record(study.cells[0]).run)
    assert figures[0]["seconds"] > folder.status().result["seconds"], "measuring takes time too"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--method", "with-data"], "--method"),
        (["--student", "lvae-8"], "--student"),
        (["--widths", "a"], "widths.0 = 'a': should be a valid integer"),
        (["--arms", "diffusion,magic"], "should be one of with-data"),
        (["--source", "latents"], "--source"),
    ],
)
def test_wrong_requests_are_one_line(capsys: Any, runs: Path, arguments: list[str], why: str) -> None:
    assert why in refused(capsys, "study", "generative", *arguments)
    assert not studies_in(runs)
